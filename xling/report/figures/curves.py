"""Draws impact layer by layer, a line per target language."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from xling.report.figures import style
from xling.report.figures.label_places import spread
from xling.report.figures.matrix import add_colour_bar
from xling.report.words import frames

ENDS_LABELLED = 3
"""Number of targets that are named among the most and among the least impacted; a name for each line would hide the lines."""


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
    premises where it recorded one; layers without a number leave a gap. The targets with the most and the least impact, by the mean
    over layers, are named at the right end, and so is the source itself.

    Args:
        pairs: table ``pairs``.
        ax: axes to draw on; None: those of a new figure.
        source_language: language whose runs are shown; None: the first by name.
        distance: column of `pairs` that colours the lines, over its range between different languages; grey where it is missing.
        strategy: freezing strategy; ``none`` (or the first there is) by default.

    Returns:
        The axes; the in-language target is drawn in black and dashed.
    """
    rows = frames.single_layers(frames.one_strategy(pairs, strategy))
    scale = distance_scale(rows, distance)
    source_language = source_language or min(rows["source_language"])
    rows = rows[rows["source_language"] == source_language]
    ax = ax or style.new_axes(style.COLUMN, 2.6)
    ends = {}
    for target, line in rows.groupby("target_language"):
        ends[target] = _draw_target(ax, line, distance, scale)
    ax.axhline(0, color=style.MUTED, linewidth=0.5, zorder=0)
    _name_lines(ax, ends, rows)
    last = int(rows["layer"].max())
    ax.set_xticks(range(0, last + 1, 1 if last < 5 else 2 if last <= 12 else 4))
    ax.set(xlabel="layer (0 = embeddings)", ylabel="impact")
    return ax


def distance_scale(rows: pd.DataFrame, distance: str) -> Normalize:
    """Scale colours to the range of a distance between different languages; from 0 to 1, half the colours would go unused."""
    values = rows.loc[~rows["is_in_language"], distance].dropna() if distance in rows else pd.Series(dtype=float)
    return Normalize(float(values.min()), float(values.max())) if values.nunique() > 1 else Normalize(0, 1)


def _draw_target(ax: Axes, line: pd.DataFrame, distance: str, scale: Normalize) -> tuple[float, ColorType]:
    """Draw one target's line and ribbon; return its last value and its colour."""
    layers, impact = line["layer"].to_numpy(float), line["impact"].to_numpy(float)
    in_language = bool(line["is_in_language"].iloc[0])
    value = line[distance].iloc[0] if distance in line else np.nan
    colour: ColorType = style.INK if in_language else style.MUTED
    if not in_language and not np.isnan(value):
        colour = style.DISTANCE_MAP(scale(value))
    ax.plot(layers, impact, color=colour, linestyle="--" if in_language else "-", linewidth=1.6 if in_language else 1)
    low, high = _ribbon(line)
    if np.isfinite(low).any():
        ax.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)
    finite = impact[np.isfinite(impact)]
    return (float(finite[-1]) if len(finite) else np.nan), colour


def _ribbon(line: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Compute the lower and upper edge of a line's ribbon; NaN where there is none."""
    impact, deviation = line["impact"].to_numpy(float), line["impact_sd"].to_numpy(float)
    if np.isfinite(deviation).any():
        return impact - deviation, impact + deviation
    return line["impact_low"].to_numpy(float), line["impact_high"].to_numpy(float)


def _name_lines(ax: Axes, ends: dict[str, tuple[float, ColorType]], rows: pd.DataFrame) -> None:
    """Write codes at the right end of some lines, moved apart vertically where they would overlap, within the axes."""
    last = float(rows["layer"].max())
    ax.set_xlim(-0.3, last + 0.16 * max(last, 2))
    shown = {target: ends[target] for target in _named(rows) if np.isfinite(ends[target][0])}
    if not shown:
        return
    low, high = ax.get_ylim()
    height = ax.bbox.height * 72 / ax.figure.dpi  # of the axes, in points
    gap = (high - low) * 7 / height
    heights = spread([end[0] for end in shown.values()], gap=gap)
    heights -= max(0.0, heights.max() - (high - gap / 2))  # down into the axes where they would stand above it
    for target, y in zip(shown, heights, strict=True):
        value, colour = shown[target]
        ax.plot([last, last + 0.05 * last], [value, y], color=colour, linewidth=0.6)
        ax.text(last + 0.06 * last, y, target, fontsize=6, va="center")


def _named(rows: pd.DataFrame) -> list[str]:
    """Choose the targets that are named: all where they are few; else the source, and both ends by mean impact."""
    means = rows.groupby("target_language")["impact"].mean().sort_values()
    names = list(means.index)
    own = list(rows.loc[rows["is_in_language"], "target_language"].unique())
    if len(names) > 2 * ENDS_LABELLED + 1:
        names = [*names[:ENDS_LABELLED], *names[-ENDS_LABELLED:]]
    return list(dict.fromkeys([*names, *own]))


@style.styled
def draw_impact_curves(pairs: pd.DataFrame, distance: str = "syntactic", strategy: str | None = None) -> Figure:
    """Draw :func:`plot_impact_curves` for every source language, side by side on one vertical scale."""
    sources = sorted(frames.one_strategy(pairs, strategy)["source_language"].unique())
    n_columns = 1 if len(sources) == 1 else 2 if len(sources) <= 4 else 3
    width = style.PAGE if n_columns > 1 else style.COLUMN + 0.6
    panels = style.new_panels(len(sources), n_columns, width, 1.7 if len(sources) > 6 else 2.3, sharey=True)
    highest = pairs.loc[frames.single_layers(pairs).index, "impact"].max()
    panels[0].set_ylim(-0.03 * highest, 1.08 * highest)  # before any label is placed, the same for all
    for ax, source in zip(panels, sources, strict=True):
        plot_impact_curves(pairs, ax, source, distance, strategy)
        ax.set_title(f"source: {source}", fontweight="bold")
        if not style.is_leftmost(ax):
            ax.set_ylabel("")
        if not style.is_lowest(ax):
            ax.set_xlabel("")
    if distance in pairs and pairs[distance].notna().any():
        scale = distance_scale(frames.single_layers(frames.one_strategy(pairs, strategy)), distance)
        add_colour_bar(panels, style.DISTANCE_MAP, scale, f"{distance} distance")
    return style.figure_of(panels[0])
