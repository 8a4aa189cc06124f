"""Figures are the same files whichever process draws them, and however many do."""

import matplotlib
import numpy as np
import pytest
from report_factory import analyse_made_up

from xling.errors import UnreachableError
from xling.machine import parallel_jobs
from xling.report import write_report
from xling.report.figures import style
from xling.report.save import FIGURES_EACH, save_figures
from xling.report.section import Picture
from xling.report.write import build_sections


@pytest.fixture(scope="module")
def analysis():
    languages = {"sources": ("en", "ru"), "targets": ("ar", "en", "hi", "ru", "sw")}
    return analyse_made_up(n_layers=2, strategies=("none", "bottom_2"), **languages)


def draw(analysis):
    return [picture for section in build_sections(analysis)[0] for picture in section.pictures]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def drawn_elsewhere(monkeypatch):
    """A list that fills with what other processes have drawn."""
    results = []

    def record(function, job, outcome, take=parallel_jobs._take):
        taken = take(function, job, outcome)
        results.append(taken) if outcome.exception() is None else None
        return taken

    monkeypatch.setattr(parallel_jobs, "_take", record)
    return results


def test_a_report_is_the_same_to_the_byte_however_many_processes_draw(analysis, tmp_path):
    for workers in (1, 3):
        write_report(analysis, tmp_path / str(workers), workers=workers)
    alone, together = contents(tmp_path / "1"), contents(tmp_path / "3")
    assert alone == together
    assert sum(name.endswith(".pdf") for name in alone) >= 3 * FIGURES_EACH


def test_every_figure_is_the_same_to_the_byte_from_another_process(analysis, tmp_path, drawn_elsewhere):
    alone = save_figures(draw(analysis), tmp_path / "alone", workers=1)
    assert drawn_elsewhere == []
    assert save_figures(draw(analysis), tmp_path / "together", workers=2) == alone
    assert drawn_elsewhere == list(alone.values())
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")


def test_settings_of_the_user_reach_other_processes(tmp_path, drawn_elsewhere):
    with matplotlib.rc_context({"path.simplify_threshold": 1.0, "axes.unicode_minus": False}):
        alone = save_figures(lines(), tmp_path / "alone", workers=1)
        together = save_figures(lines(), tmp_path / "together", workers=2)
    assert alone == together
    assert len(drawn_elsewhere) == 2 * FIGURES_EACH
    assert save_figures(lines(), tmp_path / "others", workers=1) != alone


def lines():
    pictures = []
    for number in range(2 * FIGURES_EACH):
        axes = style.new_axes(3, 2)
        axes.plot(np.random.default_rng(number).normal(size=5000))
        pictures.append(Picture(f"lines_{number}", axes.figure, "", ""))
    return pictures


def test_a_folder_that_cannot_be_written_is_the_same_error_from_another_process(tmp_path, drawn_elsewhere):
    (tmp_path / "figures").touch()
    messages = []
    for workers in (1, 2):
        with pytest.raises(UnreachableError, match="cannot write") as caught:
            save_figures(lines(), tmp_path / "figures" / "below", workers)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert drawn_elsewhere == []
