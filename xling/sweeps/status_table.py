"""A study's runs as one table for people: a row per source and strategy, a column per seed."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from xling.machine.plain_text import printable

if TYPE_CHECKING:
    from xling.runs.status import RunStatus

_STYLES = {"done": "green", "running": "cyan", "failed": "bold red", "interrupted": "yellow", "to do": "yellow"}


def run_table(title: str, runs: Sequence["RunStatus"]) -> Table:
    """Lay out the runs of a study; a cell without a run is blank."""
    seeds = sorted({run.seed for run in runs})
    title, headings = _plain(title), [f"seed {seed}" for seed in seeds]
    table = Table("source", "strategy", *headings, title=title, title_justify="left")
    cells = {(run.source_language, run.strategy, run.seed): phrase_cell(run) for run in runs}
    for source, strategy in dict.fromkeys((run.source_language, run.strategy) for run in runs):
        table.add_row(_plain(source), _plain(strategy), *(cells.get((source, strategy, seed), "") for seed in seeds))
    return table


def _plain(text: str) -> str:
    """Text of unknown origin, without rich's markup and escape sequences."""
    return escape(printable(text))


def phrase_cell(run: "RunStatus") -> str:
    """State, epochs done and time left of one run, with rich's markup."""
    details = []
    if run.epoch is not None and run.state != "done":
        details.append(f"epoch {run.epoch:.1f}")
    if run.seconds_left is not None:
        details.append(f"{phrase_duration(run.seconds_left)} left")
    style = _STYLES.get(run.state, "dim")
    return f"[{style}]{run.state}[/{style}]{' ' if details else ''}{', '.join(details)}"


def phrase_counts(runs: Sequence["RunStatus"]) -> str:
    """Count the states in words, the most frequent first."""
    counts = Counter(run.state for run in runs)
    return f"{len(runs)} runs: " + ", ".join(f"{n} {state}" for state, n in counts.most_common())


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
