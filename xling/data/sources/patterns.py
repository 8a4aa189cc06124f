"""Reads languages and splits out of file names by patterns: ``{split}.{language}.tsv``, ``{language}_*-ud-{split}.conllu``."""

import re
import string
from pathlib import Path, PurePosixPath

from xling.errors import XlingValueError

_FIELDS = ("language", "split")

_CODE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]+)*|[A-Za-z]{2,3}(_[A-Z][a-z]{3})?(_([A-Z]{2}|\d{3}))?")
"""A language code of two or three letters, perhaps with subtags: zh-Hant, zho_Hans, pt_BR."""


def is_code(name: str) -> bool:
    """Whether a part of a file name has the form of a language code.

    >>> [is_code(name) for name in ("zho_Hans", "pt_BR", "be-x-old", "simple", "en_pud")]
    [True, True, True, False, False]
    """
    return _CODE.fullmatch(name) is not None


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that names no file of a language.

    Raises:
        XlingValueError: the pattern has no ``{language}``, has another placeholder, is an absolute path, or has a ``*`` right
            beside ``{language}``.
    """
    example = "; e.g. '{split}.{language}.tsv'"
    if not isinstance(pattern, str):
        raise XlingValueError(f"expected data.pattern to be text, found {pattern!r}{example}")
    try:
        fields = {name for _, name, spec, conversion in string.Formatter().parse(pattern) if name is not None}
        strange = fields - set(_FIELDS)
    except ValueError as error:
        raise XlingValueError(
            f"expected data.pattern with {{language}} and {{split}}, found {pattern!r} ({error}){example}"
        ) from error
    if strange:
        raise XlingValueError(
            f"expected no placeholders in data.pattern but {{language}} and {{split}}, found {{{sorted(strange)[0]}}} in "
            f"{pattern!r}{example}"
        )
    if "language" not in fields:
        raise XlingValueError(f"expected {{language}} in data.pattern, found {pattern!r}{example}")
    if PurePosixPath(pattern).is_absolute() or pattern.startswith("~"):
        raise XlingValueError(
            f"expected data.pattern to be a path below data.root, found {pattern!r}; put its folder into data.root"
        )
    if "*{language}" in pattern or "{language}*" in pattern:
        raise XlingValueError(
            f"expected something between * and {{language}} in data.pattern, which else could begin or end anywhere, found "
            f"{pattern!r}; e.g. '*_{{language}}.tsv'"
        )


def find_files(root: Path, pattern: str, language: str, split: str) -> list[Path]:
    """List the files that a pattern names for one language and split, sorted."""
    filled = _escaped(pattern).format(language=_escaped(language).replace("*", "[*]"), split=_escaped(split))
    return sorted(path for path in root.glob(filled) if path.is_file())


def find_languages(root: Path, pattern: str) -> dict[str, str]:
    """Find the files that fit a pattern in any language: text in the place of the language -> the name of one such file."""
    regex = re.compile(_regex(pattern))
    names = sorted(p.relative_to(root).as_posix() for p in root.glob(_escaped(pattern).format(language="*", split="*")))
    return {match["language"]: name for name in names if (match := regex.fullmatch(name))}


def _escaped(text: str) -> str:
    """Escape what is special to `glob` besides ``*``, since only ``*`` is special in a pattern."""
    return text.replace("[", "[[]").replace("?", "[?]")


def _regex(pattern: str) -> str:
    """Turn a file pattern into a regular expression that finds the language.

    >>> re.fullmatch(_regex("{language}_*-ud-{split}.conllu"), "en_pud-ud-test.conllu")["language"]
    'en'
    """
    text = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*").replace(r"\{split\}", "[^/]+?")
    first, *others = text.split(r"\{language\}")
    # a language code where one fits, so that en_pud-ud-test.conllu is of en; else any text, which a message can then name
    language = rf"(?P<language>(?:{_CODE.pattern.replace('(', '(?:')})|[^/]+?)"
    return first + language + "(?P=language)".join(others)
