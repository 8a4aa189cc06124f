"""Shows a progress bar with the time left, on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

Job = TypeVar("Job")


def track(jobs: Sequence[Job], what: str) -> Iterable[Job]:
    """Yield jobs one by one; on a terminal show how many are done and the time left, and remove the bar at the end.

    Args:
        jobs: the jobs, of any kind.
        what: words before the bar.
    """
    console = Console(stderr=True)
    return rich_track(jobs, what, console=console, transient=True, disable=not sys.stderr.isatty())


def track_results(results: Iterable[Job], n: int, what: str) -> Iterable[Job]:
    """Pass on `n` results as they come, with the bar of :func:`track`."""
    console = Console(stderr=True)
    return rich_track(results, what, total=n, console=console, transient=True, disable=not sys.stderr.isatty())
