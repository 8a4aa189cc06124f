"""Draws impact, transfer and distance against each other, a point per pair of languages."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xling.report.figures import style
from xling.report.figures.label_places import place_labels
from xling.report.words import frames
from xling.storage.figure_files import freeze_layout

AXIS = {
    "impact": "impact",
    "transfer_gap": "transfer gap",
    "score_relative": "score relative to in-language",
}
LABELS_ON_ONE_PANEL = 60
FEWEST_ON_A_LINE = 4


def axis_label(pairs: pd.DataFrame, column: str) -> str:
    """Name a column of `pairs` with its unit or range."""
    if column == "score":
        return f"zero-shot {frames.metric_name(pairs)}"
    return AXIS.get(column, f"{column} distance (0 = same)")


@style.styled
def plot_pairs(
    pairs: pd.DataFrame, x: str, y: str, ax: Axes | None = None, layer: int | None = None, has_labels: bool = True
) -> Axes:
    """Scatter two columns over all pairs with S != T, marker and colour by source, labelled by target language.

    The thick line is the least-squares fit over all pairs, the thin ones those within each source; where they disagree, the
    thick one shows differences between sources. They are guides for the eye and have no band, because pairs that share a language
    are not independent. Labels that would overlap are left out, those far from the line are placed first.

    Args:
        pairs: table ``pairs``.
        x: column on the horizontal axis.
        y: column on the vertical axis.
        ax: axes to draw on; None: those of a new figure.
        layer: the layer whose impact is shown; mean over layers by default.
        has_labels: write the labels now; they need the final layout of the figure.

    Returns:
        The axes.
    """
    rows = select_points(pairs, x, y, layer)
    ax = ax or style.new_axes(style.COLUMN, 2.6)
    looks = style.source_looks(rows["source_language"].unique())
    for look in dict.fromkeys(looks.values()):  # many sources share one, and are one artist
        sources = [source for source, of_source in looks.items() if of_source == look]
        own, label = rows[rows["source_language"].isin(sources)], sources[0] if len(sources) == 1 else None
        ax.scatter(own[x], own[y], s=13, color=look[0], marker=look[1], alpha=0.85, linewidths=0, label=label)
    fits = {source: _fit(own, x, y) for source, own in rows.groupby("source_language") if _has_own_fit(own, rows)}
    lines = {source: line for source, line in fits.items() if line is not None}
    colours = [looks[source][0] for source in lines]
    ax.add_collection(LineCollection(list(lines.values()), colors=colours, linewidths=0.6, alpha=0.6, zorder=0))
    ax.margins(0.08)
    ax.set(xlabel=axis_label(pairs, x), ylabel=axis_label(pairs, y))
    pooled = _fit(rows, x, y)
    if pooled is not None:
        ax.plot(*pooled.T, color=style.MUTED, linewidth=1.4, zorder=0)
    if has_labels:
        freeze_layout(style.figure_of(ax))  # positions are final only after the layout ran
        label_points(ax, rows, x, y)
    return ax


def select_points(pairs: pd.DataFrame, x: str, y: str, layer: int | None = None) -> pd.DataFrame:
    """Keep one row per pair with S != T and both values present, from the main strategy and one layer."""
    rows = frames.cross_language(frames.one_strategy(pairs))
    rows = frames.layer_mean(rows) if layer is None else rows[(rows["layer"] == layer).fillna(False)]
    return rows.dropna(subset=[x, y])


def _has_own_fit(own: pd.DataFrame, rows: pd.DataFrame) -> bool:
    """Whether a source's points are enough for a line, and not all that there are."""
    return FEWEST_ON_A_LINE <= len(own) < len(rows)


def _coefficients(rows: pd.DataFrame, x: str, y: str) -> np.ndarray | None:
    """Compute the coefficients of the least-squares line, or None where it is not determined."""
    return np.polyfit(rows[x].astype(float), rows[y].astype(float), 1) if rows[x].nunique() > 1 else None


def _fit(rows: pd.DataFrame, x: str, y: str) -> np.ndarray | None:
    """Compute both ends ``[2, 2]`` (x, y) of the least-squares line within its points, or None where it is not determined."""
    line = _coefficients(rows, x, y)
    if line is None:
        return None
    ends = np.array([rows[x].min(), rows[x].max()], float)
    return np.column_stack([ends, np.polyval(line, ends)])


def label_points(ax: Axes, rows: pd.DataFrame, x: str, y: str) -> None:
    """Label the points of ``rows`` on a panel whose layout is final, those furthest from the fitted line first."""
    line = _coefficients(rows, x, y)
    residual = rows[y] - (np.polyval(line, rows[x].astype(float)) if line is not None else rows[y].mean())
    rows = rows.loc[residual.abs().sort_values(ascending=False, kind="stable").index[:LABELS_ON_ONE_PANEL]]
    many = rows["source_language"].nunique() > len(style.PALETTE)
    texts = rows["source_language"] + "→" + rows["target_language"] if many else rows["target_language"]
    place_labels(ax, rows[x].to_numpy(float), rows[y].to_numpy(float), texts.tolist(), fontsize=5.5)


@style.styled
def plot_impact_vs_distance(
    pairs: pd.DataFrame, ax: Axes | None = None, distance: str = "genetic", layer: int | None = None
) -> Axes:
    """Scatter impact against one distance; see :func:`plot_pairs`."""
    return plot_pairs(pairs, distance, "impact", ax, layer)


@style.styled
def plot_impact_vs_transfer(pairs: pd.DataFrame, ax: Axes | None = None, layer: int | None = None) -> Axes:
    """Scatter the zero-shot score against impact; see :func:`plot_pairs`."""
    return plot_pairs(pairs, "impact", "score", ax, layer)


@style.styled
def plot_transfer_vs_distance(pairs: pd.DataFrame, ax: Axes | None = None, distance: str = "genetic") -> Axes:
    """Scatter the zero-shot score against one distance; see :func:`plot_pairs`."""
    return plot_pairs(pairs, distance, "score", ax)


@style.styled
def draw_distance_panels(pairs: pd.DataFrame, y: str, notes: dict[str, str] | None = None) -> Figure:
    """Scatter `y` (``impact`` or ``score``) against every distance, one panel each on a shared vertical scale.

    Args:
        pairs: table ``pairs``.
        y: column on the vertical axis.
        notes: a line such as ``r = −.41, n = 56`` per distance, written above its panel.
    """
    kinds = frames.measured_distances(frames.cross_language(pairs))
    panels = style.new_panels(len(kinds), 2, style.PAGE, 2.3, sharey=True)
    for ax, kind in zip(panels, kinds, strict=True):
        plot_pairs(pairs, kind, y, ax, has_labels=False)
        ax.set_title((notes or {}).get(kind, ""))
        if not style.is_leftmost(ax):
            ax.set_ylabel("")
    add_source_legend(style.figure_of(panels[0]), pairs)
    freeze_layout(style.figure_of(panels[0]))
    for ax, kind in zip(panels, kinds, strict=True):
        label_points(ax, select_points(pairs, kind, y), kind, y)
    return style.figure_of(panels[0])


@style.styled
def draw_impact_vs_transfer(pairs: pd.DataFrame, note: str = "") -> Figure:
    """Scatter the zero-shot score against mean impact with its legend, `note` above."""
    figure = style.new_figure(style.PAGE, 3.2)
    ax = figure.add_subplot()
    ax.set_title(note)
    add_source_legend(figure, pairs)
    plot_impact_vs_transfer(pairs, ax)
    return figure


@style.styled
def add_source_legend(figure: Figure, pairs: pd.DataFrame) -> None:
    """Explain colours and markers above all panels; nothing where sources share one look."""
    looks = style.source_looks(frames.one_strategy(pairs)["source_language"].unique())
    if 1 < len(looks) <= len(style.PALETTE):
        handles = [
            Line2D([], [], linestyle="", marker=marker, color=colour, markersize=4, label=source)
            for source, (colour, marker) in looks.items()
        ]
        figure.legend(handles=handles, title="source language", loc="outside upper left", ncols=len(handles))
