"""Reads examples from the user's own files, in any layout that has a reader; each file holds one language."""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from xling.data.examples import cut_part, numbered
from xling.data.sources.patterns import check_pattern, find_files, find_languages, is_code
from xling.errors import MissingFileError, XlingValueError, close_matches

log = logging.getLogger(__name__)

Reader = Callable[[Path, str], pd.DataFrame]
"""Function of a file and its language that gives the columns of a task. It may also give id and group (texts), line (the place of a
row in the file) and split (where one file has the rows of several splits)."""

Patterns = str | Sequence[str]
"""One or several patterns of file names, see :mod:`xling.data.sources.patterns`. They are tried in turn until a file fits."""


class FileSource:
    """Reads the examples of one language and split from files; a language needs no further support than its files.

    Args:
        root: folder of the files.
        pattern: name of a file below `root`, with ``{language}`` and ``{split}``; ``*`` stands for any text, and exactly one file
            must fit. Or several such names, which are tried in turn until a file fits.
        reader: function that reads one file.
        parallel: whether an id (or a position, in files without ids) means the same content in every language.
        parts: name of a part -> its share of the examples, 0..1. Files that have a single split are cut into these disjoint
            parts, which then are the splits, by a hash of the group's id, so that every language of parallel files is cut alike.
            `pattern` then has no ``{split}``.
        untranslated: texts that stand where a translation is missing; examples with such a text are left out, and counted.

    Raises:
        MissingFileError: `root` is no folder.
        XlingValueError: a pattern has no ``{language}``, nothing tells splits apart, or `parts` do not fit the pattern or exceed
            1 together.
    """

    def __init__(
        self,
        root: str | Path | None,
        pattern: Patterns,
        reader: Reader,
        *,
        parallel: bool = False,
        parts: Mapping[str, float] | None = None,
        untranslated: Sequence[str] = (),
    ) -> None:
        if root is None or not Path(str(root)).expanduser().is_dir():
            raise MissingFileError(
                f"expected a folder with data files at data.root={root}, found none; set data.root=FOLDER"
            )
        self.patterns = [pattern] if isinstance(pattern, str) else list(pattern)
        for name in self.patterns:
            check_pattern(name)
        self.root, self.reader, self.untranslated = Path(str(root)).expanduser(), reader, tuple(untranslated)
        self.parallel, self.parts = parallel, checked_parts(parts)
        self._check_splits()

    def _check_splits(self) -> None:
        """See that exactly one thing tells splits apart: the file's name, a column, or a part of the rows."""
        has_split = ["{split}" in pattern for pattern in self.patterns]
        shown = " or ".join(map(repr, self.patterns))
        if self.parts and any(has_split):
            raise XlingValueError(
                f"data.parts cuts a single file per language, but data.pattern={shown} has a {{split}}; take it out, or set "
                "data.parts=null"
            )
        if self.parts and self._has_column:
            raise XlingValueError(
                "data.parts and data.columns.split both say which rows are a split; set one of them to null"
            )
        if not self.parts and not self._has_column and not all(has_split):
            raise XlingValueError(
                f"training and probe examples would be the same rows: data.pattern={shown} has no {{split}}; name the split in "
                "it, cut the file with data.parts={train: 0.7, probe: 0.3}, or name the column that says it, data.columns.split"
            )

    @property
    def _has_column(self) -> bool:
        return bool(getattr(self.reader, "has_splits", False))

    is_local = True

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that have a file, sorted; files that have no language code in the place of the language are only logged."""
        found = self._names()
        strange = {name: file for name, file in found.items() if not is_code(name)}
        if strange:
            log.warning(
                "left out files that fit data.pattern and whose name has no language code of two or three letters there: %s; to "
                "use them all the same, name all languages in data.languages, e.g. [%s]",
                ", ".join(list(strange.values())[:5]) + (", ..." if len(strange) > 5 else ""), ", ".join(found),
            )  # fmt: skip
        return tuple(sorted(found.keys() - strange.keys()))

    def _names(self) -> dict[str, str]:
        return {name: file for p in reversed(self.patterns) for name, file in find_languages(self.root, p).items()}

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Load examples; see :data:`xling.data.protocols.ExampleSource`.

        Raises:
            XlingValueError: the split is not among `parts`, several files fit, or the content of the file is wrong.
            MissingFileError: no file fits.
        """
        if self.parts and split not in self.parts:
            hint = close_matches(split, self.parts)
            raise XlingValueError(f"data.parts has no {split!r}; it has {', '.join(self.parts)}{hint}")
        path = self._find(language, split)
        frame = numbered(self.reader(path, language), "" if self.parallel else f"{language}/", path)
        frame = leave_out_untranslated(frame, self.untranslated, str(path))
        if self._has_column:
            return _rows_of(frame, split, path)
        return cut_part(frame, *self._bounds(split)) if self.parts else frame

    def _find(self, language: str, split: str) -> Path:
        for pattern in self.patterns:
            found = find_files(self.root, pattern, language, split)
            if len(found) > 1:
                names = " and ".join(path.relative_to(self.root).as_posix() for path in found[:3])
                raise XlingValueError(
                    f"expected one file {_filled(pattern, language, split)} in {self.root}, found {names}; make data.pattern "
                    "narrower"
                )
            if found:
                return found[0]
        names = " or ".join(_filled(pattern, language, split) for pattern in self.patterns)
        known = ", ".join(sorted(self._names())) or "no language"
        raise MissingFileError(
            f"expected a file {names} for language {language!r} in data.root={self.root}, found none; there are files for "
            f"{known} (data.pattern={' or '.join(self.patterns)})"
        )

    def _bounds(self, part: str) -> tuple[float, float]:
        ends = [0.0, *itertools.accumulate(self.parts.values())]
        index = list(self.parts).index(part)
        return ends[index], ends[index + 1]


def _filled(pattern: str, language: str, split: str) -> str:
    return pattern.format(language=language, split=split)


def checked_parts(parts: Mapping[str, float] | None) -> dict[str, float]:
    """Refuse shares by which a file cannot be cut into parts; return them by name.

    Raises:
        XlingValueError: a share is no number above 0, or the shares exceed 1 together.
    """
    parts = dict(parts or {})
    if any(isinstance(share, bool) or not isinstance(share, int | float) or not share > 0 for share in parts.values()):
        raise XlingValueError(
            f"expected data.parts to be shares above 0, e.g. {{train: 0.7, probe: 0.3}}, found {parts}"
        )
    if sum(parts.values()) > 1 + 1e-9:
        raise XlingValueError(f"the shares of data.parts must not exceed 1 together, found {parts}")
    return parts


def leave_out_untranslated(frame: pd.DataFrame, untranslated: Sequence[str], where: str) -> pd.DataFrame:
    """Leave out examples with a text that says that there is no translation, and log their number; the others keep their ids."""
    texts = [name for name in ("text", "text_pair") if name in frame]
    if not untranslated or not texts:
        return frame
    is_bare = frame[texts].isin(list(untranslated)).any(axis=1)
    if is_bare.any():
        names = " or ".join(map(repr, untranslated))
        log.warning(
            "%s: %d of %d examples are not translated (%s); they are left out", where, is_bare.sum(), len(frame), names
        )
    return frame[~is_bare].reset_index(drop=True)


def _rows_of(frame: pd.DataFrame, split: str, path: Path) -> pd.DataFrame:
    is_part = frame["split"] == split
    if not is_part.any():
        found = sorted(set(frame["split"]))
        shown = ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
        raise XlingValueError(
            f"{path}: expected rows of split {split!r} (data.columns.split), found {shown}{close_matches(split, found)}; set "
            "data.train_split and data.probe_split"
        )
    return frame[is_part].drop(columns="split").reset_index(drop=True)
