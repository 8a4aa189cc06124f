"""Marks on what is in the cache: when it was last used, and whether a live process may still read it.

Beside an entry ``X`` stands ``X.used``: its time is the last use, and every process that uses the entry holds a shared lock of
the kernel's on it until it ends, however it ends. Pruning needs the exclusive one.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xling.storage.atomic import unwritable
from xling.storage.locks import is_held, lock_or_warn, open_shared

MARK = ".used"
ABOUT_FILE = "about.json"
"""In a folder of base representations: model and pooling, for people; the folder's name is a hash of both and more."""

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_held: dict[Path, int] = {}


def hold(entry: Path) -> None:
    """Mark `entry` as used now, and as in use for the life of this process; waits while it is being pruned.

    Call it before looking whether the entry is there. In a cache that one may only read nothing is marked.
    """
    mark = _mark(entry)
    if mark in _held:
        return
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(mark, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno in _READ_ONLY:
            return
        raise
    with suppress(PermissionError):  # another user's: it stays locked all the same
        os.utime(descriptor)
    _held[mark] = descriptor


@contextmanager
def claim(entry: Path) -> Iterator[bool]:
    """Try to be the only one who uses `entry`; gives whether it worked. The mark goes if the entry has gone."""
    mark = _mark(entry)
    try:
        descriptor = _open_locked(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    except OSError as error:
        raise unwritable(entry, error) from error
    try:
        yield True
    finally:
        if not entry.exists():
            mark.unlink(missing_ok=True)
        os.close(descriptor)


def is_in_use(entry: Path) -> bool:
    """Whether a live process holds `entry`; writes nothing."""
    return is_held(_mark(entry), against_readers=True)


def last_use(entry: Path) -> float:
    """Time of the last use in seconds since the epoch; of an entry without a mark, of its making."""
    mark = _mark(entry)
    return (mark if mark.exists() else entry).stat().st_mtime


def _mark(entry: Path) -> Path:
    return entry.with_name(entry.name + MARK)


def _open_locked(mark: Path, operation: int) -> int:
    """Open and lock; once more where the file was removed in between, since that lock would bind nobody."""
    while True:
        descriptor = open_shared(mark)
        try:
            lock_or_warn(descriptor, operation, mark.parent)
            if mark.exists() and os.path.samestat(os.fstat(descriptor), mark.stat()):
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
