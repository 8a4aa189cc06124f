"""Finds what ``xling-fetch`` has put into a cache for machines without internet, before any hub is asked.

``<cache>/fetched/models/<hub id>@<revision asked for>/`` holds a checkpoint, ``<cache>/fetched/data/<key>/`` the examples of one
data source, a file per language and split. ``record.json`` beside the files has their sha256.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from xling.errors import CorruptArtefactError
from xling.moved import first_paths
from xling.storage.atomic import read_json, write_json
from xling.storage.cache_marks import mark_in_use
from xling.storage.hashing import content_key, file_sha256
from xling.storage.locks import waiting_lock

FOLDER = "fetched"
RECORD_FILE = "record.json"


def model_folder(cache_dir: Path, name: str, revision: str | None) -> Path:
    """Give the folder for the checkpoint of a hub id."""
    return cache_dir / FOLDER / "models" / f"{name.replace('/', '--')}@{revision or 'main'}"


def data_folder(cache_dir: Path, source: Mapping[str, Any]) -> Path:
    """Give the folder for the examples of a data source, which is named after the source's settings."""
    return cache_dir / FOLDER / "data" / content_key(first_paths(dict(source)))


def find_fetched_model(cache_dir: Path, name: str, revision: str | None) -> tuple[Path, str] | None:
    """Find the folder and the commit of a fetched checkpoint, and check its files; None where it was not fetched.

    Raises:
        CorruptArtefactError: a file is missing or has changed.
    """
    folder = model_folder(cache_dir, name, revision)
    if not folder.is_dir():
        return None
    mark_in_use(folder)
    check_files(folder)
    return folder, read_record(folder)["revision"]


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a folder: facts, and under ``files`` name -> sha256, which is empty where nothing was recorded yet."""
    return read_json(folder / RECORD_FILE) if (folder / RECORD_FILE).is_file() else {"files": {}}


def record_files(folder: Path, names: Iterable[str], facts: Mapping[str, Any]) -> None:
    """Add files of `folder` to its record."""
    digests = {name: file_sha256(folder / name) for name in sorted(names)}
    with waiting_lock(folder.with_name(f"{folder.name}.lock")):  # another xling-fetch may add to it at this moment
        record = read_record(folder)
        record["files"] |= digests
        write_json(folder / RECORD_FILE, record | dict(facts))


def check_files(folder: Path, names: Iterable[str] | None = None) -> None:
    """Hash files of `folder`, all that are recorded by default, once per process.

    Raises:
        CorruptArtefactError: a file is missing or has changed.
    """
    files = read_record(folder)["files"]
    for name in files if names is None else names:
        _check_file(folder / name, files[name])


@functools.cache
def _check_file(path: Path, digest: str) -> None:
    if not path.is_file() or file_sha256(path) != digest:
        raise CorruptArtefactError(
            f"{path} is missing or has changed since it was fetched; delete {path.parent} and fetch it again"
        )


class FetchedFirst:
    """An example source that gives the fetched examples of another source, and asks that source for those not fetched.

    Args:
        source: the other source.
        folder: folder of its fetched examples, from :func:`data_folder`.
    """

    def __init__(self, source: Any, folder: Path) -> None:
        self.source, self.folder = source, folder

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Give the examples of one language and split, see :data:`xling.data.protocols.ExampleSource`."""
        name = f"{split}.{language}.parquet"
        if name not in read_record(self.folder)["files"]:
            return self.source(language, split)
        mark_in_use(self.folder)
        check_files(self.folder, [name])
        return pd.read_parquet(self.folder / name)
