"""Which runs a study is to have: the list that its sweeps keep in its folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from xling.errors import CorruptArtefactError
from xling.settings import RunSettings
from xling.storage.atomic import read_json, write_json

PLAN_FILE = "plan.json"


class RunKey(NamedTuple):
    """Which run of a study; below the study's folder it lives in ``source_language/strategy/seed_<seed>``."""

    source_language: str
    strategy: str
    seed: int

    @property
    def folder(self) -> str:
        """Path below the study's folder."""
        return f"{self.source_language}/{self.strategy}/seed_{self.seed}"


def record_plan(folder: Path, runs: Iterable[RunKey]) -> None:
    """Add `runs` to the ``plan.json`` of the study in `folder`; two sweeps of one study may start at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{PLAN_FILE}.lock"):
        known = read_plan(folder)
        if not known.issuperset(runs):
            write_json(folder / PLAN_FILE, {"runs": [key._asdict() for key in sorted(known.union(runs))]})


def read_plan(folder: Path) -> set[RunKey]:
    """Runs that sweeps over the study in `folder` asked for; empty where none did.

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


def study_folder(settings: RunSettings) -> Path:
    """The folder of a run's study."""
    return settings.output_dir / settings.study


def run_key(settings: RunSettings) -> RunKey:
    """Which run of its study the settings describe."""
    return RunKey(settings.source_language, settings.freeze.name, settings.seed)


def identity_of(settings: RunSettings) -> dict[str, Any]:
    """The columns that every table of a run begins with: study, source_language, strategy and seed."""
    return {"study": settings.study, **run_key(settings)._asdict()}
