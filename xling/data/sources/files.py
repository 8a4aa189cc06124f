"""Examples from one's own files, one per language and split, in any layout that has a reader."""

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from xling.data.examples import cut_part, numbered
from xling.errors import MissingFileError, XlingValueError, close_matches

Reader = Callable[[Path, str], pd.DataFrame]
"""Maps (file, language) to the columns of a task, with columns id and group (texts) where the file has them."""

_LANGUAGE = r"(?P<language>[A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)"


class FileSource:
    """Reads one language and split; whether the language is known to this project does not matter.

    Args:
        root: folder of the files.
        pattern: name of a file below it, with ``{language}`` and ``{split}``; ``*`` stands for anything, where one file fits.
        reader: of one file.
        parallel: whether an id, or a position where there is none, means the same content in every language.
        parts: name -> share of the examples: cuts files that have a single split into disjoint parts, by a hash of the
            group's id, so that every language of parallel files is cut alike. `pattern` then has no ``{split}``.

    Raises:
        MissingFileError: there is no such folder.
        XlingValueError: a pattern without ``{language}``, or parts that do not fit it or exceed 1.
    """

    def __init__(
        self,
        root: str | Path | None,
        pattern: str,
        reader: Reader,
        *,
        parallel: bool = False,
        parts: Mapping[str, float] | None = None,
    ) -> None:
        if root is None or not Path(root).expanduser().is_dir():
            raise MissingFileError(
                f"expected a folder with data files at data.root={root}, found none; set data.root=FOLDER"
            )
        if "{language}" not in pattern:
            raise XlingValueError(
                f"expected {{language}} in data.pattern, found {pattern!r}; e.g. '{{split}}.{{language}}.tsv'"
            )
        self.root, self.pattern, self.reader = Path(root).expanduser(), pattern, reader
        self.parallel, self.parts = parallel, dict(parts or {})
        if self.parts and "{split}" in pattern:
            raise XlingValueError(
                f"data.parts cuts a single file per language, but data.pattern={pattern!r} has a {{split}}"
            )
        if sum(self.parts.values()) > 1 + 1e-9:
            raise XlingValueError(f"the shares of data.parts must not exceed 1 together, found {self.parts}")

    is_local = True

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that have a file, sorted."""
        regex = re.compile(_regex(self.pattern))
        names = (path.relative_to(self.root).as_posix() for path in self.root.glob(self._glob("*", "*")))
        return tuple(sorted({match["language"] for name in names if (match := regex.fullmatch(name))}))

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Load examples; see :data:`xling.data.protocols.ExampleSource`.

        Raises:
            XlingValueError: an unknown part, several files, or bad content.
            MissingFileError: there is no such file.
        """
        if self.parts and split not in self.parts:
            hint = close_matches(split, self.parts)
            raise XlingValueError(f"data.parts has no {split!r}; it has {', '.join(self.parts)}{hint}")
        path = self._find(language, split)
        frame = numbered(self.reader(path, language), "" if self.parallel else f"{language}/")
        return cut_part(frame, *self._bounds(split)) if self.parts else frame

    def _find(self, language: str, split: str) -> Path:
        name = self._glob(language, split)
        found = sorted(self.root.glob(name))
        if not found:
            known = ", ".join(self.languages) or "no language"
            raise MissingFileError(
                f"expected a file {name} for language {language!r} in {self.root}, found none; there are files for {known}"
            )
        if len(found) > 1:
            names = " and ".join(path.name for path in found[:3])
            raise XlingValueError(f"expected one file {name} in {self.root}, found {names}; make data.pattern narrower")
        return found[0]

    def _glob(self, language: str, split: str) -> str:
        return self.pattern.format(language=language, split=split)

    def _bounds(self, part: str) -> tuple[float, float]:
        ends = [0.0, *itertools.accumulate(self.parts.values())]
        index = list(self.parts).index(part)
        return ends[index], ends[index + 1]


def _regex(pattern: str) -> str:
    """Turn a file pattern into a regular expression that finds the language.

    >>> re.fullmatch(_regex("{language}_*-ud-{split}.conllu"), "en_pud-ud-test.conllu")["language"]
    'en'
    """
    text = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\{split\}", "[^/]+?")
    first, *others = text.split(r"\{language\}")
    return first + _LANGUAGE + "(?P=language)".join(others)
