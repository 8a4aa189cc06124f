"""Writing a whole report: figures, tables and the page."""

from collections.abc import Callable, Sequence
from pathlib import Path

from xling.analysis.questions.comparison import TABLES as OF_COMPARISONS
from xling.analysis.schema import TABLES as TABLE_NAMES
from xling.analysis.schema import Analysis
from xling.report.page import TITLE, render_page
from xling.report.save import save_figure, save_table
from xling.report.section import Absent, Section
from xling.report.sections import alignment, associations, choice, coverage, freezing, measured, mediation, study
from xling.report.sections.findings import list_findings
from xling.storage.atomic import write_text

PAGE_FILE = "report.html"
FIGURES = "figures"
TABLES = "tables"

SECTIONS: tuple[Callable[[Analysis], Section | Absent], ...] = (
    study.run_section,
    measured.transfer_section,
    measured.impact_section,
    alignment.alignment_section,
    associations.impact_distance_section,
    associations.impact_transfer_section,
    associations.transfer_distance_section,
    mediation.mediation_section,
    choice.ranking_section,
    choice.held_out_section,
    freezing.freezing_section,
    choice.views_section,
    associations.paper_section,
    coverage.coverage_section,
    study.methods_section,
)
"""The page from top to bottom."""


def write_report(analysis: Analysis, output_dir: Path | str) -> Path:
    """Write ``report.html``, every figure as PNG and PDF, and every table as CSV and LaTeX.

    The same analysis gives the same page byte for byte (with the same version of matplotlib). A section whose table is
    absent or empty is named on the page with the reason instead of being drawn.

    Args:
        analysis: tables, warnings and facts.
        output_dir: folder; receives ``report.html``, ``figures/`` and ``tables/``.

    Returns:
        Path of the page; it holds its figures inside and needs no other file.
    """
    return write_page(analysis, [build(analysis) for build in SECTIONS], output_dir, list_findings(analysis))


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
        parts: sections in order, and those that cannot be written.
        output_dir: folder, see :func:`write_report`.
        findings: (topic, line) at the top of the page.
        title: its heading, unless the facts of the analysis have one.
    """
    output_dir = Path(output_dir)
    _remove_absent(analysis, output_dir / TABLES)
    for name, table in analysis.tables.items():
        save_table(table, output_dir / TABLES, name)
    sections, absent = _split(parts)
    drawings = {
        picture.name: save_figure(picture.figure, output_dir / FIGURES, picture.name)
        for section in sections
        for picture in section.pictures
    }
    page = output_dir / PAGE_FILE
    write_text(page, render_page(analysis, sections, absent, drawings, findings, title))
    return page


def _remove_absent(analysis: Analysis, folder: Path) -> None:
    """Delete tables of an earlier analysis that this one lacks: they would be taken for its own."""
    for name in {*TABLE_NAMES, *OF_COMPARISONS} - set(analysis.tables):
        for ending in ("csv", "tex"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)


def build_sections(analysis: Analysis) -> tuple[list[Section], list[Absent]]:
    """Write and draw every section that the analysis allows, without saving anything.

    Returns:
        The sections in order, and those that cannot be written with the reason.
    """
    return _split([build(analysis) for build in SECTIONS])


def _split(parts: Sequence[Section | Absent]) -> tuple[list[Section], list[Absent]]:
    return [part for part in parts if isinstance(part, Section)], [part for part in parts if isinstance(part, Absent)]
