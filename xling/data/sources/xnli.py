"""XNLI from the hub or from local files in two layouts.

Conneau et al. 2018 (arXiv:1809.05053). Three rows of dev and test share a premise: ``group_id = (pair_id - 1) // 3``.
"""

import csv
from pathlib import Path

import pandas as pd

from xling.data.sources.hub_sets import load_hub_frame
from xling.errors import MissingFileError, XlingValueError, close_matches

XNLI_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
"""In the order the paper lists them. Other languages need no entry here."""

HUB_ROWS = {"train": 392_702, "dev": 2_490, "test": 5_010}
"""Of the data set on the hub, in every language."""

HUB_NAME = "facebook/xnli"
SPLITS = ("train", "dev", "test")
_HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_MNLI_LABELS = {"contradictory": "contradiction"}  # multinli.train.<lang>.tsv spells this class differently


class XnliSource:
    """Reads one language and split of XNLI.

    Args:
        root: folder with ``{split}.{language}.tsv`` files (columns pair_id, premise, hypothesis, label), or the
            XNLI-1.0 release (``xnli.dev.tsv``, ``xnli.test.tsv``, ``multinli.train.<language>.tsv``, also one folder
            deeper as in its archives). None: the hub.
        revision: commit of the hub's data set; ignored with `root`.
    """

    languages = XNLI_LANGUAGES

    def __init__(self, root: str | Path | None = None, revision: str | None = None) -> None:
        self.root = None if root is None else Path(root).expanduser()
        self.revision = revision
        if self.root is not None and not self.root.is_dir():
            raise MissingFileError(f"data.root={self.root}: expected a folder with XNLI's TSV files, found none there")

    @property
    def is_local(self) -> bool:
        """Whether local files are read."""
        return self.root is not None

    def count_rows(self, language: str, split: str) -> int | None:
        """Number of examples; of the hub's known splits without asking it."""
        return HUB_ROWS.get(split) if self.root is None else len(self(language, split))

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Load examples; see :data:`xling.data.protocols.ExampleSource`.

        Raises:
            XlingValueError: unknown split or language, or bad content.
            MissingFileError: a local file is not there.
            UnreachableError: the hub does not answer.
        """
        if split not in SPLITS:
            raise XlingValueError(f"unknown XNLI split {split!r}; expected one of {', '.join(SPLITS)}")
        if language not in self.languages:
            hint = close_matches(language, self.languages)
            raise XlingValueError(f"XNLI has no language {language!r}; it has {', '.join(self.languages)}{hint}")
        return self._from_hub(language, split) if self.root is None else self._from_files(self.root, language, split)

    def _from_files(self, root: Path, language: str, split: str) -> pd.DataFrame:
        release = f"multinli.train.{language}.tsv" if split == "train" else f"xnli.{split}.tsv"
        candidates = [
            root / f"{split}.{language}.tsv",
            root / release,
            *sorted(root.glob(f"*/{release}")),
        ]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise MissingFileError(f"expected {split}.{language}.tsv or {release} in data.root={root}, found neither")
        frame = _read_tsv(path)
        if path.name.startswith("xnli."):
            frame = _columns(frame, path, language="language", pair_id="pairID", premise="sentence1", hypothesis="sentence2",
                             label="gold_label")  # fmt: skip
            frame = frame[frame["language"] == language]
        elif path.name.startswith("multinli."):
            frame = _columns(frame, path, premise="premise", hypothesis="hypo", label="label")
            frame["label"] = frame["label"].replace(_MNLI_LABELS)
            frame["pair_id"] = range(1, len(frame) + 1)  # row-aligned over languages, without ids of its own
        else:
            frame = _columns(frame, path, pair_id="pair_id", premise="premise", hypothesis="hypothesis", label="label")
        return _with_ids(frame, split, path)

    def _from_hub(self, language: str, split: str) -> pd.DataFrame:
        advice = "use local files with data.root=FOLDER, the embedded data with data=mini_nli"
        frame = load_hub_frame(HUB_NAME, language, _HUB_SPLITS[split], self.revision, advice)
        frame["pair_id"] = range(1, len(frame) + 1)
        return _with_ids(frame, split, f"{HUB_NAME} {language} {split}")


def _read_tsv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, dtype=str, keep_default_na=False, encoding="utf-8")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise XlingValueError(f"{path}: expected a UTF-8 TSV file with a header; {error}") from error


def _columns(frame: pd.DataFrame, path: Path, **names: str) -> pd.DataFrame:
    missing = [name for name in names.values() if name not in frame.columns]
    if missing:
        raise XlingValueError(f"{path}: expected a column {missing[0]!r}, found {', '.join(frame.columns)}")
    return pd.DataFrame({ours: frame[theirs] for ours, theirs in names.items()})


def _with_ids(frame: pd.DataFrame, split: str, where: Path | str) -> pd.DataFrame:
    try:
        pair_id = frame["pair_id"].astype("int64")
    except ValueError as error:
        raise XlingValueError(f"{where}: expected whole numbers as pair ids; {error}") from error
    premise_id = pair_id if split == "train" else (pair_id - 1) // 3
    frame = frame.rename(columns={"premise": "text", "hypothesis": "text_pair"})
    return frame.assign(example_id=pair_id, group_id=premise_id)
