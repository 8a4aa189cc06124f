"""Draws the specification curve: one association computed in every way, sorted, above the choices that lead to each value."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xling.report.figures import style

LEVEL = 0.05
CHOICES = ("form", "predictor", "outcome")


@style.styled
def draw_specification_curve(specifications: pd.DataFrame) -> Figure:
    """Draw the coefficients of one question in order of size, and below them a row of marks per choice.

    Args:
        specifications: rows of the table ``specifications`` with a coefficient.

    Returns:
        The figure. Filled points have a family-wise p <= .05 over the curve; bars show the range with one language left out.
    """
    rows = specifications.dropna(subset="r").sort_values("r", kind="stable").reset_index(drop=True)
    names = [(choice, name) for choice in CHOICES for name in sorted(rows[choice].unique())]
    figure = style.new_figure(style.PAGE, 2.0 + 0.15 * len(names))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 0.15 * len(names)])
    x, clear = np.arange(len(rows)), (rows["p_max_t"] <= LEVEL).to_numpy()
    upper.vlines(x, rows["loo_low"], rows["loo_high"], color=style.MUTED, linewidth=0.8)
    colours = np.where(clear, style.PALETTE[0], "white")
    upper.scatter(x, rows["r"], s=12, color=colours, edgecolors=style.PALETTE[0], linewidths=0.8, zorder=3)
    upper.axhline(0, color=style.MUTED, linewidth=0.6, zorder=0)
    upper.set_ylabel("r")
    for place, (choice, name) in enumerate(names):
        at = x[(rows[choice] == name).to_numpy()]
        lower.plot(at, np.full(len(at), place), "|", color=style.INK, markersize=4)
    lower.set_yticks(range(len(names)), [name for _, name in names])
    lower.set_ylim(len(names) - 0.5, -0.5)
    lower.tick_params(axis="y", length=0)
    lower.set_xticks([])
    lower.set_xlabel("specifications, by size")
    return figure
