"""Reads XNLI from the hub or from local files, in the layouts in which it is published.

Conneau et al. 2018 (arXiv:1809.05053). Three rows of dev and test share a premise: ``group_id = (pair_id - 1) // 3``.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xling.data.examples import ROW, place_of
from xling.data.sources.delimited_lines import read_rows
from xling.data.sources.hub_sets import load_hub_frame
from xling.errors import MissingFileError, XlingValueError, check_known, close_matches

XNLI_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
"""The languages of XNLI, by code. Other languages need no entry here, since their files are enough."""

HUB_ROWS = {"train": 392_702, "dev": 2_490, "test": 5_010}
"""Split -> number of examples on the hub, which is the same in every language."""

HUB_NAME = "facebook/xnli"
SPLITS = ("train", "dev", "test")
_HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_MNLI_LABELS = {"contradictory": "contradiction"}  # multinli.train.<lang>.tsv spells this class differently
_FOLDERS = ("", "*/", "*/*/")  # XNLI-1.0/xnli.dev.tsv, XNLI-MT-1.0/multinli/multinli.train.de.tsv

_COLUMNS: tuple[dict[str, str], ...] = (
    {"pair_id": "pair_id", "text": "premise", "text_pair": "hypothesis", "label": "label"},
    {"pair_id": "pairID", "text": "sentence1", "text_pair": "sentence2", "label": "gold_label"},
    {"text": "premise", "text_pair": "hypo", "label": "label"},  # row-aligned over languages, without ids of its own
)


class XnliSource:
    """Reads one language and split of XNLI, or of a translation of it into another language.

    Args:
        root: folder with ``{split}.{language}.tsv`` files (columns pair_id, premise, hypothesis, label), or the
            XNLI-1.0 release (``xnli.dev.tsv``, ``xnli.test.tsv``) and its translations of MNLI
            (``multinli.train.<language>.tsv``), there or one or two folders deeper as in their archives, or both: a file of
            the language's own goes before the release. None: the hub.
        revision: commit of the hub's data set; ignored with `root`.
    """

    def __init__(self, root: str | Path | None = None, revision: str | None = None) -> None:
        self.root = None if root is None else Path(str(root)).expanduser()
        self.revision = revision
        if self.root is not None and not self.root.is_dir():
            raise MissingFileError(
                f"data.root={self.root}: expected a folder with XNLI's TSV files, found none there; set data.root=FOLDER"
            )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of XNLI on the hub; of local files, the languages that have a file."""
        if self.root is None:
            return XNLI_LANGUAGES
        own = re.compile(rf"(?:{'|'.join(SPLITS)}|multinli\.train)\.([^.]+)\.tsv")
        names = (path.name for folder in _FOLDERS for path in self.root.glob(f"{folder}*.tsv"))
        found = {match[1] for name in names if (match := own.fullmatch(name))}
        has_release = any(_found(self.root, f"xnli.{split}.tsv") for split in SPLITS)
        return tuple(sorted(found | set(XNLI_LANGUAGES if has_release else ())))

    @property
    def is_local(self) -> bool:
        """Whether local files are read."""
        return self.root is not None

    def count_rows(self, language: str, split: str) -> int | None:
        """Count the examples; those of the hub's known splits are counted without asking the hub."""
        return HUB_ROWS.get(split) if self.root is None else len(self(language, split))

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Load examples; see :data:`xling.data.protocols.ExampleSource`.

        Raises:
            XlingValueError: the split is unknown, the language is not on the hub, or the content of a file is wrong.
            MissingFileError: a local file is not there.
            UnreachableError: the hub does not answer.
        """
        check_known("XNLI split", split, SPLITS)
        return self._from_hub(language, split) if self.root is None else self._from_files(self.root, language, split)

    def _from_files(self, root: Path, language: str, split: str) -> pd.DataFrame:
        release = f"multinli.train.{language}.tsv" if split == "train" else f"xnli.{split}.tsv"
        found = [*_found(root, f"{split}.{language}.tsv"), *_found(root, release)]
        if not found:
            known = ", ".join(self.languages) or "no language"
            raise MissingFileError(
                f"expected {split}.{language}.tsv or {release} in data.root={root}, found neither; there are files for "
                f"{known}{close_matches(language, self.languages)}"
            )
        frame = _read(found[0], language)
        if frame.empty and found[0].name == release:
            raise XlingValueError(
                f"{found[0]}: expected rows of language {language!r}, found none; add a file {split}.{language}.tsv"
            )
        return _with_ids(frame, split, found[0])

    def _from_hub(self, language: str, split: str) -> pd.DataFrame:
        if language not in XNLI_LANGUAGES:
            hint = close_matches(language, XNLI_LANGUAGES)
            raise XlingValueError(
                f"XNLI has no language {language!r}; it has {', '.join(XNLI_LANGUAGES)}{hint}; a further one comes from files, "
                "data.root=DIR"
            )
        advice = "use local files with data.root=FOLDER, the embedded data with data=mini_nli"
        frame = load_hub_frame(HUB_NAME, language, _HUB_SPLITS[split], self.revision, advice)
        frame = frame.rename(columns={"premise": "text", "hypothesis": "text_pair"})
        frame["pair_id"] = range(1, len(frame) + 1)
        frame["line"] = [f"row {number}" for number in frame["pair_id"]]
        return _with_ids(frame, split, f"{HUB_NAME} ({language}, {_HUB_SPLITS[split]})")


def _found(root: Path, name: str) -> list[Path]:
    """Find the files of a name below `root`, those in the fewest folders first."""
    return [path for folder in _FOLDERS for path in sorted(root.glob(f"{folder}{name}")) if path.is_file()]


def _read(path: Path, language: str) -> pd.DataFrame:
    """Read one language's columns pair_id (where the file has it), text, text_pair, label (as it is) and line."""
    rows = read_rows(path, "none")
    if not rows:
        raise XlingValueError(f"{path}: expected a UTF-8 TSV file with a header, found an empty file; fetch it again")
    header = rows.pop(0)[1]
    columns = _columns(header, path)
    places = {ours: header.index(theirs) for ours, theirs in columns.items()}
    is_wanted = _of_language(header, language)
    cells = [([row[place] for place in places.values()], line) for line, row in rows if is_wanted(row)]
    frame = pd.DataFrame([[*row, line] for row, line in cells], columns=[*places, "line"])
    if "pair_id" not in frame:
        frame["pair_id"] = range(1, len(frame) + 1)
    return frame.assign(label=frame["label"].str.strip().replace(_MNLI_LABELS))


def _columns(header: Sequence[str], path: Path) -> dict[str, str]:
    fits = [names for names in _COLUMNS if set(names.values()) <= set(header)]
    nearest = fits[0] if fits else max(_COLUMNS, key=lambda names: len(set(names.values()) & set(header)))
    for theirs in nearest.values():
        if header.count(theirs) != 1:
            found = "several" if theirs in header else f"found {', '.join(header)}"
            raise XlingValueError(f"{path}: expected a column {theirs!r}, {found}")
    return nearest


def _of_language(header: Sequence[str], language: str) -> Any:
    """Make the test whether a row is of a language, which only the rows of the release's files name."""
    if "language" not in header:
        return lambda row: True
    place = header.index("language")
    return lambda row: row[place] == language


def _with_ids(frame: pd.DataFrame, split: str, where: Path | str) -> pd.DataFrame:
    names = list(_named(frame, where))
    pair_id = pd.Series([_whole(own, name) for own, name in zip(frame["pair_id"], names, strict=True)], dtype="int64")
    first = 0 if (pair_id == 0).any() else 1  # ids of some translations begin at 0
    premise_id = pair_id if split == "train" else (pair_id - first) // 3
    frame = frame.drop(columns=["pair_id", "line"]).reset_index(drop=True)
    return frame.assign(example_id=pair_id, group_id=premise_id, **{ROW: names})


def _named(frame: pd.DataFrame, where: Path | str) -> Iterator[str]:
    for line, own in zip(frame["line"], frame["pair_id"], strict=True):
        yield place_of(where, line, own)


def _whole(own: Any, name: str) -> int:
    text = str(own).strip()
    if not (text.isascii() and text.isdigit()):
        raise XlingValueError(f"{name}: expected whole numbers from 0 as pair ids; correct it")
    return int(text)
