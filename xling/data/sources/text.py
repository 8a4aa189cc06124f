"""Opens text files for every reader, in UTF-8 with or without a byte-order mark, and numbers their lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from xling.errors import XlingValueError

NumberedLine = tuple[int, str]
"""Number of a line from 1, and its text without the line's end."""


@contextmanager
def opened(path: Path, newline: str = "\n") -> Iterator[TextIO]:
    """Open a file in UTF-8, without the byte-order mark that it may begin with.

    Args:
        path: path of the file.
        newline: the parameter of :func:`open`; by default a carriage return inside a line is text.

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
    """Yield the lines of a file with their numbers, without the line's end (``\\n`` or ``\\r\\n``).

    Raises:
        XlingValueError: the file is in another encoding.
    """
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            yield number, line.removesuffix("\n").removesuffix("\r")


def check_unicode(text: str, where: str) -> str:
    r"""Return `text` if a tokenizer can read it.

    A JSON file may hold one half of a pair of surrogates (``\ud83d``), which is no character.

    Args:
        text: text from a file.
        where: name of the text's place, for the message.

    Raises:
        XlingValueError: `text` holds half of a pair.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise XlingValueError(
            f"{where}: expected Unicode text, found half of a surrogate pair ({text[error.start]!a}) at character "
            f"{error.start}; correct the text"
        ) from error
    return text
