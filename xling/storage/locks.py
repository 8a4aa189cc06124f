"""Locks files by the operating system, so that a lock ends with the process that holds it, however that ends.

Some network file systems have no such locks (Lustre without the mount option ``flock``, some FUSE and NFS mounts). Nothing can be
protected there; a warning says so once, and work goes on.
"""

import errno
import fcntl
import functools
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from xling.errors import UnreachableError

log = logging.getLogger(__name__)

_POLL_S = 0.05
"""Seconds between two tries of a lock, since flock cannot wait with a time limit."""

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)
"""Error numbers of the operating system where a file system has no locks."""


def is_held(path: Path, *, against_readers: bool = False) -> bool:
    """Whether a live process holds the lock of `path`. Nothing is written, and it suffices that the file may be read.

    The process may be on another machine, if the shared file system passes locks on. To find out, the lock is held for an
    instant; who wants it meanwhile waits that long. On a file system without locks the answer is always no.

    Args:
        path: lock file; where there is none, or it may not be read, the answer is no.
        against_readers: whether processes that share the lock count too, and not only one that holds it exclusively.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False
    try:
        lock_or_warn(descriptor, (fcntl.LOCK_EX if against_readers else fcntl.LOCK_SH) | fcntl.LOCK_NB, path.parent)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def hold_lock(path: Path, refusal: str, timeout: float = 1.0) -> Iterator[None]:
    """Lock the file `path` for this process; on a file system without locks continue without one, and warn.

    Args:
        path: lock file, in a folder that exists.
        refusal: message of the error where another live process holds the lock.
        timeout: seconds to wait, since :func:`is_held` may hold the lock for an instant; infinite: as long as it takes.

    Raises:
        UnreachableError: another live process holds the lock.
        OSError: the file cannot be opened.
    """
    ends = time.monotonic() + timeout
    while (descriptor := _try(path)) is None:
        if time.monotonic() > ends:
            raise UnreachableError(refusal)
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def waiting_lock(path: Path) -> AbstractContextManager[None]:
    """Lock the file `path`, waiting as long as another process holds it; see :func:`hold_lock`."""
    return hold_lock(path, "", timeout=math.inf)


def _try(path: Path) -> int | None:
    """Try to lock the file.

    Returns:
        An open descriptor, also on a file system without locks; None if another process has the lock.
    """
    descriptor = open_shared(path)
    try:
        lock_or_warn(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, path.parent)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
        return descriptor
    os.close(descriptor)  # the file was removed in between, and nobody else would see a lock on it
    return None


def lock_or_warn(descriptor: int, operation: int, folder: Path) -> None:
    """Lock an open file; where its file system has no locks, warn once and go on.

    Raises:
        BlockingIOError: another process has the lock, and `operation` does not wait.
    """
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        say_unprotected(folder)


def open_shared(path: Path) -> int:
    """Open a lock file, and make it if it is not there; a file that may only be read can be locked as well."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise error from None


@functools.cache
def say_unprotected(folder: Path) -> None:
    """Warn, once per folder, that its file system has no locks."""
    log.warning(
        "%s is on a file system without file locks (on Lustre: mount it with -o flock): two processes that write there at once "
        "are not kept apart; start one at a time, or put output_dir and cache_dir on another disk",
        folder,
    )
