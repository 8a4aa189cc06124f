"""What lies in the cache, what it belongs to, and what may go: the command ``xling-cache``."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from xling.errors import MissingFileError, XlingError, XlingValueError
from xling.storage.atomic import TEMPORARY_PREFIX, read_json
from xling.storage.cache_marks import ABOUT_FILE, MARK, claim, is_in_use, last_use

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
        path: its folder or file.
        about: what it belongs to, in words.
        n_bytes: size on disk.
        idle_days: days since its last use.
        is_in_use: a live process may still read it.
        studies: studies whose runs use it, of those that were looked at.
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
        cache_dir: the cache.
        studies: entry -> studies that use it, see :func:`xling.runs.cache_users.find_users`.

    Raises:
        MissingFileError: there is no such folder.
    """
    if not cache_dir.is_dir():
        raise MissingFileError(f"expected a cache folder at {cache_dir}, found none; set --cache-dir or XLING_CACHE")
    found = []
    for kind in KINDS:
        entries = [_entry(kind, path, (studies or {}).get(path, set())) for path in _paths(cache_dir, kind)]
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
    """Choose what to remove: entries that meet every condition that is given; none that is in use.

    Args:
        entries: from :func:`list_entries`.
        kinds: only these kinds; empty: all but ``fetched``, which cannot be made again without internet.
        older_than: only what was not used for so many days.
        unused: only what no study that was looked at uses.

    Raises:
        XlingValueError: no condition, which would mean everything.
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
    """Remove an entry unless a process has begun to use it; a process that dies here leaves nothing half there."""
    with claim(entry.path) as is_ours:
        if is_ours and entry.path.exists():
            trash = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=entry.path.parent))
            os.rename(entry.path, trash / entry.path.name)
            shutil.rmtree(trash)
            entry.path.with_name(entry.path.name + ".lock").unlink(missing_ok=True)
    return is_ours


def _table(title: str, entries: Iterable[Entry], *, has_studies: bool) -> Table:
    users = ["studies"] if has_studies else []
    table = Table("kind", "belongs to", "size", "last used", *users, "folder", title=title, title_justify="left")
    for entry in entries:
        used = "in use" if entry.is_in_use else f"{entry.idle_days:.0f} days ago"
        of = [", ".join(entry.studies) or "none"] if has_studies else []
        folder = f"{entry.path.parent.name}/{entry.path.name[:28]}"
        table.add_row(entry.kind, entry.about, _megabytes(entry.n_bytes), used, *of, folder)
    return table


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"


def _totals(entries: list[Entry]) -> list[str]:
    lines = []
    for kind, meaning in KINDS.items():
        sizes = [entry.n_bytes for entry in entries if entry.kind == kind]
        if sizes:
            lines.append(f"{kind}: {_megabytes(sum(sizes))} in {len(sizes)} ({meaning})")
    return [*lines, f"all: {_megabytes(sum(entry.n_bytes for entry in entries))}"]


def _prune(entries: list[Entry], options: argparse.Namespace, console: Console) -> None:
    chosen = choose_entries(entries, options.kind, options.older_than, options.unused)
    console.print(_table("to remove", chosen, has_studies=options.runs is not None))
    total = _megabytes(sum(entry.n_bytes for entry in chosen))
    if not options.yes:
        console.print(f"would free {total}; nothing was removed: add --yes")
        return
    kept = [entry for entry in chosen if not remove_entry(entry)]
    for entry in kept:
        console.print(f"kept {entry.path}: a process has begun to use it")
    console.print(f"freed {_megabytes(sum(entry.n_bytes for entry in chosen if entry not in kept))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xling-cache", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    size = commands.add_parser("size", help="list what is there")
    prune = commands.add_parser("prune", help="list what would go; with --yes remove it")
    for command in (size, prune):
        default = Path(os.environ.get("XLING_CACHE", "~/.cache/xling"))
        command.add_argument("--cache-dir", type=Path, default=default, help="default: XLING_CACHE or ~/.cache/xling")
        command.add_argument("--runs", type=Path, help="folder of studies: show which of them uses what")
    prune.add_argument("--kind", action="append", default=[], choices=KINDS, help="only this kind; may be repeated")
    prune.add_argument("--older-than", type=float, metavar="DAYS", help="only what was not used for so long")
    prune.add_argument("--unused", action="store_true", help="only what no run below --runs uses")
    prune.add_argument("--yes", action="store_true", help="remove it")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    console = Console(soft_wrap=True)
    try:
        cache_dir = options.cache_dir.expanduser().absolute()
        entries = list_entries(cache_dir, _users(options, cache_dir))
        if options.command == "prune":
            _prune(entries, options, console)
        else:
            console.print(_table(str(cache_dir), entries, has_studies=options.runs is not None))
            console.print("\n".join(_totals(entries)), highlight=False)
    except XlingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _users(options: argparse.Namespace, cache_dir: Path) -> dict[Path, set[str]] | None:
    if options.runs is None:
        if getattr(options, "unused", False):
            raise XlingValueError("--unused asks for studies to look at, got none; give --runs FOLDER")
        return None
    from xling.runs.cache_users import find_users  # imports torch

    return find_users(options.runs, cache_dir)


if __name__ == "__main__":
    sys.exit(main())
