"""Writing a whole report: figures, tables and the page."""

from collections.abc import Callable
from pathlib import Path

from xling.analysis.schema import Analysis
from xling.report.save import _split, write_page
from xling.report.section import Absent, Section
from xling.report.sections import (
    alignment,
    associations,
    choice,
    coverage,
    freezing,
    joint,
    measured,
    mediation,
    reliability,
    specifications,
    study,
)
from xling.report.sections.findings import list_findings

SECTIONS: tuple[Callable[[Analysis], Section | Absent], ...] = (
    study.run_section,
    measured.transfer_section,
    measured.impact_section,
    alignment.alignment_section,
    associations.impact_distance_section,
    associations.impact_transfer_section,
    associations.transfer_distance_section,
    joint.joint_section,
    specifications.specifications_section,
    reliability.reliability_section,
    mediation.mediation_section,
    choice.ranking_section,
    choice.source_choice_section,
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


def build_sections(analysis: Analysis) -> tuple[list[Section], list[Absent]]:
    """Write and draw every section that the analysis allows, without saving anything.

    Returns:
        The sections in order, and those that cannot be written with the reason.
    """
    return _split([build(analysis) for build in SECTIONS])
