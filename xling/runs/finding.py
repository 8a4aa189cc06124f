"""Finds the runs below a folder, each once, and what could not be read on the way."""

import os
from collections.abc import Iterator
from pathlib import Path

from xling.runs.directory import CONFIG_FILE, MANIFEST_FILE
from xling.storage.atomic import TEMPORARY_PREFIX


def find_runs(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Find every directory below `folder`, itself included, that holds a run, complete or not.

    Links to folders are followed, since the sources of one study may lie on several disks. A run that is reached in two ways is
    given once.

    Returns:
        The directories, sorted, and (path, reason) of what could not be read.
    """
    unreadable: list[tuple[str, str]] = []
    return sorted(_walk(folder, set(), unreadable)), unreadable


def _walk(folder: Path, seen: set[str], unreadable: list[tuple[str, str]]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        unreadable.append((str(folder), f"cannot be read ({error.strerror})"))
        return
    if {CONFIG_FILE, MANIFEST_FILE} & {entry.name for entry in entries}:
        yield folder
        return
    for entry in entries:
        path = folder / entry.name
        if entry.is_symlink() and not path.exists():
            unreadable.append((str(path), f"a link to {os.readlink(path)}, which is not there"))
        elif path.is_dir() and not entry.name.startswith(TEMPORARY_PREFIX):
            yield from _walk(path, seen, unreadable)
