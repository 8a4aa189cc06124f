"""Marks entries of the cache with the time of their last use, and knows whether a live process may still read them.

Beside an entry ``X`` stands a file ``X.used``, whose time is that of the last use. Every process that uses the entry holds a shared
lock of the operating system on that file, which ends with the process. Who removes the entry needs the exclusive lock.
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
"""File in a folder of base representations that names model and pooling for people, since the folder's name is a hash."""

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_held: dict[Path, int] = {}


def mark_in_use(entry: Path) -> None:
    """Record that `entry` is used now, and keep other processes from pruning it until this process ends.

    Waits while the entry is being pruned. Call it before checking whether the entry exists. In a read-only cache nothing is
    recorded.
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
    with suppress(PermissionError):  # another user's file, whose time cannot be set; the lock holds all the same
        os.utime(descriptor)
    _held[mark] = descriptor


@contextmanager
def exclusive_use(entry: Path) -> Iterator[bool]:
    """Try to lock `entry` against every other process, for as long as the block runs.

    Yields:
        Whether no other process uses the entry. If the block removes the entry, its mark is removed too.
    """
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
    """Whether a running process has marked `entry` as in use; writes nothing."""
    return is_held(_mark(entry), against_readers=True)


def last_use(entry: Path) -> float:
    """Find when the entry was last used (or when it was made, if it has no mark), in seconds since the epoch."""
    mark = _mark(entry)
    return (mark if mark.exists() else entry).stat().st_mtime


def _mark(entry: Path) -> Path:
    return entry.with_name(entry.name + MARK)


def _open_locked(mark: Path, operation: int) -> int:
    """Open and lock the mark; try again if another process removed the file in between, since that lock protects nothing."""
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
