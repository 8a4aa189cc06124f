"""Puts sections, drawings and tables into one HTML page that needs no other file."""

from collections.abc import Callable
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from xling.analysis.schema import Analysis
from xling.report.explorer import as_json, explorer_data
from xling.report.latex import name_sheets
from xling.report.section import Absent, Section, Sheet
from xling.report.sections.findings import explain_findings, list_findings
from xling.report.svg import data_uri
from xling.report.words import describe
from xling.report.words.cells import column_classes, heading, table_rows
from xling.report.words.references import REFERENCES

TITLE = "Cross-lingual transfer: impact, transfer and distance"
CSS_PIXELS_PER_INCH = 96
SCRIPTS = ("report.js", "explorer.js")


def render_page(
    analysis: Analysis,
    sections: list[Section],
    absent: list[Absent],
    drawings: dict[str, str],
    findings: list[tuple[str, str]] | None = None,
    title: str = TITLE,
) -> str:
    """Render the page.

    Args:
        analysis: analysis that gives warnings, findings and the title.
        sections: sections of the page, in order.
        absent: sections that could not be written, with the reasons.
        drawings: SVG text of every picture, by name.
        findings: pairs (topic, line) at the top of the page; None: the findings of one study's analysis.
        title: heading, unless the facts of the analysis have one.

    Returns:
        An HTML document.
    """
    folder = files("xling.report") / "files"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "data_uri": data_uri,
        "heading": heading,
        "classes": column_classes,
        "rows": table_rows,
        "size": pixel_size,
        "latex_file": _latex_files(sections),
    }
    keys = [key for section in sections for key in section.references]
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=analysis.facts.get("title") or describe.page_title(analysis) or title,
        subject=describe.subject(analysis),
        findings=list_findings(analysis) if findings is None else findings,
        how_to_read=explain_findings(analysis),
        warnings=analysis.warnings,
        sections=sections,
        absent=absent,
        drawings=drawings,
        references=[REFERENCES[key] for key in dict.fromkeys(keys)],
        css=(folder / "report.css").read_text(encoding="utf-8"),
        script="\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS),
        explorer=as_json(explorer_data(analysis)),
    )


def _latex_files(sections: list[Section]) -> Callable[[Sheet], str]:
    """Make the function that names a table's LaTeX file on the page, by its ending alone where it has the table's own name."""
    names = {id(sheet): name for name, sheet in name_sheets(sections).items()}

    def latex_file(sheet: Sheet) -> str:
        return ".tex" if names[id(sheet)] == sheet.name else f"{names[id(sheet)]}.tex"

    return latex_file


def pixel_size(figure: Figure) -> tuple[int, int]:
    """Compute width and height of a figure in CSS pixels, at which it is never shown much larger than it is printed."""
    width, height = figure.get_size_inches() * CSS_PIXELS_PER_INCH
    return round(width), round(height)
