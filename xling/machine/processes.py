"""Independent jobs in several processes, for work that holds Python's lock.

Helpers are fresh interpreters that read jobs from a pipe. They are no forks, since a fork of a process with threads can hang;
and they know nothing of the user's script, which the standard library's other ways of starting would run a second time. A helper
ends when its pipe does, so that none outlives the process that started it, however that ends.
"""

import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from threading import Thread
from typing import IO, Any, TypeVar, cast

from xling.machine.threads import count_workers

Job = TypeVar("Job")
Result = TypeVar("Result")

_CODE = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer)\n"
    "from xling.machine.processes import help_out; help_out()"
)


def map_in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None, jobs_each: int = 1
) -> Iterator[Result]:
    """Apply a function to every job and yield what it gives, in the order of the jobs; this process works along.

    A job that fails, or that cannot be sent to another process, is done once more in this one when its turn comes. Errors and
    warnings are therefore those that there would be without further processes.

    Args:
        function: of one job, to be pickled like the jobs. What it gives must depend neither on the process nor on other jobs.
        jobs: what is worked through.
        workers: number of processes, this one included; None: as many as processors that this process may use.
        jobs_each: number of jobs for which a further process is worth its start and its memory.

    Raises:
        XlingValueError: `workers` is no whole number of at least 1.

    >>> list(map_in_processes(abs, [-1, 2, -3], workers=1))
    [1, 2, 3]
    """
    n = min(len(jobs) // jobs_each, count_workers(workers))
    if n <= 1:
        yield from map(function, jobs)
        return
    outcomes: list[Future[_Outcome]] = [Future() for _ in jobs]
    left = deque(range(len(jobs)))
    with ExitStack() as stack:
        for _ in range(n - 1):
            stack.enter_context(_helper(function, jobs, left, outcomes))
        for index, job in enumerate(jobs):
            while not outcomes[index].done() and (mine := _next(left)) is not None:
                outcomes[mine].set_result(_attempt(function, jobs[mine]))
            outcome = outcomes[index].result()
            yield outcome.take() if outcome.is_success else function(job)


@dataclass(frozen=True)
class _Outcome:
    """What became of a job: its result and the warnings of another process, or nothing where it failed."""

    is_success: bool
    result: Any = None
    caught: tuple[tuple[Warning | str, type[Warning], str, int], ...] = ()

    def take(self) -> Any:
        """Give the result, and the warnings to the filters of this process."""
        for caught in self.caught:
            warnings.warn_explicit(*caught)
        return self.result


def _attempt(function: Callable[[Job], Any], job: Job) -> _Outcome:
    try:
        return _Outcome(True, function(job))
    except Exception:  # whatever it is, the job is done again when its turn comes
        return _Outcome(False)


def _next(left: deque[int]) -> int | None:
    try:
        return left.popleft()
    except IndexError:  # another thread was faster
        return None


@contextmanager
def _helper(
    function: Callable, jobs: Sequence, left: deque[int], outcomes: Sequence["Future[_Outcome]"]
) -> Iterator[None]:
    """Have a process do jobs, and a thread hand them to it; where none can be started, there is one less."""
    try:
        process = subprocess.Popen([sys.executable, "-c", _CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError:
        yield
        return
    thread = Thread(target=_feed, args=(process, function, jobs, left, outcomes), daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        left.clear()
        process.terminate()
        raise
    finally:
        thread.join()
        process.communicate()  # ends the process by ending its pipe


def _feed(
    process: subprocess.Popen, function: Callable, jobs: Sequence, left: deque[int], outcomes: Sequence[Future]
) -> None:
    """Hand over one job after another, until none is left or the process has died."""
    to_helper, from_helper = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    is_alive, start = True, pickle.dumps(sys.path)
    while is_alive and (index := _next(left)) is not None:
        outcome = _Outcome(False)
        try:
            job = pickle.dumps(pickle.dumps((function, jobs[index])))
            to_helper.write(start + job)
            to_helper.flush()
            start = b""
            outcome = pickle.loads(pickle.load(from_helper))
        except (OSError, EOFError):
            is_alive = False
        except Exception:  # a job or result that cannot be pickled; the pipe holds whole messages all the same
            outcome = _Outcome(False)
        outcomes[index].set_result(outcome)


def help_out() -> None:
    """Do jobs that come by the standard input, and answer by the standard output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that sends jobs decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a job can remove half a file
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a job prints must not come between the answers
    try:
        while True:
            pickle.dump(_answer(pickle.load(sys.stdin.buffer)), answers)
            answers.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # at once, also where the other end of a full pipe has gone


def _answer(message: bytes) -> bytes:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = _attempt(*pickle.loads(message))
            seen = tuple((one.message, one.category, one.filename, one.lineno) for one in caught)
            return pickle.dumps(replace(outcome, caught=seen))
        except Exception:  # a job that cannot be made here, or a result that cannot be sent
            return pickle.dumps(_Outcome(False))
