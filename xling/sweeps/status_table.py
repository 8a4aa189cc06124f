"""Shows a study's runs as a table for people, with a row per source and strategy, and a column per seed as long as they fit."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xling.machine.plain_text import printable

if TYPE_CHECKING:
    from xling.runs.outlook import Outlook
    from xling.runs.status import RunStatus

_STYLES = {"done": "green", "running": "cyan", "failed": "bold red", "interrupted": "yellow", "to do": "yellow"}


def run_table(title: str, runs: Sequence["RunStatus"], width: int = 80) -> Table:
    """Lay out the runs of a study within `width` characters.

    There is a column per seed or, where these are too many, one column that counts the states of all seeds.
    """
    table = _table_by_seed(title, runs)
    measured = Console(width=10_000, color_system=None).measure(table)
    return table if measured.maximum <= width else _table_of_counts(title, runs)


def _table_by_seed(title: str, runs: Sequence["RunStatus"]) -> Table:
    """Lay out a column per seed; the cell of a run that is not asked for is blank."""
    seeds = sorted({run.seed for run in runs})
    table = _table(title, *(f"seed {seed}" for seed in seeds))
    cells = {(run.source_language, run.strategy, run.seed): phrase_cell(run) for run in runs}
    for source, strategy in dict.fromkeys((run.source_language, run.strategy) for run in runs):
        table.add_row(_plain(source), _plain(strategy), *(cells.get((source, strategy, seed), "") for seed in seeds))
    return table


def _table_of_counts(title: str, runs: Sequence["RunStatus"]) -> Table:
    table, rows = _table(title, "runs"), dict[tuple[str, str], list["RunStatus"]]()
    for run in runs:
        rows.setdefault((run.source_language, run.strategy), []).append(run)
    for (source, strategy), own in rows.items():
        counts = Counter(run.state for run in own)
        going = [f"seed {run.seed}: {phrase_cell(run)}" for run in own if run.state == "running"]
        cell = ", ".join(f"{n} {_styled(state)}" for state, n in counts.most_common())
        table.add_row(_plain(source), _plain(strategy), "\n".join([cell, *going]))
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=_plain(title), title_justify="left")
    for heading in ("source", "strategy", *headings):
        table.add_column(heading, overflow="fold")
    return table


def _plain(text: str) -> str:
    """Make text of unknown origin harmless: without rich's markup and escape sequences."""
    return escape(printable(text))


def phrase_cell(run: "RunStatus") -> str:
    """Phrase state, epochs done and time left of one run, with rich's markup."""
    details = []
    if run.epoch is not None and run.state != "done":
        details.append(f"epoch {run.epoch:.1f}")
    if run.seconds_left is not None:
        details.append(f"{phrase_duration(run.seconds_left)} left")
    return f"{_styled(run.state)}{' ' if details else ''}{', '.join(details)}"


def _styled(state: str) -> str:
    style = _STYLES.get(state, "dim")
    return f"[{style}]{state}[/{style}]"


def phrase_counts(runs: Sequence["RunStatus"]) -> str:
    """Count the states in words, the most frequent first."""
    counts = Counter(run.state for run in runs)
    return f"{len(runs)} runs: " + ", ".join(f"{n} {state}" for state, n in counts.most_common())


def phrase_total(runs: Sequence["RunStatus"], outlook: "Outlook") -> str:
    """Count the states in words, and say how long the rest will take."""
    counts = phrase_counts(runs)
    if not outlook.seconds_left:
        return counts
    at_a_time = f"{outlook.n_running} at a time" if outlook.n_running > 1 else "one at a time"
    return f"{counts}; about {phrase_duration(outlook.seconds_left)} left, {at_a_time}"


def phrase_duration(seconds: float) -> str:
    """Format a duration, rounded to the precision that a reader needs.

    >>> phrase_duration(42), phrase_duration(600), phrase_duration(9000), phrase_duration(400000)
    ('42 s', '10 min', '2.5 h', '4.6 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
