"""Impact layer by layer."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from xling.report.figures import style
from xling.report.figures.label_places import spread
from xling.report.figures.matrix import add_colour_bar
from xling.report.words import frames

TARGETS_LABELLED = 16


@style.styled
def plot_impact_curves(
    pairs: pd.DataFrame,
    ax: Axes | None = None,
    source_language: str | None = None,
    distance: str = "syntactic",
    strategy: str | None = None,
) -> Axes:
    """Draw impact against layer for one source language, a line per target coloured by its distance.

    A ribbon shows one standard deviation over seeds where there are several, else the run's own 95 % interval over
    premises where it recorded one; layers without a number leave a gap.

    Args:
        pairs: table ``pairs``.
        ax: where to draw; a new figure by default.
        source_language: the first by name by default.
        distance: column of `pairs` that colours the lines (0..1); grey where it is missing.
        strategy: freezing strategy; ``none`` (or the first there is) by default.

    Returns:
        The axes; the in-language target is drawn in black and dashed.
    """
    rows = frames.single_layers(frames.one_strategy(pairs, strategy))
    source_language = source_language or min(rows["source_language"])
    rows = rows[rows["source_language"] == source_language]
    ax = ax or style.new_axes(style.COLUMN, 2.6)
    ends = {}
    for target, line in rows.groupby("target_language"):
        ends[target] = _draw_target(ax, line, distance)
    _name_lines(ax, ends, last_layer=rows["layer"].max())
    ax.axhline(0, color=style.MUTED, linewidth=0.5, zorder=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="layer (0 = embeddings)", ylabel="impact (1 − debiased CKA)")
    return ax


def _draw_target(ax: Axes, line: pd.DataFrame, distance: str) -> tuple[float, str]:
    """Draw one target's line and ribbon; return its last value and its colour."""
    layers, impact = line["layer"].to_numpy(float), line["impact"].to_numpy(float)
    in_language = bool(line["is_in_language"].iloc[0])
    value = line[distance].iloc[0] if distance in line else np.nan
    colour = style.INK if in_language else style.MUTED if np.isnan(value) else style.DISTANCE_MAP(value)
    ax.plot(layers, impact, color=colour, linestyle="--" if in_language else "-", linewidth=1.6 if in_language else 1)
    low, high = _ribbon(line)
    if np.isfinite(low).any():
        ax.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)
    finite = impact[np.isfinite(impact)]
    return (float(finite[-1]) if len(finite) else np.nan), colour


def _ribbon(line: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge of a line's ribbon; NaN where there is none."""
    impact, deviation = line["impact"].to_numpy(float), line["impact_sd"].to_numpy(float)
    if np.isfinite(deviation).any():
        return impact - deviation, impact + deviation
    return line["impact_low"].to_numpy(float), line["impact_high"].to_numpy(float)


def _name_lines(ax: Axes, ends: dict[str, tuple[float, str]], last_layer: float) -> None:
    """Write each target's code at the right end of its line, moved apart vertically where they would overlap."""
    shown = {target: end for target, end in ends.items() if np.isfinite(end[0])}
    if not shown or len(shown) > TARGETS_LABELLED:
        return
    low, high = ax.get_ylim()
    height = ax.bbox.height * 72 / ax.figure.dpi  # of the axes, in points
    heights = spread([end[0] for end in shown.values()], gap=(high - low) * 7 / height)
    ax.set_ylim(min(low, heights.min()), max(high, heights.max()))
    end = float(last_layer)
    for target, y in zip(shown, heights, strict=True):
        value, colour = shown[target]
        ax.plot([end, end + 0.7], [value, y], color=colour, linewidth=0.4)
        ax.text(end + 0.8, y, target, fontsize=6, va="center")
    ax.set_xlim(right=float(last_layer) + 2.2)


@style.styled
def draw_impact_curves(pairs: pd.DataFrame, distance: str = "syntactic", strategy: str | None = None) -> Figure:
    """Draw :func:`plot_impact_curves` for every source language, side by side on one vertical scale."""
    sources = sorted(frames.one_strategy(pairs, strategy)["source_language"].unique())
    n_columns = 1 if len(sources) == 1 else 2 if len(sources) <= 4 else 3
    width = style.PAGE if n_columns > 1 else style.COLUMN + 0.6
    panels = style.new_panels(len(sources), n_columns, width, 2.3, sharey=True)
    for ax, source in zip(panels, sources, strict=True):
        plot_impact_curves(pairs, ax, source, distance, strategy)
        ax.set_title(f"source: {source}", fontweight="bold")
        if not ax.get_subplotspec().is_first_col():
            ax.set_ylabel("")
    if distance in pairs and pairs[distance].notna().any():
        label = f"{distance} distance (0 = same)"
        add_colour_bar(panels, style.DISTANCE_MAP, Normalize(0, 1), label)
    return panels[0].figure
