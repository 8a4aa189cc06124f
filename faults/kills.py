"""Kills at random moments, in whatever the sweep is doing; SIGTERM; two sweeps at once."""

import collections
import random
import shutil
import signal
import time
from pathlib import Path

from faults.outcomes import differences
from faults.report import Fault
from faults.sweeps import Study

_PHASES = {
    "writing a checkpoint": ("save_checkpoint",),
    "writing a table or record": ("atomic_path", "write_tables", "write_json", "write_text", "to_parquet"),
    "base computation": ("_capture_base",),
    "validation": ("evaluation_loop",),
    "training": ("training_epoch_loop",),
    "reading a checkpoint": ("load_checkpoint",),
}


def phase(stack: str) -> str:
    """What a process was doing, by the functions on its stack."""
    return next(
        (name for name, marks in _PHASES.items() if any(mark in stack for mark in marks)), "start or end of a run"
    )


def kill_at_random(root: Path, expected: dict[str, str], seconds: float, n_kills: int, seed: int = 0) -> Fault:
    """Kill -9 until `n_kills` have hit, restarting at once; whenever a sweep is complete, compare it and begin another.

    Args:
        root: scratch folder.
        expected: outcome of an undisturbed sweep.
        seconds: that an undisturbed sweep took.
        n_kills: how many.
        seed: of the moments.
    """
    moments, phases, found, n_sweeps, hit = random.Random(seed), collections.Counter(), [], 0, 0
    study = Study(root / "killed_0")
    while hit < n_kills or study.root.exists():
        child = study.start_composed()
        # the mean lets every sweep end after some twenty kills; short ones hit the start, the base and the first steps
        status = child.wait(moments.uniform(0, seconds / 10) if hit < n_kills else None)
        if status is None:
            phases[phase(child.stack())] += 1
            child.kill()
            hit += 1
            continue
        found += [f"exit status {status}"] if status else []
        found += differences(study.folder, expected)
        shutil.rmtree(study.root)
        n_sweeps += 1
        study = study if hit >= n_kills else Study(root / f"killed_{n_sweeps}")
    where = ", ".join(f"{name} {count}" for name, count in phases.most_common())
    return Fault("kill -9 at a random moment", hit, found, f"{n_sweeps} sweeps of 16 runs; {where}")


def terminate(root: Path, expected: dict[str, str], seconds: float, n_signals: int, seed: int = 1) -> Fault:
    """SIGTERM: exit status 75 (or death by the signal before the first run has begun), then go on."""
    moments, found, n_orderly = random.Random(seed), [], 0
    study = Study(root / "terminated")
    for _ in range(n_signals):
        child = study.start()
        status = child.wait(moments.uniform(0.3, 1) * seconds / n_signals)
        if status is None:
            status = child.kill(signal.SIGTERM)
            n_orderly += status == 75
            found += [] if status in (75, -signal.SIGTERM) else [f"exit status {status}: {child.messages()[-300:]}"]
    found += _finish(study, expected)
    return Fault("SIGTERM", n_signals, found, f"{n_orderly} orderly stops (status 75)")


def two_at_once(root: Path, expected: dict[str, str]) -> Fault:
    """Two sweeps over the same study: each run is done once; who comes second says that it is in use."""
    study, other = Study(root / "twice"), Study(root / "twice")
    first = study.start()
    time.sleep(0.5)
    other.root = root / "twice_messages"
    other.root.mkdir()
    second = other.start()
    statuses = [first.wait(), second.wait()]
    in_use = (first.messages() + second.messages()).count("in use by another process; wait for it")
    found = [] if set(statuses) <= {0, 1} else [f"exit status {statuses}"]
    return Fault("two sweeps at once", 1, found + _finish(study, expected), f"met in {in_use // 2 or in_use} run(s)")


def _finish(study: Study, expected: dict[str, str]) -> list[str]:
    child = study.start()
    status = child.wait()
    problems = [f"exit status {status}: {child.messages()[-300:]}"] if status else []
    return problems + differences(study.folder, expected)
