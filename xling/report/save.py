"""Writes what an analysis leaves on disk: figures (PNG, PDF), tables (CSV, LaTeX) and the page that holds them."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from xling.analysis.questions.comparison import TABLES as OF_COMPARISONS
from xling.analysis.schema import TABLES as TABLE_NAMES
from xling.analysis.schema import Analysis
from xling.machine.plain_text import without_formulas
from xling.machine.progress import track
from xling.report.figures import style
from xling.report.latex import save_latex
from xling.report.page import TITLE, render_page
from xling.report.section import Absent, Section
from xling.storage.atomic import atomic_path, write_text

PAGE_FILE = "report.html"
FIGURES = "figures"
TABLES = "tables"

DPI = 200


@style.styled
def save_figure(figure: Figure, directory: Path, name: str) -> str:
    """Write ``name.png`` (200 dpi) and ``name.pdf`` and return the figure as SVG text.

    The files hold no date: the same figure gives the same bytes with the same version of matplotlib.

    Args:
        figure: the figure.
        directory: folder of the files, which is made where needed.
        name: file name without ending.

    Returns:
        An SVG document whose letters are outlines, so that it looks the same on every machine.
    """
    style.freeze_layout(figure)
    with atomic_path(directory / f"{name}.pdf") as temporary:
        FigureCanvasPdf(figure).print_pdf(temporary, metadata={"CreationDate": None})
    text = io.StringIO()
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    figure.dpi = DPI
    with atomic_path(directory / f"{name}.png") as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
    return text.getvalue()


def save_table(table: pd.DataFrame, directory: Path, name: str) -> None:
    """Write ``name.csv`` with all digits."""
    write_text(directory / f"{name}.csv", without_formulas(table).to_csv(index=False))


def write_page(
    analysis: Analysis,
    parts: Sequence[Section | Absent],
    output_dir: Path | str,
    findings: list[tuple[str, str]],
    title: str = TITLE,
) -> Path:
    """Write tables, figures and the page that holds `parts`.

    Args:
        analysis: tables, warnings and facts.
        parts: sections in order, among them those that cannot be written.
        output_dir: folder of the files, see :func:`write_report`.
        findings: pairs (topic, line) at the top of the page.
        title: heading of the page, unless the facts of the analysis have one.
    """
    output_dir = Path(output_dir)
    _remove_absent(analysis, output_dir / TABLES)
    for name, table in analysis.tables.items():
        save_table(table, output_dir / TABLES, name)
    sections, absent = split_parts(parts)
    save_latex(sections, output_dir / TABLES)
    pictures = [picture for section in sections for picture in section.pictures]
    drawings = {
        picture.name: save_figure(picture.figure, output_dir / FIGURES, picture.name)
        for picture in track(pictures, "Figures")
    }
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
