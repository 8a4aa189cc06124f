"""How every reader opens a text file: UTF-8, with or without a byte-order mark, and lines with their numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from xling.errors import XlingValueError

NumberedLine = tuple[int, str]
"""Number of a line from 1, and its text without the line's end."""


@contextmanager
def opened(path: Path, newline: str = "\n") -> Iterator[TextIO]:
    """Open a file in UTF-8; a byte-order mark at its beginning is no part of the text.

    Args:
        path: the file.
        newline: as of :func:`open`; a carriage return inside a line is text.

    Raises:
        XlingValueError: the file is in another encoding.
    """
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield file
    except UnicodeDecodeError as error:
        raise XlingValueError(
            f"{path}: expected a text file in UTF-8; {error}; convert it, e.g. with iconv -t UTF-8"
        ) from error


def numbered_lines(path: Path) -> Iterator[NumberedLine]:
    """The lines of a file, without their ends (``\\n`` or ``\\r\\n``).

    Raises:
        XlingValueError: the file is in another encoding.
    """
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            yield number, line.removesuffix("\n").removesuffix("\r")


def check_unicode(text: str, where: str) -> str:
    r"""Return `text` if a tokenizer can read it; JSON may hold one half of a pair of surrogates (``\ud83d``).

    Raises:
        XlingValueError: it holds such a half.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise XlingValueError(
            f"{where}: expected Unicode text, found half of a surrogate pair ({text[error.start]!a}) at character "
            f"{error.start}; correct the text"
        ) from error
    return text
