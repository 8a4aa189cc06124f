"""Writes the section that compares freezing strategies, and draws its figure."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xling.analysis.questions.freezing import METRICS
from xling.analysis.questions.random_sets import RANDOM_REFERENCE, is_random_set, without_draw
from xling.analysis.schema import Analysis
from xling.report.figures import style
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words import frames, numbers
from xling.report.words.lookup import drop_blank_columns, has_rows

TITLE = "Freezing strategies"
NAMES = {
    "source_score": "source score",
    "mean_target_score": "mean target score",
    "transfer_gap": "transfer gap",
    "worst_score": "three worst targets",
    "train_seconds": "training time (s)",
}
SLOPE = "slope_"
COLUMNS = [
    *("strategy", "reference", "metric", "strategy_mean", "reference_mean", "change", "low", "high", "over", "p_rank"),
    *("n_pairs", "n_sources", "n_seeds", "n_reference_sets", "reason"),
]


def metric_name(metric: str) -> str:
    """Name a metric on an axis.

    >>> metric_name("slope_genetic"), metric_name("transfer_gap")
    ('slope on genetic distance', 'transfer gap')
    """
    return NAMES.get(metric) or f"slope on {metric.removeprefix(SLOPE)} distance"


@style.styled
def plot_freezing(freezing: pd.DataFrame, ax: Axes | None = None, metric: str = "mean_target_score") -> Axes:
    """Draw the change of one metric per strategy, with its interval, against each reference.

    Sets drawn at random are what others are judged among: those of one size share a row, a tick each.

    Args:
        freezing: table ``freezing``.
        ax: axes to draw on; None: those of a new figure.
        metric: one of its metrics.

    Returns:
        The axes; a hollow point has no interval, a strategy without a number no point.
    """
    rows = freezing[freezing["metric"] == metric]
    strategies, references = _strategies(freezing), _references(freezing)
    ax = ax or style.new_axes(style.COLUMN, 0.8 + 0.3 * len(strategies))
    for (_, row), offset in ((item, _offset(item[1], references)) for item in rows.iterrows()):
        y = strategies.index(without_draw(row["strategy"])) + offset
        look = references.index(row["reference"])
        colour, marker = style.PALETTE[look], style.MARKERS[look]
        if is_random_set(row["strategy"]):
            ax.plot(row["change"], y, "|", color=colour, markersize=6)
            continue
        has_interval = pd.notna(row["low"])
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.2)
        ax.plot(row["change"], y, marker, color=colour, markersize=4.5, mfc=colour if has_interval else "white")
    ax.axvline(0, color=style.MUTED, linewidth=0.6, zorder=0)
    ax.set_yticks(range(len(strategies)), strategies)
    ax.set_ylim(len(strategies) - 0.5, -0.5)
    ax.set_xlabel(f"change in {metric_name(metric)}")
    style.choose_ticks(ax.xaxis, at_most=5)
    return ax


def _strategies(freezing: pd.DataFrame) -> list[str]:
    return sorted(freezing["strategy"].map(without_draw).unique())


def _references(freezing: pd.DataFrame) -> list[str]:
    return sorted(freezing["reference"].unique(), key=lambda name: (name == RANDOM_REFERENCE, name))


def _offset(row: pd.Series, references: list[str]) -> float:
    return 0.22 * (references.index(row["reference"]) - (len(references) - 1) / 2)


@style.styled
def draw_freezing(freezing: pd.DataFrame) -> Figure:
    """Draw :func:`plot_freezing` for every metric; of the slopes, that on the first distance."""
    metrics = shown_metrics(freezing)
    panels = style.new_panels(len(metrics), 2, style.PAGE, 0.75 + 0.24 * len(_strategies(freezing)), sharey=True)
    for ax, metric in zip(panels, metrics, strict=True):
        plot_freezing(freezing, ax, metric)
    handles = [
        Line2D([], [], marker=style.MARKERS[i], color=style.PALETTE[i], markersize=4.5, label=f"against {name}")
        for i, name in enumerate(_references(freezing))
    ]
    style.figure_of(panels[0]).legend(handles=handles, loc="outside upper left", ncols=2)
    return style.figure_of(panels[0])


def shown_metrics(freezing: pd.DataFrame) -> list[str]:
    """List the metrics of the figure: those with a number, and one slope."""
    measured = set(freezing.loc[freezing["change"].notna(), "metric"])
    slopes = frames.distance_order(m.removeprefix(SLOPE) for m in measured if m.startswith(SLOPE))[:1]
    wanted = [*METRICS, *(SLOPE + kind for kind in slopes)]
    return [metric for metric in wanted if metric in measured]


def freezing_section(analysis: Analysis) -> Section | Absent:
    """Write the section on what freezing layers changes."""
    if not has_rows(analysis, "freezing"):
        return Absent(TITLE, "it needs runs of a freezing strategy and of the baseline without it")
    table = analysis.tables["freezing"]
    if not shown_metrics(table):
        return Absent(TITLE, "no strategy shares a source language and seed with its reference")
    has_random = table["strategy"].map(is_random_set).any()
    picture = Picture(
        "freezing",
        draw_freezing(table),
        f"Dot plots of changes by strategy. {describe_freezing(table)}",
        "Change against each reference: mean of differences paired over source language and seed, with its 95 % t "
        f"interval over {' or '.join(_spreads(table))} (n\xa0=\xa0{_counts(table)} pairs of runs). Hollow: no interval. "
        + ("Ticks: sets drawn at random, which others are judged among. " if has_random else "")
        + "Intervals are not corrected for the number of strategies and metrics.",
    )
    sheet = Sheet("freezing", drop_blank_columns(table, COLUMNS), "All comparisons.", is_folded=len(table) > 15)
    shown = table[table["metric"].isin(shown_metrics(table))]
    clear = shown[((shown["low"] > 0) | (shown["high"] < 0)) & ~shown["strategy"].map(is_random_set)]
    return Section("freezing", TITLE, [describe_freezing(table)], [picture], [sheet], points=clear["verdict"].tolist())


def _spreads(table: pd.DataFrame) -> list[str]:
    return sorted(set(table.loc[table["low"].notna(), "over"])) or ["sources"]


def _counts(table: pd.DataFrame) -> str:
    counts = table.loc[table["change"].notna(), "n_pairs"]
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def describe_freezing(table: pd.DataFrame) -> str:
    """Count the intervals that exclude 0, or say why none can."""
    clear = int(((table["low"] > 0) | (table["high"] < 0)).sum())
    n_intervals = int(table["low"].notna().sum())
    if n_intervals == 0:
        return "No interval could be computed: every comparison rests on a single pair of runs or none."
    if clear == 0:
        return f"Of {numbers.plural(n_intervals, 'interval')} none excludes 0: no change is shown."
    return (
        f"{clear} of {numbers.plural(n_intervals, 'interval')} {'excludes' if clear == 1 else 'exclude'} 0; about "
        f"{0.05 * n_intervals:.0f} would by chance if freezing changed nothing."
    )
