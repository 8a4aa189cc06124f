"""Explains in one sentence what a machine lacks: memory, disk space, or the right to write."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from xling.errors import OutOfMemoryError, UnreachableError, XlingError

_MEMORY_PHRASES = ("can't allocate memory", "not enough memory", "bad_alloc", "Cannot allocate memory", "out of memory")
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


@contextmanager
def explaining_resources() -> Iterator[None]:
    """Turn what Python, torch and Arrow raise when memory or disk is short into an error that a user can mend.

    Raises:
        OutOfMemoryError: memory does not suffice.
        UnreachableError: a disk is full, or a folder cannot be written.
    """
    try:
        yield
    except XlingError:
        raise
    except (MemoryError, RuntimeError, OSError) as error:
        explained = explain(error)
        if explained is None:
            raise
        raise explained from error


def explain(error: Exception) -> XlingError | None:
    """Make the error for a user, or None where `error` has nothing to do with memory or disk.

    >>> str(explain(MemoryError())).split(";")[0]
    'the memory of this machine does not suffice'
    >>> explain(ValueError("something else"))
    """
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and number in _UNWRITABLE:
        where = getattr(error, "filename", None) or "a file of this run"
        return UnreachableError(f"cannot write {where}: {error.strerror}; free some space or choose another folder")
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or number == errno.ENOMEM
    if is_memory or any(phrase in str(error) for phrase in _MEMORY_PHRASES):
        device = "GPU" if isinstance(error, torch.OutOfMemoryError) else "machine"
        return OutOfMemoryError(
            f"the memory of this {device} does not suffice; halve data.batch_size and double "
            "trainer.accumulate_grad_batches, which trains alike, lower data.eval_batch_size or data.max_length, and give the "
            "study another name (a run's settings stay what they were), or start the same command where there is more"
        )
    return None
