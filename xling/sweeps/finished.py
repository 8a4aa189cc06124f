"""Whether there is anything left to do of what a command asks for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xling.errors import XlingError
from xling.runs.directory import CONFIG_FILE, RunDirectory, read_settings
from xling.runs.plan import run_key, study_folder
from xling.settings import RunSettings


def all_finished(wanted: Sequence[RunSettings]) -> bool:
    """Whether every run is complete as it would be met: of these settings, every file as its manifest has it."""
    runs = [RunDirectory(study_folder(settings) / run_key(settings).folder) for settings in wanted]
    return all(run.is_complete for run in runs) and all(map(_is_sound, runs, wanted))


def _is_sound(run: RunDirectory, settings: RunSettings) -> bool:
    try:
        run.check_settings(as_recorded(run.path, settings))
        run.read_manifest()
    except XlingError:  # the job says it
        return False
    return True


def as_recorded(run: Path, settings: RunSettings) -> RunSettings:
    """Take what was recorded for settings that mean "what this machine has"."""
    if not (run / CONFIG_FILE).is_file():
        return settings
    changes: dict[str, dict[str, Any]] = {}
    recorded = read_settings(run)
    if settings.trainer.precision == "auto":
        changes["trainer"] = {"precision": recorded.trainer.precision}
    if settings.model.weights == "auto":
        changes["model"] = {"weights": recorded.model.weights}
    return settings.changed(**changes, target_languages=settings.target_languages or recorded.target_languages)
