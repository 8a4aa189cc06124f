"""Writes a whole report: figures, tables and the page."""

from collections.abc import Callable, Sequence
from pathlib import Path

from xling.analysis.schema import Analysis
from xling.machine.progress import track
from xling.registry import Registry
from xling.report.save import _split, write_page
from xling.report.section import Absent, Section
from xling.report.sections import (
    alignment,
    associations,
    choice,
    claims,
    concentration,
    coverage,
    freezing,
    gradients,
    interventions,
    joint,
    linear_probes,
    measures,
    mediation,
    reliability,
    specifications,
    study,
    trajectory,
    transfer_and_impact,
)
from xling.report.sections.findings import list_findings

Build = Callable[[Analysis], Section | Absent]

SECTIONS: Registry[Build] = Registry(
    "section of the report",
    "xling.sections",
    {
        "claims": claims.claims_section,
        "study": study.run_section,
        "transfer": transfer_and_impact.transfer_section,
        "impact": transfer_and_impact.impact_section,
        "concentration": concentration.concentration_section,
        "linear_probes": linear_probes.linear_probes_section,
        "alignment": alignment.alignment_section,
        "impact_distance": associations.impact_distance_section,
        "measures": measures.measures_section,
        "impact_transfer": associations.impact_transfer_section,
        "transfer_distance": associations.transfer_distance_section,
        "joint": joint.joint_section,
        "specifications": specifications.specifications_section,
        "reliability": reliability.reliability_section,
        "mediation": mediation.mediation_section,
        "ranking": choice.ranking_section,
        "source_choice": choice.source_choice_section,
        "held_out": choice.held_out_section,
        "freezing": freezing.freezing_section,
        "interventions": interventions.interventions_section,
        "gradients": gradients.gradients_section,
        "trajectory": trajectory.trajectory_section,
        "views": choice.views_section,
        "paper": associations.paper_section,
        "coverage": coverage.coverage_section,
        "methods": study.methods_section,
    },
)
"""The page from top to bottom; other packages add theirs as entry points of the group ``xling.sections``."""

LAST = ("coverage", "methods")
"""Sections that end the page, below the sections of other packages and those that are asked for by path."""


def choose_sections(further: Sequence[str | Build] = ()) -> list[Build]:
    """List the sections of the page: this package's, those of installed packages, then `further` by path or as functions.

    Raises:
        XlingValueError: a section does not exist.
    """
    names = [name for name in SECTIONS if name not in LAST]
    return [SECTIONS.find(entry) for entry in [*names, *further, *LAST]]


def write_report(
    analysis: Analysis,
    output_dir: Path | str,
    further_sections: Sequence[str | Build] = (),
    workers: int | None = None,
) -> Path:
    """Write ``report.html``, every figure as PNG and PDF, and every table as CSV and LaTeX.

    The same analysis gives the same page byte for byte (with the same version of matplotlib). A section whose table is
    absent or empty is named on the page with the reason instead of being drawn.

    Args:
        analysis: tables, warnings and facts.
        output_dir: folder that receives ``report.html``, ``figures/`` and ``tables/``.
        further_sections: sections of the user's own, see :func:`choose_sections`.
        workers: number of processes that draw many figures; None: as many as processors. The files do not depend on it.

    Returns:
        Path of the page. It holds its figures and needs no other file, except for tables of more than 1,000 rows, to which it
        links.
    """
    parts = [build(analysis) for build in track(choose_sections(further_sections), "Sections")]
    return write_page(analysis, parts, output_dir, list_findings(analysis), workers=workers)


def build_sections(analysis: Analysis) -> tuple[list[Section], list[Absent]]:
    """Write and draw every section that the analysis allows, without saving anything.

    Returns:
        The sections in order, and those that cannot be written with the reason.
    """
    return _split([build(analysis) for build in choose_sections()])
