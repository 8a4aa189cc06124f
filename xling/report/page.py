"""The page: sections, drawings and tables put into one HTML file that needs nothing else."""

from dataclasses import dataclass
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from xling.analysis.schema import Analysis
from xling.report.explorer import as_json, explorer_data
from xling.report.section import Absent, Section, Sheet
from xling.report.sections.findings import list_findings
from xling.report.svg import data_uri
from xling.report.words import describe, numbers
from xling.report.words.references import REFERENCES

TITLE = "Cross-lingual transfer: impact, transfer and distance"
CSS_PIXELS_PER_INCH = 96
SCRIPTS = ("report.js", "explorer.js")
HEADINGS = {
    "layer_label": "layer",
    "n_pairs": "n pairs",
    "pearson_r": "r raw",
    "spearman_rho": "ρ",
    "ci_low": "95 % CI low",
    "ci_high": "95 % CI high",
    "p_qap": "p QAP",
    "p_qap_pearson": "p QAP (raw)",
    "p_max_t_pearson": "p family-wise (raw)",
    "p_qap_spearman": "p QAP (ρ)",
    "p_max_t": "p family-wise",
    "p_bh": "p BH",
    "p_pearson": "p (r raw)",
    "p_spearman": "p (ρ)",
    "p_qap_demeaned": "p QAP (demeaned)",
    "p_qap_partial": "p QAP (partial)",
    "mae": "mean abs. error",
    "mae_baseline": "same, of the mean",
    "r2": "R²",
    "ndcg_at_3": "NDCG@3",
    "ndcg_at_3_random": "NDCG@3, random order",
    "demeaned_r": "r demeaned",
    "partial_r": "r partial",
    "pearson_stars": "stars (r)",
    "spearman_stars": "stars (ρ)",
    "source_language": "source",
    "target_language": "target",
}


MOST_ROWS = 1000
"""A longer table is a link to its CSV: nobody reads it on a page, and a browser takes seconds to lay it out."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what is shown and what it is sorted by (empty where missing)."""

    text: str
    key: str


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
        analysis: for warnings, findings and the title.
        sections: in order.
        absent: what could not be written, and why.
        drawings: SVG text of every picture, by name.
        findings: (topic, line) at the top; None: those of one study's analysis.
        title: heading, unless the facts of the analysis have one.

    Returns:
        An HTML document.
    """
    folder = files("xling.report") / "files"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "data_uri": data_uri,
        "heading": heading,
        "is_elsewhere": is_elsewhere,
        "classes": column_classes,
        "rows": table_rows,
        "size": pixel_size,
    }
    keys = [key for section in sections for key in section.references]
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=analysis.facts.get("title") or describe.page_title(analysis) or title,
        subject=describe.subject(analysis),
        findings=list_findings(analysis) if findings is None else findings,
        warnings=analysis.warnings,
        sections=sections,
        absent=absent,
        drawings=drawings,
        references=[REFERENCES[key] for key in dict.fromkeys(keys)],
        css=(folder / "report.css").read_text(encoding="utf-8"),
        script="\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS),
        explorer=as_json(explorer_data(analysis)),
    )


def heading(column: str) -> str:
    """Head a table's column in words.

    >>> heading("spearman_rho"), heading("n_reference_sets")
    ('ρ', 'n reference sets')
    """
    return HEADINGS.get(column, column.replace("_", " "))


def pixel_size(figure: Figure) -> tuple[int, int]:
    """Width and height of a figure in CSS pixels: a figure is never shown much larger than it is printed."""
    width, height = figure.get_size_inches() * CSS_PIXELS_PER_INCH
    return round(width), round(height)


def is_elsewhere(sheet: Sheet) -> bool:
    """Whether a table is too long for the page and stands in a file beside it."""
    return bool(sheet.name) and len(sheet.frame) > MOST_ROWS


def column_classes(frame: pd.DataFrame) -> list[str]:
    """Class of every column: numbers are set flush right."""
    return ["number" if pd.api.types.is_numeric_dtype(frame[column]) else "text" for column in frame]


def table_rows(frame: pd.DataFrame) -> list[list[Cell]]:
    """Turn a frame into cells; p-values below .001 are printed as such."""
    p_columns = {column for column in frame if column.startswith("p_")}
    return [
        [_cell(value, is_p=column in p_columns) for column, value in zip(frame.columns, row, strict=True)]
        for row in frame.itertuples(index=False, name=None)
    ]


def _cell(value, is_p: bool) -> Cell:
    is_number = not isinstance(value, str | bool | list | tuple) and not numbers.is_missing(value)
    text = "< .001" if is_p and is_number and value < 0.001 else numbers.cell(value)
    return Cell(text, repr(float(value)) if is_number else "" if numbers.is_missing(value) else text)
