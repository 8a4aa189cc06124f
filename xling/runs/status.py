"""Reads the state of every run of a study from its folders."""

from dataclasses import dataclass
from pathlib import Path

from xling.errors import MissingFileError, XlingError
from xling.runs.directory import CONFIG_FILE, RunDirectory
from xling.runs.opening import open_study
from xling.runs.planned_runs import PLAN_FILE, RunKey, read_plan
from xling.runs.state import Progress, is_locked, read_failure, read_progress

STATES = {
    "done": "its manifest is there",
    "running": "a live process holds its lock",
    "failed": "its last start ended with an error",
    "interrupted": "begun, without an error and without a process; starting the sweep again continues it",
    "missing": "asked for and not begun",
}
_RUNS = "*/*/seed_*"


@dataclass(frozen=True)
class RunStatus:
    """State of one run.

    Attributes:
        source_language: language the run is fine-tuned on.
        strategy: name of the run's strategy of freezing or intervention.
        seed: seed of the run.
        state: key of ``STATES``.
        epoch: epochs done by a run that has begun and is not complete; None for others.
        seconds_left: seconds that a running run still needs at its pace so far; None for others, and before its first step is
            reported.
        reason: one line that says why the run failed, or where an interrupted run was last heard of.
    """

    source_language: str
    strategy: str
    seed: int
    state: str
    epoch: float | None = None
    seconds_left: float | None = None
    reason: str = ""


def read_status(folder: Path, key: RunKey) -> RunStatus:
    """Read the state of the run `key` of the study in `folder`; nothing is written."""
    path = folder / key.folder
    if RunDirectory(path).is_complete:
        return RunStatus(*key, "done")
    try:
        progress, failure = read_progress(path), read_failure(path)
    except XlingError as error:
        return RunStatus(*key, "running" if is_locked(path) else "interrupted", reason=str(error))
    epoch = progress.epoch if progress else None
    if is_locked(path):
        return RunStatus(*key, "running", epoch, _seconds_left(progress))
    if failure is not None:
        return RunStatus(*key, "failed", epoch, reason=failure.reason)
    if progress is not None or (path / CONFIG_FILE).is_file():
        heard = f"last heard of on {progress.host} at {progress.updated_at}" if progress else ""
        return RunStatus(*key, "interrupted", epoch, reason=heard)
    return RunStatus(*key, "missing")


def _seconds_left(progress: Progress | None) -> float | None:
    if progress is None or not progress.step or progress.total_steps is None:
        return None
    return round(progress.elapsed_s / progress.step * (progress.total_steps - progress.step), 1)


def study_status(folder: Path) -> list[RunStatus]:
    """Read the state of every run of a study, in order of source, strategy and seed.

    Which runs are missing follows from ``plan.json``, which is written when a sweep starts. Without that file, every combination
    of the sources, strategies and seeds that are there is expected.

    Args:
        folder: folder of one study.
    """
    seen = {_key(path) for path in folder.glob(_RUNS) if path.is_dir() and path.name[5:].isdigit()}
    planned = read_plan(folder)
    if not planned and seen:
        sources, strategies, seeds = map(set, zip(*seen, strict=True))
        planned = {RunKey(*key) for key in _product(sources, strategies, seeds)}
    return [read_status(folder, key) for key in sorted(seen | planned)]


def find_studies(folder: Path) -> list[Path]:
    """Find the studies in `folder`, which is a study itself or holds studies directly below it.

    Raises:
        MissingFileError: there is no such folder.
    """
    folder = open_study(folder)
    if not folder.is_dir():
        raise MissingFileError(f"expected the folder or pack of a study at {folder}, found none; give runs/STUDY")
    candidates = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    studies = [path for path in candidates if (path / PLAN_FILE).is_file() or any(path.glob(_RUNS))]
    return studies[:1] if studies[:1] == [folder] else studies


def _product(sources: set[str], strategies: set[str], seeds: set[int]) -> list[tuple]:
    return [(source, strategy, seed) for source in sources for strategy in strategies for seed in seeds]


def _key(path: Path) -> RunKey:
    return RunKey(path.parts[-3], path.parts[-2], int(path.name[5:]))
