"""Draws annotated matrices: coefficients by layer and distance, and scores by source and target."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from xling.analysis.inference.associations import DEMEANED
from xling.analysis.schema import IMPACT_VS_DISTANCE, MEAN_LABEL
from xling.report.figures import style
from xling.report.words import frames
from xling.report.words.numbers import coefficient, fraction

SIGNIFICANT = 0.05
TARGETS_ACROSS = 24
"""With more targets than this, the matrix of scores has a row per target; with more columns, its cells have no numbers."""
ROW_OF_MANY = 0.15
"""Height of a row in a matrix with a row per target, in inches."""


def draw_cells(ax: Axes, values: np.ndarray, texts: np.ndarray, colours: Colormap, scale: Normalize) -> None:
    """Fill one cell per value with colour and text; NaN is hatched and carries no text.

    Args:
        ax: axes to draw on; row 0 is at the top.
        values: float array [n_rows, n_columns].
        texts: string array of the same shape.
        colours: map from values to colours.
        scale: range of values of the map.
    """
    edges = (np.arange(size + 1) - 0.5 for size in reversed(values.shape))
    ax.pcolormesh(*edges, np.ma.masked_invalid(values), cmap=colours, norm=scale, edgecolors="white", linewidth=1)
    ax.set_ylim(len(values) - 0.5, -0.5)  # row 0 at the top, also where panels share the axis
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            style.hatch_cell(ax, column, row)
            continue
        ink = style.text_colour(colours(scale(value)))
        bold = "bold" if str(texts[row, column]).endswith("*") else "normal"
        ax.text(
            column, row, str(texts[row, column]), ha="center", va="center", color=ink, fontsize=6.5, fontweight=bold
        )


def label_cells(ax: Axes, rows: list[str], columns: list[str]) -> None:
    """Name the rows and columns of a matrix."""
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def outline_cell(ax: Axes, column: int, row: int) -> None:
    """Frame the cell centred on (`column`, `row`) in black and white, which shows on any colour."""
    for inset, colour in ((0.04, "black"), (0.09, "white")):
        corner, size = (column - 0.5 + inset, row - 0.5 + inset), 1 - 2 * inset
        ax.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=colour, linewidth=1.3))


def significance_marks(correlations: pd.DataFrame, kind: str) -> pd.Series:
    """Give the stars for each row of `correlations`.

    Args:
        correlations: rows of ``correlations`` or ``correlations_paper``.
        kind: key of :data:`xling.report.frames.COEFFICIENT`.

    Returns:
        Strings, indexed as `correlations`. The paper's table has its own, uncorrected stars. Otherwise ``**`` means significant
        family-wise (max-T) and ``*`` by false discovery rate (Benjamini-Hochberg), each at .05. The main coefficient and
        Pearson's raw r have stars by their own p-values; Spearman's rho has none.
    """
    if f"{kind}_stars" in correlations:
        return correlations[f"{kind}_stars"].fillna("")
    stars = pd.Series("", index=correlations.index, dtype=object)
    ending = {"main": "", "pearson": "_pearson"}.get(kind)
    if ending is not None:
        stars[(correlations[f"p_bh{ending}"] <= SIGNIFICANT).fillna(False)] = "*"
        stars[(correlations[f"p_max_t{ending}"] <= SIGNIFICANT).fillna(False)] = "**"
    return stars


@style.styled
def plot_correlation_heatmap(
    correlations: pd.DataFrame, ax: Axes | None = None, kind: str | None = None, *, has_numbers: bool = True
) -> Axes:
    """Draw impact-distance coefficients, one row per layer and one column per distance, as in the paper.

    Args:
        correlations: table ``correlations`` or ``correlations_paper``; rows of other analyses are left out.
        ax: axes to draw on; None: those of a new figure.
        kind: ``main``, ``pearson`` or ``spearman``; by default the main coefficient where the table has one.
        has_numbers: write each coefficient into its cell; else its marks alone, for panels that are small.

    Returns:
        The axes; stars as in :func:`significance_marks`; a coefficient that could not be computed is hatched.
    """
    rows = frames.select_analysis(correlations, IMPACT_VS_DISTANCE)
    kind = kind or frames.main_kind(correlations)
    marks = significance_marks(rows, kind)
    rows = rows.assign(text=rows[frames.COEFFICIENT[kind]].map(coefficient) + marks if has_numbers else marks)
    layers, predictors = frames.layer_order(rows), frames.distance_order(rows["predictor"])
    values = frames.pivot(rows, "layer_label", "predictor", frames.COEFFICIENT[kind], layers, predictors)
    texts = frames.pivot(rows, "layer_label", "predictor", "text", layers, predictors)
    ax = ax or style.new_axes(style.COLUMN, 0.6 + 0.25 * len(layers))
    draw_cells(ax, values.to_numpy(float), texts.to_numpy(object), style.DIVERGING, Normalize(-1, 1))
    label_cells(ax, [layer.lstrip("0") or "0" for layer in layers], predictors)
    ax.tick_params(axis="x", labelrotation=30)
    if MEAN_LABEL in layers:
        ax.axhline(layers.index(MEAN_LABEL) - 0.5, color=style.INK, linewidth=0.8)
    ax.set_ylabel("layer")
    return ax


@style.styled
def draw_correlation_heatmaps(correlations: pd.DataFrame) -> Figure:
    """Draw :func:`plot_correlation_heatmap` for the main coefficient and the raw ones side by side, with one colour bar."""
    n_layers = frames.select_analysis(correlations, IMPACT_VS_DISTANCE)["layer_label"].nunique()
    kinds = {"pearson": "Pearson r", "spearman": "Spearman ρ"}
    if frames.main_kind(correlations) == "main" and (correlations["main"] == DEMEANED).any():
        kinds = {"main": "r, source and target effects removed", "pearson": "raw r"}
    panels = style.new_panels(2, 2, style.PAGE, 0.8 + 0.22 * max(n_layers, 7), sharey=True)
    for ax, (kind, title) in zip(panels, kinds.items(), strict=True):
        plot_correlation_heatmap(correlations, ax, kind)
        ax.set_title(title, loc="left", fontweight="bold")
    panels[1].set_ylabel("")
    add_colour_bar(panels, style.DIVERGING, Normalize(-1, 1), "coefficient")
    return style.figure_of(panels[0])


@style.styled
def plot_transfer_matrix(pairs: pd.DataFrame, ax: Axes | None = None, strategy: str | None = None) -> Axes:
    """Draw the score for every source and target language; the in-language cell is outlined.

    Sources are rows and targets columns; of many targets it is the other way about.

    Args:
        pairs: table ``pairs``.
        ax: axes to draw on; None: those of a new figure.
        strategy: freezing strategy to show; ``none`` (or the first there is) by default.

    Returns:
        The axes; a pair that was not measured is hatched.
    """
    rows = frames.layer_mean(frames.one_strategy(pairs, strategy))
    sources, targets = sorted(rows["source_language"].unique()), sorted(rows["target_language"].unique())
    upright = len(targets) > TARGETS_ACROSS
    down, across = ("target_language", "source_language") if upright else ("source_language", "target_language")
    named = {"source_language": sources, "target_language": targets}
    values = frames.pivot(rows, down, across, "score", named[down], named[across]).to_numpy(float)
    height = ROW_OF_MANY if upright else 0.26
    ax = ax or style.new_axes(style.matrix_width(len(named[across])), 0.75 + height * len(named[down]))
    scale = Normalize(np.nanmin(values), np.nanmax(values))
    has_numbers = len(named[across]) <= TARGETS_ACROSS
    texts = np.vectorize(fraction)(values) if has_numbers else np.full(values.shape, "", dtype=object)
    draw_cells(ax, values, texts, style.SEQUENTIAL, scale)
    label_cells(ax, named[down], named[across])
    if not has_numbers:
        ax.tick_params(axis="x", labelrotation=90)
    for language in set(sources) & set(targets):
        outline_cell(ax, named[across].index(language), named[down].index(language))
    ax.set(xlabel=across.replace("_", " "), ylabel=down.replace("_", " "))
    if len(named[down]) > 5:  # lower than its own label otherwise; every cell states its number anyway
        add_colour_bar([ax], style.SEQUENTIAL, scale, frames.metric_name(pairs))
    return ax


@style.styled
def add_colour_bar(panels: list[Axes], colours: Colormap, scale: Normalize, label: str) -> None:
    """Put one slim colour bar titled `label` beside `panels`."""
    mapped = ScalarMappable(scale, colours)
    bar = style.figure_of(panels[0]).colorbar(mapped, ax=panels, label=label, aspect=30, pad=0.015, fraction=0.04)
    bar.outline.set_visible(False)
