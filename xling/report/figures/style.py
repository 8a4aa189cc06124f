"""Sets the look of every figure: sizes of a printed page, colours safe for colour-blind readers, and a font that is shipped along.

Categories use the palette of Okabe & Ito (2008) together with marker shapes, so that no figure needs colour alone;
coefficients use a red-blue diverging map centred on 0, scores and distances a perceptually even one (viridis).
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

COLUMN = 3.35
"""Width of one column of a two-column paper, in inches."""
PAGE = 6.9
"""Width of the text block of a two-column paper, in inches."""
INK = "#222222"
MUTED = "#767676"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
DIVERGING = matplotlib.colormaps["RdBu_r"]
SEQUENTIAL = matplotlib.colormaps["viridis"]
DISTANCE_MAP = LinearSegmentedColormap.from_list("distance", matplotlib.colormaps["viridis"](np.linspace(0, 0.85, 64)))
"""Viridis without its yellow end, in which thin lines can hardly be seen on white paper."""

RC: dict[str, Any] = {
    "text.parse_math": False,  # a language or study may have a $ in its name
    "font.family": "DejaVu Sans",  # shipped inside matplotlib: the same letters on every machine
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "hatch.color": MUTED,
    "pdf.fonttype": 42,  # editable text in PDF, as publishers ask
    "svg.fonttype": "path",
    "svg.hashsalt": "xling",  # the same input gives the same bytes
}

styled = matplotlib.rc_context(cast(Any, RC))  # matplotlib's types list every key as a literal
"""Decorator of functions that draw: they use :data:`RC` whatever the caller's settings are, and leave those untouched."""


def matrix_width(n_columns: int) -> float:
    """Compute the width in inches of a matrix of nearly square cells, which is a page at most.

    >>> matrix_width(4), matrix_width(15)
    (3.1, 6.9)
    """
    return min(PAGE, round(1.5 + 0.4 * n_columns, 2))


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that `ax` is in, also where `ax` lies in a sub-figure."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def is_leftmost(ax: Axes) -> bool:
    """Whether no panel of the same grid stands to the left of `ax`."""
    place = ax.get_subplotspec()
    return place is None or place.is_first_col()


def is_lowest(ax: Axes) -> bool:
    """Whether no panel of the same grid stands below `ax`."""
    place = ax.get_subplotspec()
    return place is None or place.is_last_row()


def choose_ticks(axis: Axis, *, integer: bool = False, at_most: int | None = None) -> None:
    """Set the ticks of a linear axis at whole numbers only, or at fewer places."""
    locator = axis.get_major_locator()
    assert isinstance(locator, MaxNLocator)
    if integer:
        locator.set_params(integer=True)
    if at_most is not None:
        locator.set_params(nbins=at_most)


@styled
def new_figure(width: float, height: float) -> Figure:
    """Make a figure with its own canvas (no pyplot state), `width` x `height` inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@styled
def new_axes(width: float, height: float) -> Axes:
    """Make a figure of `width` x `height` inches and return its single axes."""
    return new_figure(width, height).add_subplot()


@styled
def new_panels(n_panels: int, n_columns: int, width: float, panel_height: float, **share) -> list[Axes]:
    """Make a grid of `n_panels` axes, row by row, `n_columns` wide; `share` goes to ``Figure.subplots``."""
    n_columns = min(n_panels, n_columns)
    n_rows = -(-n_panels // n_columns)
    grid = new_figure(width, panel_height * n_rows).subplots(n_rows, n_columns, squeeze=False, **share)
    for spare in grid.flat[n_panels:]:
        spare.remove()
    return list(grid.flat[:n_panels])


def text_colour(rgba: Sequence[float]) -> str:
    """Choose black or white letters for a cell of colour `rgba` (0..1), by the WCAG relative luminance.

    >>> text_colour((1.0, 1.0, 1.0, 1.0)), text_colour((0.1, 0.1, 0.4, 1.0))
    ('#000000', '#ffffff')
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3]]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return "#000000" if luminance > 0.179 else "#ffffff"


def hatch_cell(ax: Axes, column: int, row: int) -> None:
    """Mark the cell centred on (`column`, `row`) as missing."""
    ax.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="#f4f4f4", edgecolor=MUTED, hatch="////", linewidth=0)
    )


def source_looks(sources: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Give each source language a colour and a marker; more than seven share one look and are told apart by labels."""
    names = sorted(sources)
    if len(names) > len(PALETTE):
        return {name: (PALETTE[0], MARKERS[0]) for name in names}
    return {name: (PALETTE[i], MARKERS[i]) for i, name in enumerate(names)}
