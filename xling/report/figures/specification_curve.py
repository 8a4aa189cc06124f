"""Draws the specification curve: one association computed in every way, sorted, above the choices that lead to each value."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xling.report.figures import style
from xling.report.words.measures import name_measure

LEVEL = 0.05
HEADINGS = {
    "form": "form",
    "distance_source": "source",
    "predictor": "distance",
    "pooling": "pooling",
    "outcome": "outcome",
}
"""Dimensions of a specification, as they stand beside their rows."""


@style.styled
def draw_specification_curve(specifications: pd.DataFrame) -> Figure:
    """Draw the coefficients of one question in order of size, and below them a row of marks per choice, by dimension.

    Args:
        specifications: rows of the table ``specifications`` with a coefficient.

    Returns:
        The figure. Filled points have a family-wise p <= .05 over the curve; bars show the range with one language left out.
    """
    rows = specifications.dropna(subset="r").sort_values("r", kind="stable").reset_index(drop=True)
    places = _places(rows)
    n_lines = max(places.values()) + 1
    figure = style.new_figure(style.PAGE, 2.0 + 0.15 * n_lines)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 0.15 * n_lines])
    x, clear = np.arange(len(rows)), (rows["p_max_t"] <= LEVEL).to_numpy()
    upper.vlines(x, rows["loo_low"], rows["loo_high"], color=style.MUTED, linewidth=0.8)
    colours = np.where(clear, style.PALETTE[0], "white")
    upper.scatter(x, rows["r"], s=12, color=colours, edgecolors=style.PALETTE[0], linewidths=0.8, zorder=3)
    upper.axhline(0, color=style.MUTED, linewidth=0.6, zorder=0)
    upper.set_ylabel("r")
    for (choice, name), place in places.items():
        is_chosen = (rows[choice] == name).to_numpy()
        for own, colour in ((is_chosen & ~clear, style.MUTED), (is_chosen & clear, style.PALETTE[0])):
            lower.plot(x[own], np.full(own.sum(), place), "|", color=colour, markersize=4)
    lower.set_yticks(list(places.values()), [_label(choice, name) for choice, name in places])
    lower.set_ylim(n_lines - 0.5, -0.5)
    for choice in dict.fromkeys(choice for choice, _ in places):
        first = min(place for (own, _), place in places.items() if own == choice)
        lower.text(
            1.01, first, HEADINGS[choice], transform=lower.get_yaxis_transform(), va="center", fontstyle="italic"
        )
    lower.tick_params(axis="y", length=0)
    lower.set_xticks([])
    lower.set_xlabel("specifications, by size")
    return figure


def _label(choice: str, name: str) -> str:
    return name_measure(name) if choice == "outcome" else name


def _places(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Give every choice a line of its own, half a line between dimensions; where there is nothing to choose there is no line."""
    places: dict[tuple[str, str], float] = {}
    place = 0.0
    for choice in HEADINGS:
        names = sorted(rows[choice].unique())
        if len(names) == 1 and choice != "form":  # the same line of marks below every point
            continue
        for name in names:
            places[choice, name] = place
            place += 1
        place += 0.5
    return places
