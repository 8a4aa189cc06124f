"""Lists what the cache holds, chooses what of it may be removed, and removes it."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xling.errors import MissingFileError, XlingError, XlingValueError
from xling.storage.atomic import TEMPORARY_PREFIX, read_json
from xling.storage.cache_marks import ABOUT_FILE, MARK, exclusive_use, is_in_use, last_use

KINDS = {
    "models": "weights decoded from a package",
    "tokenised": "tokenised data",
    "base": "base representations",
    "prefix": "stored output of frozen layers (cache_frozen=true)",
    "fetched": "what xling-fetch put there for machines without internet",
    "incomplete": "left behind by a process that died while writing",
}
_DAY = 86400.0


@dataclass(frozen=True)
class Entry:
    """One thing in the cache that is made, used and removed as a whole.

    Attributes:
        kind: key of ``KINDS``.
        path: folder or file of the entry.
        about: words that say what it belongs to.
        n_bytes: size on disk, in bytes.
        idle_days: days since its last use.
        is_in_use: whether a live process may still read it.
        studies: studies whose runs use it, of those that were searched.
    """

    kind: str
    path: Path
    about: str
    n_bytes: int
    idle_days: float
    is_in_use: bool
    studies: tuple[str, ...] = ()


def list_entries(cache_dir: Path, studies: dict[Path, set[str]] | None = None) -> list[Entry]:
    """List everything in the cache, by kind, the largest first.

    Args:
        cache_dir: folder of the cache.
        studies: entry -> studies that use it, see :func:`xling.runs.cache_users.find_users`.

    Raises:
        MissingFileError: there is no such folder.
    """
    if not cache_dir.is_dir():
        raise MissingFileError(f"expected a cache folder at {cache_dir}, found none; set --cache-dir or XLING_CACHE")
    found = []
    for kind in KINDS:
        entries = []
        for path in _paths(cache_dir, kind):
            with suppress(FileNotFoundError):  # another process is pruning it at this moment
                entries.append(_entry(kind, path, (studies or {}).get(path, set())))
        found += sorted(entries, key=lambda entry: -entry.n_bytes)
    return found


def _paths(cache_dir: Path, kind: str) -> list[Path]:
    if kind == "incomplete":
        return sorted(path for path in cache_dir.rglob(f"{TEMPORARY_PREFIX}*") if path.is_dir())
    below = (cache_dir / kind).glob("*/*" if kind == "fetched" else "*")
    return sorted(path for path in below if not path.name.startswith(".") and path.suffix not in (".lock", MARK))


def _entry(kind: str, path: Path, studies: Iterable[str]) -> Entry:
    idle = max(0.0, (time.time() - last_use(path)) / _DAY)
    return Entry(kind, path, _describe(kind, path), _size(path), idle, is_in_use(path), tuple(sorted(studies)))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def _describe(kind: str, path: Path) -> str:
    try:
        if kind == "tokenised":
            facts = read_json(path / "facts.json")
            return f"{facts['name']}, {facts['n_examples']} examples"
        if kind == "base":
            about = read_json(path / ABOUT_FILE) if (path / ABOUT_FILE).is_file() else {}
            languages = sorted({file.name.split("-")[0] for file in path.glob("*.safetensors")})
            return ", ".join([*about.values(), " ".join(languages)])
    except (XlingError, KeyError, TypeError):
        return "damaged"
    return path.name


def choose_entries(
    entries: Iterable[Entry], kinds: Iterable[str] = (), older_than: float | None = None, unused: bool = False
) -> list[Entry]:
    """Choose the entries to remove: those that meet all given conditions and are not in use.

    Args:
        entries: entries of the cache, from :func:`list_entries`.
        kinds: kinds to remove; empty: all except ``fetched``, which cannot be made again without internet.
        older_than: days for which an entry must not have been used; None: no such condition.
        unused: whether to remove only entries that no study uses, of those that were searched.

    Raises:
        XlingValueError: no condition is given, which would mean everything.
    """
    kinds = list(kinds)
    if not kinds and older_than is None and not unused:
        raise XlingValueError(
            f"expected what to prune, got no condition; give --kind ({', '.join(KINDS)}), --older-than DAYS or --unused"
        )
    allowed = kinds or [kind for kind in KINDS if kind != "fetched"]
    return [
        entry
        for entry in entries
        if entry.kind in allowed
        and not entry.is_in_use
        and (older_than is None or entry.idle_days >= older_than)
        and not (unused and entry.studies)
        and not (entry.kind == "incomplete" and entry.idle_days < 1)  # somebody may be writing it
    ]


def remove_entry(entry: Entry) -> bool:
    """Remove an entry unless a process has begun to use it.

    The entry is renamed first, so that a process which dies here leaves no half of it under its own name.

    Returns:
        Whether the entry was removed.
    """
    with exclusive_use(entry.path) as is_ours:
        if is_ours and entry.path.exists():
            trash = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=entry.path.parent))
            os.rename(entry.path, trash / entry.path.name)
            shutil.rmtree(trash)
            entry.path.with_name(entry.path.name + ".lock").unlink(missing_ok=True)
    return is_ours
