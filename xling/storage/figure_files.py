"""Writes one figure as PNG, PDF and SVG; imports nothing but matplotlib, so that another process can soon begin."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from xling.storage.atomic import atomic_path

DPI = 200


class FigureFile(NamedTuple):
    """A figure that is to be written.

    Attributes:
        figure: the figure.
        directory: folder of the files, which is made where needed.
        name: file name without ending.
        look: matplotlib's settings, all of them.
    """

    figure: Figure
    directory: Path
    name: str
    look: Mapping[str, Any]


def freeze_layout(figure: Figure) -> None:
    """Lay the figure out now and keep that layout, since laying it out for every file format takes most of the time."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def write_figure(job: FigureFile) -> str:
    """Write ``name.png`` (200 dpi) and ``name.pdf`` and return the figure as SVG text.

    The files hold no date: the same figure gives the same bytes with the same version of matplotlib, in whichever process.

    Returns:
        An SVG document whose letters are outlines, so that it looks the same on every machine.
    """
    figure, directory, name, look = job
    with matplotlib.rc_context(dict(look)):  # type: ignore[arg-type]  # matplotlib's types list every key as a literal
        freeze_layout(figure)
        with atomic_path(directory / f"{name}.pdf") as temporary:
            FigureCanvasPdf(figure).print_pdf(temporary, metadata={"CreationDate": None})
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
        figure.dpi = DPI
        with atomic_path(directory / f"{name}.png") as temporary:
            FigureCanvasAgg(figure).print_png(temporary)
    return text.getvalue()
