"""The command ``xling-cache``, which shows what lies in the cache and what it belongs to, and removes what is not needed."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xling.commands.parser import command_parser
from xling.errors import XlingError, XlingValueError
from xling.machine.plain_text import printable
from xling.storage.cache import KINDS, Entry, choose_entries, list_entries, remove_entry


def _table(title: str, entries: Iterable[Entry], *, has_studies: bool) -> Table:
    users = ["studies"] if has_studies else []
    table = Table("kind", "belongs to", "size", "last used", *users, "folder", title=title, title_justify="left")
    for entry in entries:
        used = "in use" if entry.is_in_use else f"{entry.idle_days:.0f} days ago"
        of = [escape(printable(", ".join(entry.studies))) or "none"] if has_studies else []
        folder = f"{entry.path.parent.name}/{entry.path.name[:28]}"
        table.add_row(
            entry.kind, escape(printable(entry.about)), _megabytes(entry.n_bytes), used, *of, escape(printable(folder))
        )
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
        console.print(f"kept {printable(str(entry.path))}: a process has begun to use it", markup=False)
    console.print(f"freed {_megabytes(sum(entry.n_bytes for entry in chosen if entry not in kept))}")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "xling-cache",
        "What lies in the cache, what it belongs to, and what may go.",
        examples=["size", "size --runs runs", "prune --older-than 60 --yes", "prune --runs runs --unused --yes"],
    )
    commands = parser.add_subparsers(dest="command", required=True)
    size = commands.add_parser("size", help="list what is there")
    prune = commands.add_parser("prune", help="list what would go; with --yes remove it")
    for command in (size, prune):
        command.add_argument("--cache-dir", type=Path, help="default: XLING_CACHE or ~/.cache/xling")
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
        usual = Path(os.environ.get("XLING_CACHE", "~/.cache/xling"))
        cache_dir = (options.cache_dir or usual).expanduser().absolute()
        # a folder that the user named must exist; the usual one is only made by a first run
        if options.cache_dir is None and not cache_dir.exists():
            console.print(f"{cache_dir}: nothing yet; the first run makes it", markup=False, highlight=False)
            return 0
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
    from xling.runs.cache_users import find_users  # slower to import than the rest

    return find_users(options.runs, cache_dir)


if __name__ == "__main__":
    sys.exit(main())
