"""Runs independent jobs in several processes, for work that holds Python's lock.

The processes are loky's, joblib's: fresh interpreters, since a fork of a process with threads can hang, and since the standard
library's other ways of starting would run the user's script a second time.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from xling.machine.threads import count_workers

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

Job = TypeVar("Job")
Result = TypeVar("Result")
IDLE_S = 10
"""Seconds without a job after which a process ends: one that was killed is outlived by the others for less than a minute."""
Warned = tuple[Warning | str, type[Warning], str, int]


class _Outcome(NamedTuple):
    """What a job gave in another process, and the warnings that it caused there."""

    result: object
    caught: tuple[Warned, ...]


def map_in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None, jobs_each: int = 1
) -> Iterator[Result]:
    """Apply a function to every job and yield what it gives, in the order of the jobs.

    A job that fails elsewhere, or cannot be sent there, is done once more in this process when its turn comes, and all of them are
    where no process can be started, so that errors and warnings are those that there would be without further processes.

    Args:
        function: of one job, to be pickled like the jobs. What it gives must depend neither on the process nor on other jobs.
        jobs: what is worked through.
        workers: number of processes; None: as many as processors that this process may use.
        jobs_each: number of jobs for which a process is worth its start and its memory.

    Raises:
        XlingValueError: `workers` is no whole number of at least 1.

    >>> list(map_in_processes(abs, [-1, 2, -3], workers=1))
    [1, 2, 3]
    """
    n = min(len(jobs) // jobs_each, count_workers(workers))
    if n <= 1:
        yield from map(function, jobs)
        return
    try:
        pool, outcomes = _submit(function, jobs, n)
    except OSError:  # no shared memory, too many open files or processes: the results are the same in this one
        yield from map(function, jobs)
        return
    try:
        for job, outcome in zip(jobs, outcomes, strict=True):
            yield _take(function, job, outcome)
    finally:
        pool.shutdown(wait=True, kill_workers=True)  # at once, also where the caller stops early


def _submit(
    function: Callable[[Job], Result], jobs: Sequence[Job], n: int
) -> tuple["ProcessPoolExecutor", list["Future[_Outcome]"]]:
    """Start processes and hand all jobs over.

    Raises:
        OSError: a process cannot be started.
    """
    from loky import ProcessPoolExecutor  # not needed by those who have one processor or few figures

    pool = ProcessPoolExecutor(n, timeout=IDLE_S)
    try:
        return pool, [pool.submit(_with_warnings, function, job) for job in jobs]
    except OSError:
        pool.shutdown(wait=True, kill_workers=True)
        raise


def _with_warnings(function: Callable[[Job], Result], job: Job) -> _Outcome:
    """Do a job in another process, where nobody would read its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(job)
    return _Outcome(result, tuple((one.message, one.category, one.filename, one.lineno) for one in caught))


def _take(function: Callable[[Job], Result], job: Job, outcome: "Future[_Outcome]") -> Result:
    try:
        result, caught = outcome.result()
    except Exception:  # of the job, of pickling, or of a process that has died: this process finds out
        return function(job)
    for message, category, filename, line in caught:
        warnings.warn_explicit(message, category, filename, line)
    return result  # type: ignore[return-value]
