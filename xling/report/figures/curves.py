"""Draws impact layer by layer, a line per target language."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
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
    ax = ax or style.new_axes(style.COLUMN, 2.6)
    _plot_source(ax, rows[rows["source_language"] == source_language], distance, scale)
    return ax


def _plot_source(ax: Axes, rows: pd.DataFrame, distance: str, scale: Normalize) -> None:
    """Draw the rows of one source language, single layers of one strategy."""
    lines = {str(target): _line_of(line, distance, scale) for target, line in rows.groupby("target_language")}
    _draw_lines(ax, list(lines.values()))
    ax.axhline(0, color=style.MUTED, linewidth=0.5, zorder=0)
    _name_lines(ax, lines, rows)
    last = int(rows["layer"].max())
    ax.set_xticks(range(0, last + 1, 1 if last < 5 else 2 if last <= 12 else 4))
    ax.set(xlabel="layer (0 = embeddings)", ylabel="impact")


def distance_scale(rows: pd.DataFrame, distance: str) -> Normalize:
    """Scale colours to the range of a distance between different languages; from 0 to 1, half the colours would go unused."""
    values = rows.loc[~rows["is_in_language"], distance].dropna() if distance in rows else pd.Series(dtype=float)
    return Normalize(float(values.min()), float(values.max())) if values.nunique() > 1 else Normalize(0, 1)


class _Line(NamedTuple):
    """What is drawn of one target: its impact by layer ``[n_layers]``, NaN where there is none, and the edges of its ribbon."""

    layers: np.ndarray
    impact: np.ndarray
    low: np.ndarray
    high: np.ndarray
    colour: ColorType
    in_language: bool

    @property
    def end(self) -> float:
        """The last value that is known; NaN where none is."""
        known = self.impact[np.isfinite(self.impact)]
        return float(known[-1]) if len(known) else np.nan


def _line_of(rows: pd.DataFrame, distance: str, scale: Normalize) -> _Line:
    in_language = bool(rows["is_in_language"].iloc[0])
    value = rows[distance].iloc[0] if distance in rows else np.nan
    colour: ColorType = style.INK if in_language else style.MUTED
    if not in_language and not np.isnan(value):
        colour = style.DISTANCE_MAP(scale(value))
    layers, impact = (rows[name].to_numpy(float) for name in ("layer", "impact"))
    return _Line(layers, impact, *_ribbon(rows), colour, in_language)


def _draw_lines(ax: Axes, lines: list[_Line]) -> None:
    """Draw all lines as one artist and all ribbons as another, since saving a figure takes its time by artists."""
    ribbons = [(outline, line.colour) for line in lines for outline in _outlines(line)]
    if ribbons:
        outlines, colours = zip(*ribbons, strict=True)
        ax.add_collection(PolyCollection(outlines, facecolors=colours, alpha=0.15, linewidths=0, zorder=1))
    curves = LineCollection(
        [np.column_stack([line.layers, line.impact]) for line in lines],
        colors=[line.colour for line in lines],
        linestyles=["--" if line.in_language else "-" for line in lines],
        linewidths=[1.6 if line.in_language else 1 for line in lines],
        capstyle="butt",
    )
    ax.add_collection(curves)
    ax.autoscale_view()


def _outlines(line: _Line) -> list[np.ndarray]:
    """List the outlines ``[n_points, 2]`` of a ribbon, one for every run of layers that has both edges."""
    known = np.isfinite(line.low) & np.isfinite(line.high)
    runs = np.split(np.arange(len(known)), np.flatnonzero(np.diff(known)) + 1)
    return [
        np.column_stack([np.r_[line.layers[run], line.layers[run][::-1]], np.r_[line.low[run], line.high[run][::-1]]])
        for run in runs
        if len(run) > 1 and known[run[0]]
    ]


def _ribbon(line: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Compute the lower and upper edge of a line's ribbon; NaN where there is none."""
    impact, deviation = line["impact"].to_numpy(float), line["impact_sd"].to_numpy(float)
    if np.isfinite(deviation).any():
        return impact - deviation, impact + deviation
    return line["impact_low"].to_numpy(float), line["impact_high"].to_numpy(float)


def _name_lines(ax: Axes, lines: dict[str, _Line], rows: pd.DataFrame) -> None:
    """Write codes at the right end of some lines, moved apart vertically where they would overlap, within the axes."""
    last = float(rows["layer"].max())
    ax.set_xlim(-0.3, last + 0.16 * max(last, 2))
    shown = {target: lines[target] for target in _named(rows) if np.isfinite(lines[target].end)}
    if not shown:
        return
    low, high = ax.get_ylim()
    height = ax.bbox.height * 72 / ax.figure.dpi  # of the axes, in points
    gap = (high - low) * 7 / height
    heights = spread([line.end for line in shown.values()], gap=gap)
    heights -= max(0.0, heights.max() - (high - gap / 2))  # down into the axes where they would stand above it
    for target, y in zip(shown, heights, strict=True):
        line = shown[target]
        ax.plot([last, last + 0.05 * last], [line.end, y], color=line.colour, linewidth=0.6)
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
    rows = frames.single_layers(frames.one_strategy(pairs, strategy))
    scale = distance_scale(rows, distance)
    sources = sorted(rows["source_language"].unique())
    n_columns = 1 if len(sources) == 1 else 2 if len(sources) <= 4 else 3
    width = style.PAGE if n_columns > 1 else style.COLUMN + 0.6
    panels = style.new_panels(len(sources), n_columns, width, 1.7 if len(sources) > 6 else 2.3, sharey=True)
    highest = pairs.loc[frames.single_layers(pairs).index, "impact"].max()
    panels[0].set_ylim(-0.03 * highest, 1.08 * highest)  # before any label is placed, the same for all
    for ax, source in zip(panels, sources, strict=True):
        _plot_source(ax, rows[rows["source_language"] == source], distance, scale)
        ax.set_title(f"source: {source}", fontweight="bold")
        if not style.is_leftmost(ax):
            ax.set_ylabel("")
        if not style.is_lowest(ax):
            ax.set_xlabel("")
    if distance in pairs and pairs[distance].notna().any():
        add_colour_bar(panels, style.DISTANCE_MAP, scale, f"{distance} distance")
    return style.figure_of(panels[0])
