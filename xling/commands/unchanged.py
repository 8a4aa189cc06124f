"""Finds out whether an analysis would give what its folder already holds, by one key over everything that it is made from.

Where not everything can be told cheaply (code of others, distances measured on probe sets), there is no key, and the analysis runs.
"""

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xling
from xling.errors import XlingError
from xling.machine.description import code_commit
from xling.runs.directory import MANIFEST_FILE
from xling.runs.finding import find_runs
from xling.storage.atomic import read_json, write_json
from xling.storage.hashing import content_key, file_sha256

RECORD_FILE = ".analysis.json"
"""File in the folder of an analysis that holds its key, and a hash of every file that it wrote."""

_PACKAGES = ("numpy", "pandas", "pyarrow", "scipy", "matplotlib", "jinja2", "lang2vec", "urielplus")
_OWN_DISTANCES = ("xling.distances.compute_distances", "xling.distances.load_distances")
_OWN_SOURCES = ("repaired", "individual", "average", "knn", "paper", "urielplus")
"""Those of :data:`xling.distances.SOURCES`, without importing all that computes them."""
_NOT_CONTENT = ("output_dir", "anew", "workers")
_GROUPS = "xling."


def analysis_key(settings: Mapping[str, Any]) -> str | None:
    """Compute the key of what an analysis with these settings is made from; None where that cannot be told.

    Args:
        settings: resolved settings of ``conf/analyze.yaml``. Files that they name count by their content. Runs count by their
            manifests, which hold the hash of every file of a run, and by size and time of those files.
    """
    commit = code_commit()
    if commit.endswith("-dirty") or not _is_all_ours(settings):
        return None
    kept = {name: value for name, value in settings.items() if name not in _NOT_CONTENT}
    try:
        contents = [_content_of(path) for path in _paths_in(kept)]
    except (OSError, XlingError, KeyError, TypeError):
        return None  # the analysis itself will report it
    versions = {name: _version(name) for name in _PACKAGES}
    return content_key(kept, contents, xling.__version__, commit, versions, _own_names(), length=64)


def _is_all_ours(settings: Mapping[str, Any]) -> bool:
    """Whether the settings name only code of this package; what installed packages add counts by their version."""
    distances = settings.get("distances") or {}
    further = set(settings.get("specification_distances") or ()) - set(_OWN_SOURCES)
    tables = [str(given) for given in (settings.get("more_distances") or {}).values()]
    further |= {
        given for given in tables if given.startswith("registered:") and given.removeprefix("registered:") != "script"
    }
    return distances.get("_target_") in _OWN_DISTANCES and not further and not settings.get("sections")


def _paths_in(value: Any) -> Iterator[Path]:
    """Yield every text in the settings that is the name of something on disk."""
    if isinstance(value, Mapping):
        value = [*value.values()]
    if isinstance(value, list):
        for entry in value:
            yield from _paths_in(entry)
    elif isinstance(value, str) and value and (path := Path(value)).exists():
        yield path


def _content_of(path: Path) -> list[Any]:
    if path.is_file():
        return [str(path), file_sha256(path)]
    runs, unreadable = find_runs(path)
    return [str(path), [_content_of_run(run) for run in runs], unreadable]


def _content_of_run(run: Path) -> list[Any]:
    manifest = run / MANIFEST_FILE
    if not manifest.is_file():
        return [str(run), "not complete"]
    files = read_json(manifest)["files"]
    return [str(run), file_sha256(manifest), [[name, *_size_and_time(run / name)] for name in sorted(files)]]


def _size_and_time(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _own_names() -> list[list[str]]:
    """List what installed packages add to this package's registries, with the packages' versions."""
    return sorted(
        [point.group, point.name, point.value, distribution.version]
        for distribution in importlib.metadata.distributions()
        for point in distribution.entry_points
        if point.group.startswith(_GROUPS)
    )


def record_analysis(folder: Path, key: str) -> None:
    """Record what the files in `folder` were made from; call this once all of them are there."""
    files = {name: file_sha256(folder / name) for name in _files_in(folder)}
    write_json(folder / RECORD_FILE, {"key": key, "files": files})


def is_unchanged(folder: Path, key: str) -> bool:
    """Whether `folder` holds an analysis of this key, every file as it was written."""
    try:
        record = read_json(folder / RECORD_FILE)
        return record["key"] == key and all(
            file_sha256(folder / name) == digest for name, digest in record["files"].items()
        )
    except (OSError, XlingError, TypeError, KeyError, AttributeError):
        return False  # there is no analysis, or a part of it is missing


def _files_in(folder: Path) -> list[str]:
    found = (Path(where) / name for where, _, names in os.walk(folder) for name in names)
    return sorted(str(path.relative_to(folder)) for path in found)
