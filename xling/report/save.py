"""Figures and tables as files: PNG and PDF for papers, SVG for the page, CSV and LaTeX for tables."""

import io
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from xling.report.figures import style
from xling.storage.atomic import atomic_path, write_text

DPI = 200
LONG_TABLE = 40
"""Tables with more rows than this become a ``longtable`` that breaks over pages."""


@style.styled
def save_figure(figure: Figure, directory: Path, name: str) -> str:
    """Write ``name.png`` (200 dpi) and ``name.pdf`` and return the figure as SVG text.

    The files hold no date: the same figure gives the same bytes with the same version of matplotlib.

    Args:
        figure: what to save.
        directory: folder, made where needed.
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
    """Write ``name.csv`` (all digits) and ``name.tex`` (three digits; needs booktabs, and longtable for long ones)."""
    write_text(directory / f"{name}.csv", table.to_csv(index=False))
    write_text(directory / f"{name}.tex", latex_table(table))


def latex_table(table: pd.DataFrame) -> str:
    """Set a frame as a booktabs table; special characters are escaped, missing values become ``--``.

    >>> print(latex_table(pd.DataFrame({"pearson_r": [0.12345, None]})))
    \\begin{tabular}{r}
    \\toprule
    pearson\\_r \\\\
    \\midrule
    0.123 \\\\
    -- \\\\
    \\bottomrule
    \\end{tabular}
    <BLANKLINE>
    """
    return table.to_latex(index=False, escape=True, na_rep="--", float_format="%.3f", longtable=len(table) > LONG_TABLE)
