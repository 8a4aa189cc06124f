"""Names the runs of a study, and keeps the list of those that its sweeps have asked for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from xling.errors import CorruptArtefactError
from xling.runs.folder_names import check_folder_name
from xling.settings import RunSettings
from xling.storage.atomic import read_json, write_json
from xling.storage.locks import waiting_lock

PLAN_FILE = "plan.json"


class RunKey(NamedTuple):
    """Identifies a run within its study, in whose folder it is ``source_language/strategy/seed_<seed>``."""

    source_language: str
    strategy: str
    seed: int

    @property
    def folder(self) -> str:
        """Path below the study's folder."""
        return f"{self.source_language}/{self.strategy}/seed_{self.seed}"


def record_plan(folder: Path, runs: Iterable[RunKey]) -> None:
    """Add `runs` to the ``plan.json`` of the study in `folder`, under a lock, since two sweeps of a study may start at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with waiting_lock(folder / f".{PLAN_FILE}.lock"):
        known = read_plan(folder)
        if not known.issuperset(runs):
            write_json(folder / PLAN_FILE, {"runs": [key._asdict() for key in sorted(known.union(runs))]})


def read_plan(folder: Path) -> set[RunKey]:
    """Read which runs the sweeps of the study in `folder` have asked for; empty where there was none.

    Raises:
        CorruptArtefactError: the file is not what :func:`record_plan` writes.
    """
    path = folder / PLAN_FILE
    if not path.is_file():
        return set()
    try:
        return {RunKey(**run) for run in read_json(path)["runs"]}
    except (TypeError, KeyError) as error:
        raise CorruptArtefactError(f"{path} is not a list of runs; delete it, the next sweep writes it anew") from error


def check_names(settings: RunSettings) -> None:
    """Refuse names of study, source language or strategy that would put a run elsewhere than below output_dir.

    Raises:
        XlingValueError: see :func:`xling.runs.folder_names.check_folder_name`.
    """
    check_folder_name(settings.study, "study")
    check_folder_name(settings.source_language, "source_language")
    check_folder_name(run_key(settings).strategy, "the strategy's name")
    check_folder_name(settings.model.name, "model.name")
    for language in settings.target_languages:
        check_folder_name(language, "target_languages")


def study_folder(settings: RunSettings) -> Path:
    """Give the folder of a run's study.

    Raises:
        XlingValueError: a name would lead out of ``output_dir``.
    """
    check_names(settings)
    return settings.output_dir / settings.study


def run_key(settings: RunSettings) -> RunKey:
    """Say which run of its study the settings describe."""
    strategy = settings.intervention.strategy(settings.freeze.name)
    return RunKey(settings.source_language, strategy, settings.seed)


def identity_of(settings: RunSettings) -> dict[str, Any]:
    """Give the columns that every table of a run begins with: study, source_language, strategy and seed.

    Raises:
        XlingValueError: a name would lead out of ``output_dir``.
    """
    check_names(settings)
    return {"study": settings.study, **run_key(settings)._asdict()}
