"""Runs independent jobs on all processors that this process may use."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from xling.errors import XlingValueError

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None
) -> Iterator[Result]:
    """Apply a function to every job and yield what it gives, in the order of the jobs.

    For work that numpy does outside Python's lock. What a job gives must not depend on the others, so that it does not depend on
    the number of threads either.

    Args:
        function: of one job.
        jobs: what is worked through.
        workers: number of threads; None: as many as processors that this process may use (``taskset`` and Slurm limit them).

    Raises:
        XlingValueError: `workers` is no whole number of at least 1.

    >>> list(map_in_threads(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    n = min(len(jobs), count_workers(workers))
    if n <= 1:
        yield from map(function, jobs)
        return
    with ThreadPoolExecutor(n, thread_name_prefix="xling") as pool:
        yield from pool.map(function, jobs)


def count_workers(workers: int | None) -> int:
    """Give the number of workers that was asked for, or, of None, of the processors that this process may use.

    Raises:
        XlingValueError: `workers` is no whole number of at least 1.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise XlingValueError(f"expected workers as a whole number of at least 1, or null, got {workers!r}")
    return workers or len(os.sched_getaffinity(0))
