"""Asking the kernel whether a live process holds a lock file."""

import fcntl
import os
from pathlib import Path


def is_held(path: Path, *, against_readers: bool = False) -> bool:
    """Whether a live process holds the flock of `path`; writes nothing, works where one may only read.

    The lock is the kernel's: it ends with the process that held it, on whatever machine of a shared file system that
    passes locks on. The answer is taken by holding the lock for an instant; who wants it meanwhile waits that long.

    Args:
        path: lock file; where there is none, nobody holds it.
        against_readers: whether shared holders count too, not only an exclusive one.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if against_readers else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
