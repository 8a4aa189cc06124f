"""Writes the section on impact, score and alignment over the steps of training, and draws its figures."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from xling.analysis.questions.trajectory import EARLY
from xling.analysis.schema import Analysis
from xling.report.figures import style
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words.lookup import has_rows

TITLE = "Over time"
NAMES = {"impact": "impact (1 − CKA)", "alignment": "similarity of source and target", "score": "score"}


@style.styled
def plot_trajectory(
    trajectory: pd.DataFrame, ax: Axes | None = None, quantity: str = "impact", target_language: str = ""
) -> Axes:
    """Draw one quantity over the steps, a line per layer, with its interval over sources.

    Args:
        trajectory: table ``trajectory``.
        ax: axes to draw on; None: those of a new figure.
        quantity: ``impact``, ``alignment`` or ``score``.
        target_language: target whose values are drawn; '' = the mean over targets.

    Returns:
        The axes.
    """
    rows = trajectory[(trajectory["quantity"] == quantity) & (trajectory["target_language"] == target_language)]
    ax = ax or style.new_axes(style.COLUMN, 2.3)
    labels = sorted(rows["layer_label"].unique())
    for position, label in enumerate(labels):
        line = rows[rows["layer_label"] == label].sort_values("step")
        colour = style.SEQUENTIAL(0.9 * position / max(len(labels) - 1, 1)) if len(labels) > 1 else style.PALETTE[0]
        ax.plot(line["step"], line["mean"], color=colour, linewidth=1.1, marker=".", markersize=3)
        if line["low"].notna().any():
            ax.fill_between(
                line["step"].to_numpy(float), line["low"], line["high"], color=colour, alpha=0.1, linewidth=0
            )
    ax.set(xlabel="optimiser steps", ylabel=NAMES[quantity], ylim=_reach(rows["mean"]))
    return ax


def _reach(means: pd.Series) -> tuple[float, float]:
    """Compute limits of the axis that the lines fill; wide intervals over few sources are cut off, lest the lines be flat."""
    low, high = means.min(), means.max()
    margin = 0.15 * (high - low) or 0.05
    return low - margin, high + margin


@style.styled
def draw_trajectory(trajectory: pd.DataFrame) -> Figure:
    """Draw :func:`plot_trajectory` for every quantity that was measured, layers coloured from the lowest to the highest."""
    quantities = [name for name in NAMES if name in set(trajectory["quantity"])]
    panels = style.new_panels(len(quantities), min(len(quantities), 3), style.PAGE, 2.2)
    for ax, quantity in zip(panels, quantities, strict=True):
        plot_trajectory(trajectory, ax, quantity)
    layers = [int(label) for label in trajectory["layer_label"].unique() if label]
    if layers:
        places = ScalarMappable(Normalize(min(layers), max(layers) / 0.9 if max(layers) else 1), style.SEQUENTIAL)
        bar = style.figure_of(panels[0]).colorbar(places, ax=panels, label="layer", shrink=0.8, boundaries=None)
        bar.ax.set_ylim(min(layers), max(layers) or 1)
    return style.figure_of(panels[0])


@style.styled
def plot_half_times(half_times: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw each layer's half-time over the mean of targets, with its interval over sources; the single targets as dots."""
    ax = ax or style.new_axes(style.COLUMN, 2.3)
    known = half_times[half_times["half_time"].notna()]
    single, mean = known[known["target_language"] != ""], known[known["target_language"] == ""]
    ax.plot(single["layer_label"].astype(int), single["half_time"], ".", color=style.MUTED, markersize=3, alpha=0.6)
    layers = mean["layer_label"].astype(int)
    ax.plot(layers, mean["half_time"], "o-", color=style.PALETTE[0], markersize=4, linewidth=1)
    ax.vlines(layers, mean["low"], mean["high"], color=style.PALETTE[0], linewidth=1)
    style.choose_ticks(ax.xaxis, integer=True)
    ax.set(xlabel="layer (0 = embeddings)", ylabel="half-time (steps)", ylim=(0, None))
    return ax


@style.styled
def plot_over_time(over_time: pd.DataFrame, analysis: str, predictor: str, ax: Axes | None = None) -> Axes:
    """Draw the coefficient of one analysis over the steps, a line per layer.

    Args:
        over_time: table ``coefficients_over_time``.
        analysis: one of its analyses.
        predictor: one of its predictors.
        ax: axes to draw on; None: those of a new figure.
    """
    rows = over_time[(over_time["analysis"] == analysis) & (over_time["predictor"] == predictor)]
    column = "r" if rows["r"].notna().any() else "pearson_r"
    ax = ax or style.new_axes(style.COLUMN, 2.3)
    labels = sorted(rows["layer_label"].unique())
    for position, label in enumerate(labels):
        line = rows[rows["layer_label"] == label].sort_values("step")
        colour = style.SEQUENTIAL(0.9 * position / max(len(labels) - 1, 1)) if len(labels) > 1 else style.PALETTE[0]
        ax.plot(line["step"], line[column], color=colour, linewidth=1.1, marker=".", markersize=3)
    ax.axhline(0, color=style.MUTED, linewidth=0.5, zorder=0)
    ax.set(xlabel="optimiser steps", ylabel="r" if column == "r" else "raw Pearson r", ylim=(-1, 1))
    ax.set_title(f"{analysis.replace('_', ' ')}{'' if predictor == 'impact' else f' ({predictor})'}", fontsize=7)
    return ax


def trajectory_section(analysis: Analysis) -> Section | Absent:
    """Write the section on when in training each layer moves, and what early steps predict."""
    if not has_rows(analysis, "trajectory"):
        return Absent(TITLE, "it needs at least three validations that all runs share (trainer.val_check_interval)")
    caption = (
        "Mean over targets and sources; bands are 95 % t intervals over sources (over seeds, from one source), cut off where they "
        "leave the axes."
    )
    table = analysis.tables["trajectory"]
    pictures = [Picture("trajectory", draw_trajectory(table), "Curves over the steps of training.", caption)]
    sheets = [Sheet("trajectory", table[table["target_language"] == ""], caption, is_folded=True)]
    paragraphs = ["Validations that all runs share, from the first to the last."]
    if has_rows(analysis, "half_times"):
        times = analysis.tables["half_times"]
        figure = style.figure_of(plot_half_times(times))
        text = "Steps at which impact reaches half of its final value: mean over targets with interval over sources; dots: targets."
        pictures.append(Picture("half_times", figure, describe_half_times(times), text))
        sheets.append(Sheet("half_times", times[times["target_language"] == ""], text))
        paragraphs.append(describe_half_times(times))
    if has_rows(analysis, "coefficients_over_time"):
        over_time = analysis.tables["coefficients_over_time"]
        pictures.append(
            Picture(
                "early_impact",
                style.figure_of(plot_over_time(over_time, EARLY, "impact")),
                "Curves of a correlation over the steps, one per layer.",
                "Impact at a step against the score at the end, over pairs S != T after source and target effects are removed; "
                "layers from dark (lowest) to light. Estimates without tests.",
            )
        )
        sheets.append(Sheet("coefficients_over_time", over_time, "Every analysis at every step.", is_folded=True))
    return Section("trajectory", TITLE, paragraphs, pictures, sheets)


def describe_half_times(half_times: pd.DataFrame) -> str:
    """Say which layer moves first and which last."""
    known = half_times[(half_times["target_language"] == "") & half_times["half_time"].notna()]
    if known.empty:
        return "No layer's impact rises above 0."
    first, last = known.loc[known["half_time"].idxmin()], known.loc[known["half_time"].idxmax()]
    return (
        f"Layer {int(first['layer_label'])} has made half of its way first, at step {first['half_time']:.0f}{_interval(first)}; "
        f"layer {int(last['layer_label'])} last, at step {last['half_time']:.0f}{_interval(last)}."
    )


def _interval(row: pd.Series) -> str:
    return f" (95 % interval {row['low']:.0f} to {row['high']:.0f})" if pd.notna(row["low"]) else ""
