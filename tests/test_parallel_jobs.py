"""Jobs in several processes: the same results, errors and warnings as in one, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from xling.errors import XlingValueError
from xling.machine.parallel_jobs import map_in_processes

MAIN = os.getpid()


def process_of(job):
    time.sleep(0.2)  # so that a helper has time to take a share
    return job, os.getpid()


def reciprocal(job):
    return 1 // job


def warn(job):
    warnings.warn(f"odd: {job}", UserWarning, stacklevel=1)
    return os.getpid()


def print_and_add(job):
    print("a line on the standard output")
    return job + 1


def die_elsewhere(job):
    time.sleep(0.2)
    if os.getpid() != job:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


class Stubborn:
    """A job that cannot be pickled."""

    def __reduce__(self):
        raise TypeError("stays here")


class OnlyHere:
    """A job that cannot be made anew in another process."""

    def __reduce__(self):
        return _make, (os.getpid(),)


def _make(process):
    if os.getpid() != process:
        raise ValueError("not here")
    return OnlyHere()


def test_results_come_in_the_order_of_the_jobs_and_from_several_processes():
    jobs = list(range(30))
    results = list(map_in_processes(process_of, jobs, workers=8, jobs_each=10))
    assert [job for job, _ in results] == jobs
    assert len({process for _, process in results} - {MAIN}) == 3


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 2, "jobs_each": 2}])
def test_one_worker_or_few_jobs_start_no_process(monkeypatch, options):
    monkeypatch.setitem(sys.modules, "loky", None)  # cannot be imported
    assert {process for _, process in map_in_processes(process_of, [1, 2, 3], **options)} == {MAIN}


def test_a_single_processor_starts_no_process(monkeypatch):
    monkeypatch.setitem(sys.modules, "loky", None)  # cannot be imported
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert len(list(map_in_processes(process_of, [1, 2]))) == 2


def test_the_first_error_is_that_of_the_first_job_that_fails():
    results = map_in_processes(reciprocal, [1, 1, 0, "text", 1], workers=3)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_warnings_of_another_process_meet_the_filters_of_this_one():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(map_in_processes(warn, list(range(200)), workers=2))
    assert sorted(str(one.message) for one in caught) == sorted(f"odd: {job}" for job in range(200))
    with pytest.raises(UserWarning, match="odd: 0"):
        list(map_in_processes(warn, [0, 1, 2], workers=2))


def test_what_a_job_prints_does_not_come_between_the_results():
    assert list(map_in_processes(print_and_add, list(range(100)), workers=2)) == list(range(1, 101))


@pytest.mark.parametrize("kind", [Stubborn, OnlyHere])
def test_jobs_that_cannot_be_sent_are_done_here(kind):
    jobs = [kind() for _ in range(20)]
    assert {process for _, process in map_in_processes(process_of, jobs, workers=2)} == {MAIN}


def test_a_helper_that_dies_leaves_its_job_to_this_process():
    assert set(map_in_processes(die_elsewhere, [MAIN] * 20, workers=3)) == {MAIN}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
@pytest.mark.parametrize("n_files", [1, 8, 16])
def test_where_no_process_can_be_started_this_one_does_it_all(n_files):
    code = (
        "import os, resource; from xling.machine.parallel_jobs import map_in_processes\n"
        "import loky\n"
        f"limit = len(os.listdir('/proc/self/fd')) + {n_files}\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n"
        "print(list(map_in_processes(abs, [-1, -2, -3], workers=2)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[1, 2, 3]\n"), done.stderr


def children_of(process):
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are listed in /proc")
def test_helpers_end_with_the_work_and_where_it_is_broken_off():
    list(map_in_processes(process_of, list(range(6)), workers=3))
    before = children_of(MAIN)  # one may be loky's tracker of what processes share, which ends with this process
    list(map_in_processes(process_of, list(range(6)), workers=3))
    assert children_of(MAIN) == before
    broken_off = map_in_processes(process_of, list(range(50)), workers=3)
    next(broken_off)
    assert len(children_of(MAIN)) >= len(before) + 3
    broken_off.close()
    assert children_of(MAIN) == before


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are listed in /proc")
def test_no_helper_outlives_a_process_that_is_stopped_for_long():
    code = (
        "import signal, time; from xling.machine.parallel_jobs import map_in_processes\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "results = map_in_processes(time.sleep, [0.05] * 2000, workers=3); next(results); print('begun', flush=True)\n"
        "list(results)"
    )
    helpers = {}
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGKILL,
    ):  # a helper notices within 40 s: all three wait together
        stopped = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert stopped.stdout.readline() == "begun\n"
        helpers[number.name] = children_of(stopped.pid)
        assert len(helpers[number.name]) >= 3
        stopped.send_signal(number)
        stopped.wait(10)
        stopped.stdout.close()
    until = time.monotonic() + 120
    while any(map(still_there, helpers.values())) and time.monotonic() < until:
        time.sleep(0.05)
    assert {name: still_there(own) for name, own in helpers.items()} == {name: [] for name in helpers}


def still_there(processes):
    return [process for process in processes if Path(f"/proc/{process}").exists()]


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_other_numbers_of_processes_are_refused(workers):
    with pytest.raises(XlingValueError, match="expected workers as a whole number of at least 1, or null"):
        list(map_in_processes(abs, [1, 2], workers=workers))
