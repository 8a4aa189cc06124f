"""Writes what an analysis leaves on disk: figures (PNG, PDF), tables (CSV, LaTeX) and the page that holds them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from xling.analysis.questions.comparison import TABLES as OF_COMPARISONS
from xling.analysis.schema import TABLES as TABLE_NAMES
from xling.analysis.schema import Analysis
from xling.machine.parallel_jobs import map_in_processes
from xling.machine.plain_text import without_formulas
from xling.machine.progress import track_results
from xling.report.figures import style
from xling.report.latex import save_latex
from xling.report.page import TITLE, render_page
from xling.report.section import Absent, Picture, Section
from xling.storage.atomic import write_text
from xling.storage.figure_files import FigureFile, write_figure

PAGE_FILE = "report.html"
FIGURES = "figures"
TABLES = "tables"

FIGURES_EACH = 3
"""Number of figures for which a further process is worth its start, which takes half as long as a figure, and 120 MB."""


def save_figure(figure: Figure, directory: Path, name: str) -> str:
    """Write ``name.png`` and ``name.pdf`` and return the figure as SVG text, see :func:`xling.storage.figure_files.write_figure`.

    Args:
        figure: the figure.
        directory: folder of the files, which is made where needed.
        name: file name without ending.
    """
    return write_figure(FigureFile(figure, directory, name, _look()))


def save_figures(pictures: Sequence[Picture], directory: Path, workers: int | None = None) -> dict[str, str]:
    """Write every figure as :func:`save_figure` does, several at a time where there are many.

    Args:
        pictures: the figures with their file names.
        directory: folder of the files, which is made where needed.
        workers: number of processes that draw; None: as many as processors. The files are the same, byte for byte.

    Returns:
        Name -> the figure as SVG text.
    """
    look = _look()
    jobs = [FigureFile(picture.figure, directory, picture.name, look) for picture in pictures]
    drawings = map_in_processes(write_figure, jobs, workers, FIGURES_EACH)
    return dict(zip((job.name for job in jobs), track_results(drawings, len(jobs), "Figures"), strict=True))


def _look() -> dict[str, Any]:
    """Give all settings of matplotlib but those that choose a window system, which nothing here needs."""
    kept = {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if not name.startswith("backend")}
    return kept | style.RC


def save_table(table: pd.DataFrame, directory: Path, name: str) -> None:
    """Write ``name.csv`` with all digits."""
    write_text(directory / f"{name}.csv", without_formulas(table).to_csv(index=False))


def write_page(
    analysis: Analysis,
    parts: Sequence[Section | Absent],
    output_dir: Path | str,
    findings: list[tuple[str, str]],
    title: str = TITLE,
    workers: int | None = None,
) -> Path:
    """Write tables, figures and the page that holds `parts`.

    Args:
        analysis: tables, warnings and facts.
        parts: sections in order, among them those that cannot be written.
        output_dir: folder of the files, see :func:`write_report`.
        findings: pairs (topic, line) at the top of the page.
        title: heading of the page, unless the facts of the analysis have one.
        workers: see :func:`save_figures`.
    """
    output_dir = Path(output_dir)
    _remove_absent(analysis, output_dir / TABLES)
    for name, table in analysis.tables.items():
        save_table(table, output_dir / TABLES, name)
    sections, absent = split_parts(parts)
    save_latex(sections, output_dir / TABLES)
    pictures = [picture for section in sections for picture in section.pictures]
    drawings = save_figures(pictures, output_dir / FIGURES, workers)
    page = output_dir / PAGE_FILE
    write_text(page, render_page(analysis, sections, absent, drawings, findings, title))
    return page


def _remove_absent(analysis: Analysis, folder: Path) -> None:
    """Delete tables of an earlier analysis that this one lacks, since they would be taken for tables of this one."""
    names = {*TABLE_NAMES, *OF_COMPARISONS}
    for name in names - set(analysis.tables):
        (folder / f"{name}.csv").unlink(missing_ok=True)
    for path in folder.glob("*.tex"):  # one or more of a table, all written anew
        if any(path.stem == name or path.stem.startswith(f"{name}_") for name in names):
            path.unlink()


def split_parts(parts: Sequence[Section | Absent]) -> tuple[list[Section], list[Absent]]:
    """Separate the sections that were written from those that could not be."""
    return [part for part in parts if isinstance(part, Section)], [part for part in parts if isinstance(part, Absent)]
