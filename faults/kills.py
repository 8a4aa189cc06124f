"""Kills a sweep at random moments of everything it does, sends it SIGTERM, and starts it twice at once."""

import collections
import random
import shutil
import signal
import time
from pathlib import Path

from faults.outcomes import differences
from faults.report import Fault
from faults.sweeps import Forked, Study

_PHASES = {
    "writing a checkpoint": ("save_checkpoint",),
    "writing a table or record": ("atomic_path", "write_tables", "write_json", "write_text", "to_parquet"),
    "base computation": ("_capture_base",),
    "validation": ("evaluation_loop",),
    "training": ("training_epoch_loop",),
    "reading a checkpoint": ("load_checkpoint",),
}


def phase(stack: str) -> str:
    """Name what a process was doing, by the functions on its stack."""
    return next(
        (name for name, marks in _PHASES.items() if any(mark in stack for mark in marks)), "start or end of a run"
    )


# what the kills of one sweep hit, in this order; None: whatever it is doing at a random moment
_AIMS = ("base computation", "base computation", "training", "validation", "writing a checkpoint", "reading a checkpoint",
         "writing a table or record", None, None, None, None, None)  # fmt: skip
_SHORT = ("base computation", "writing a checkpoint", "reading a checkpoint", "writing a table or record")


def kill_at_random(root: Path, expected: dict[str, str], seconds: float, n_kills: int, seed: int = 0) -> Fault:
    """Kill -9 until `n_kills` have hit, restarting at once; after every dozen let the sweep end and compare it.

    Args:
        root: scratch folder.
        expected: outcome of an undisturbed sweep.
        seconds: seconds that an undisturbed sweep took.
        n_kills: number of kills.
        seed: seed of the random moments.
    """
    moments, phases, found, n_sweeps = random.Random(seed), collections.Counter(), [], 0
    while phases.total() < n_kills and not found:
        study = Study(root / f"killed_{n_sweeps}")
        for aim in _AIMS[: n_kills - phases.total()]:
            if (hit := _kill_once(study, aim, seconds, moments)) is None:
                break  # the sweep is complete
            phases[hit] += 1
        status = study.start_composed().wait()
        found += [f"exit status {status}"] if status else []
        found += differences(study.folder, expected)
        shutil.rmtree(study.root)
        n_sweeps += 1
    note = f"{n_sweeps} sweeps of 16 runs: {_counts(phases)}"
    return Fault("kill -9 at a random moment", phases.total(), found, note)


def _kill_once(study: Study, aim: str | None, seconds: float, moments: random.Random) -> str | None:
    """Start the rest of the sweep and kill it; returns what it was doing, or None if it was complete."""
    child = study.start_composed(is_rest=True)
    doing = _pause_at(child, aim, seconds, moments)
    if doing:
        child.kill()
    return doing


def _pause_at(child: Forked, aim: str | None, seconds: float, moments: random.Random) -> str | None:
    """Pause the process at a random moment, or when it does what is aimed at (or has not for too long); None: it has ended."""
    ends = time.monotonic() + seconds / 8
    delay = moments.uniform(0, seconds / 10) if aim is None else 0.0
    while child.wait(delay) is None:
        doing = phase(child.pause())
        if aim in (None, doing) or time.monotonic() > ends:
            return doing
        child.resume()
        # what is short is looked for everywhere, what is long begun at any point of the run
        delay = moments.uniform(0, 0.02 if aim in _SHORT else seconds / 40)
    return None


def terminate(root: Path, expected: dict[str, str], seconds: float, n_signals: int, seed: int = 1) -> Fault:
    """Send SIGTERM, which must give exit status 75 (or death by the signal before the first run has begun), and go on."""
    moments, found, n_orderly, phases = random.Random(seed), [], 0, collections.Counter()
    study = Study(root / "terminated")
    for aim in _AIMS[:n_signals]:
        child = study.start_composed(is_rest=True)
        if (doing := _pause_at(child, aim, seconds, moments)) is None:
            break
        phases[doing] += 1
        child.signal(signal.SIGTERM)
        child.resume()
        status = child.wait()
        n_orderly += status == 75
        found += [] if status in (75, -signal.SIGTERM) else [f"exit status {status}: {child.messages()[-300:]}"]
    found += _finish(study, expected)
    return Fault("SIGTERM", phases.total(), found, f"{n_orderly} orderly stops (status 75): {_counts(phases)}")


def _counts(phases: collections.Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in phases.most_common())


def two_at_once(root: Path, expected: dict[str, str]) -> Fault:
    """Start two sweeps over one study: each run must be done once, and who comes second must say that it is in use."""
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
