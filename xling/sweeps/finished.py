"""Checks whether all runs that a command asks for are finished."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xling.errors import XlingError
from xling.runs.directory import CONFIG_FILE, RunDirectory, read_settings
from xling.runs.planned_runs import run_key, study_folder
from xling.settings import RunSettings


def all_finished(wanted: Sequence[RunSettings]) -> bool:
    """Whether every run is complete, was made with these settings, and has every file as its manifest says."""
    runs = [RunDirectory(study_folder(settings) / run_key(settings).folder) for settings in wanted]
    return all(run.is_complete for run in runs) and all(map(_is_sound, runs, wanted))


def _is_sound(run: RunDirectory, settings: RunSettings) -> bool:
    try:
        run.check_settings(as_recorded(run.path, settings))
        run.read_manifest()
    except XlingError:  # the run's own job will report it
        return False
    return True


def as_recorded(run: Path, settings: RunSettings) -> RunSettings:
    """Replace settings that mean "what this machine has" by what the run in the folder `run` has recorded for them."""
    if not (run / CONFIG_FILE).is_file():
        return settings
    changes: dict[str, dict[str, Any]] = {}
    recorded = read_settings(run)
    if settings.trainer.precision == "auto":
        changes["trainer"] = {"precision": recorded.trainer.precision}
    if settings.model.weights == "auto":
        changes["model"] = {"weights": recorded.model.weights}
    return settings.changed(**changes, target_languages=settings.target_languages or recorded.target_languages)
