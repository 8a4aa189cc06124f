"""Says how much of a study is done, and how long the rest will take at the pace of its finished runs."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xling.errors import XlingError
from xling.runs.directory import MANIFEST_FILE
from xling.runs.planned_runs import RunKey, read_plan
from xling.runs.status import RunStatus, read_status
from xling.storage.atomic import read_json


@dataclass(frozen=True)
class Outlook:
    """How much of a study is done.

    Attributes:
        n_runs: number of runs the study will have.
        n_done: number of complete runs.
        n_running: number of runs that a live process is working on.
        seconds_left: seconds until all runs are done, if as many run at a time as do now (or one, where none does); None as long
            as no run has ended.
    """

    n_runs: int
    n_done: int
    n_running: int
    seconds_left: float | None


def study_outlook(folder: Path, runs: Sequence[RunStatus]) -> Outlook:
    """Estimate how long a study will take, if every run takes as long as the median of its finished runs.

    Args:
        folder: folder of the study.
        runs: state of every run the study will have, see :func:`xling.runs.status.study_status`.
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
    """List the seconds that finished runs took.

    A manifest's `seconds` are those of the last start, so that a resumed run counts with its training time over all starts if that
    is longer. Damaged manifests are left out, since this is only an estimate.
    """
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
    """Estimate as :func:`study_outlook` does for the runs that sweeps asked for; None where their list is absent or damaged."""
    try:
        keys = sorted(read_plan(folder))
    except XlingError:
        return None
    return study_outlook(folder, [read_status(folder, key) for key in keys]) if keys else None
