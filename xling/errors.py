"""Defines the exceptions a user can meet: each message says what was expected, what came, and what to do.

Every class derives from :class:`XlingError` (so that a command ends with one sentence instead of a traceback) and from the
built-in exception that Python users would expect to catch.
"""

import difflib
from collections.abc import Iterable


class XlingError(Exception):
    """Base of all errors that a user can mend; commands print its message alone and exit with status 1."""

    is_shared = False
    """Whether all processes of a run raise it; then process 0 alone prints it."""


class XlingValueError(XlingError, ValueError):
    """A setting, language, layer, label or array that does not fit."""


class MissingFileError(XlingError, FileNotFoundError):
    """A file or folder that was asked for and is not there."""


class CorruptArtefactError(XlingError, ValueError):
    """A file written earlier that is truncated, altered, or belongs to something else."""


class UnreachableError(XlingError, OSError):
    """A hub, package or disk that is needed and cannot be reached or written."""


class DivergedError(XlingError, ArithmeticError):
    """A training loss that is NaN or infinite."""


class OutOfMemoryError(XlingError, MemoryError):
    """The processor's or the GPU's memory does not suffice."""


def close_matches(word: str, known: Iterable[str], n: int = 3) -> str:
    """Phrase the entries of `known` nearest to `word`.

    Args:
        word: the word that the user wrote.
        known: the words that exist.
        n: largest number of suggestions.

    Returns:
        ``"; did you mean 'a' or 'b'?"``, or ``""`` where nothing is near.

    >>> close_matches("freze", ["freeze", "model"])
    "; did you mean 'freeze'?"
    """
    matches = difflib.get_close_matches(str(word), [str(k) for k in known], n=n)
    return f"; did you mean {' or '.join(repr(m) for m in matches)}?" if matches else ""


def unknown(what: str, found: object, known: Iterable[object], remedy: str = "") -> XlingValueError:
    """Make the error about a word that is none of those that exist.

    Args:
        what: kind of thing that the word should have named, e.g. ``similarity measure`` or ``model.weights``.
        found: the word that the user wrote.
        known: the words that exist; None stands for ``null``.
        remedy: further advice, which ends the message.

    >>> print(unknown("model.dropout", "acive", ["active", "off"]))
    unknown model.dropout 'acive'; did you mean 'active'?; choose from active, off
    """
    names = ["null" if name is None else str(name) for name in known]
    listed = f"choose from {', '.join(names)}" if names else "there are none"
    return XlingValueError(f"unknown {what} {found!r}{close_matches(str(found), names)}; {listed}{remedy}")


def check_known(what: str, found: object, known: Iterable[object]) -> None:
    """Refuse a word that is none of those that exist; see :func:`unknown` for the arguments.

    Raises:
        XlingValueError: `found` is not in `known`; the message names near misses, and all words that exist.
    """
    known = list(known)
    if found not in known:
        raise unknown(what, found, known)
