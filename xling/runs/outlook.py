"""How much of a study is done, and how long the rest will take at the pace of its finished runs."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xling.errors import XlingError
from xling.runs.directory import MANIFEST_FILE
from xling.runs.plan import RunKey, read_plan
from xling.runs.status import RunStatus, read_status
from xling.storage.atomic import read_json


@dataclass(frozen=True)
class Outlook:
    """Where a study stands.

    Attributes:
        n_runs: runs that it is to have.
        n_done: complete ones.
        n_running: those that a live process works on.
        seconds_left: until all are done, as many at a time as are running now (one, where none is); None as long as none has ended.
    """

    n_runs: int
    n_done: int
    n_running: int
    seconds_left: float | None


def study_outlook(folder: Path, runs: Sequence[RunStatus]) -> Outlook:
    """Look ahead: a run takes what the finished runs of the study took in the median, a running one what is left of that.

    Args:
        folder: of the study.
        runs: the state of every run it is to have, see :func:`xling.runs.status.study_status`.
    """
    done, running = ([run for run in runs if run.state == state] for state in ("done", "running"))
    return Outlook(len(runs), len(done), len(running), _seconds_left(_durations(folder, done), runs))


def _seconds_left(durations: Sequence[float], runs: Sequence[RunStatus]) -> float | None:
    waiting = [run for run in runs if run.state != "done"]
    if not waiting:
        return 0.0
    if not durations:
        return None
    each = statistics.median(durations)
    running = [run for run in waiting if run.state == "running"]
    known = [min(each, run.seconds_left) if run.seconds_left is not None else each for run in running]
    total = sum(known) + each * (len(waiting) - len(running))
    return max(total / max(1, len(running)), max(known, default=0.0))


def _durations(folder: Path, done: Iterable[RunStatus]) -> list[float]:
    """Seconds of finished runs; of a resumed one at least its training over all starts. A damaged manifest says nothing here."""
    found = []
    for run in done:
        key = RunKey(run.source_language, run.strategy, run.seed)
        try:
            manifest = read_json(folder / key.folder / MANIFEST_FILE)
            found.append(max(float(manifest["seconds"]), float(manifest["train_seconds"])))
        except (XlingError, KeyError, TypeError, ValueError):
            continue
    return found


def planned_outlook(folder: Path) -> Outlook | None:
    """The outlook of the runs that sweeps asked for; None where no sweep did, or its list cannot be read."""
    try:
        keys = sorted(read_plan(folder))
    except XlingError:
        return None
    return study_outlook(folder, [read_status(folder, key) for key in keys]) if keys else None
