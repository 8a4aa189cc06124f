"""Bars are shown where somebody watches, and nowhere else."""

import io
import sys

import pytest

from xling.machine.progress import track, track_results


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("watched", [True, False])
def test_jobs_and_results_pass_with_a_bar_on_a_terminal_alone(watched, monkeypatch):
    stream = Terminal() if watched else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    assert list(track([3, 1, 2], "Jobs")) == [3, 1, 2]
    assert list(track_results((n * n for n in (3, 1, 2)), 3, "Results")) == [9, 1, 4]
    shown = stream.getvalue()
    assert ("Jobs" in shown, "Results" in shown) == (watched, watched)
    assert ("100%" in shown) == watched
