"""Finds which studies use what in the cache, from the records of their runs."""

from dataclasses import replace
from pathlib import Path

from xling.errors import MissingFileError
from xling.probing.base_place import base_folder
from xling.runs.directory import CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, read_settings
from xling.runs.finding import find_runs
from xling.settings import RunSettings
from xling.storage.atomic import read_json


def find_users(runs: Path, cache_dir: Path) -> dict[Path, set[str]]:
    """Map entries of the cache to the studies below `runs` that use them, complete or not.

    Args:
        runs: folder of one study or of several.
        cache_dir: absolute path of the cache.

    Raises:
        MissingFileError: `runs` is no folder.
    """
    if not runs.is_dir():
        raise MissingFileError(f"expected a folder of runs at {runs}, found none; give --runs FOLDER")
    users: dict[Path, set[str]] = {}
    for run in find_runs(runs)[0]:
        if all((run / name).is_file() for name in (CONFIG_FILE, ENVIRONMENT_FILE, DATA_FILE)):
            settings = read_settings(run)
            for entry in entries_of(settings, read_json(run / ENVIRONMENT_FILE), read_json(run / DATA_FILE), cache_dir):
                users.setdefault(entry, set()).add(settings.study)
    return users


def entries_of(settings: RunSettings, environment: dict, data: dict, cache_dir: Path) -> list[Path]:
    """List the cache entries of one run, from what its directory records."""
    model = environment["model"]
    base = base_folder(replace(settings, cache_dir=cache_dir), model["content_hash"])
    tokenised = [cache_dir / "tokenised" / facts["fingerprint"][:24] for facts in data.values()]
    return [base, *tokenised, cache_dir / "models" / model["revision"]]
