"""Writes the section on whether source and target stay alike on the same examples, and draws its figure."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xling.analysis.schema import Analysis
from xling.report.figures import style
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words import frames, numbers
from xling.report.words.lookup import drop_blank_columns, has_rows, main_strategy

TITLE = "Alignment of source and target"
COLUMNS = [
    "source_language",
    "target_language",
    "layer",
    "measure",
    "n_examples",
    "before",
    "after",
    "change",
    "reason",
]


@style.styled
def plot_alignment(alignment: pd.DataFrame, ax: Axes | None = None, source_language: str | None = None) -> Axes:
    """Draw similarity of source and targets against layer, before and after fine-tuning.

    Args:
        alignment: table ``alignment``; one strategy and its first measure are shown.
        ax: axes to draw on; None: those of a new figure.
        source_language: the first by name by default.

    Returns:
        The axes: means over targets as lines, the range over targets as ribbons.
    """
    rows = _main_measure(frames.one_strategy(alignment))
    rows = rows[rows["source_language"] == (source_language or min(rows["source_language"]))]
    ax = ax or style.new_axes(style.COLUMN, 2.4)
    for when, colour, line in (("before", style.MUTED, "--"), ("after", style.PALETTE[0], "-")):
        over = rows.groupby("layer")[when].agg(["mean", "min", "max"])
        ax.plot(over.index, over["mean"], color=colour, linestyle=line, label=f"{when} fine-tuning")
        ax.fill_between(over.index, over["min"], over["max"], color=colour, alpha=0.15, linewidth=0)
    style.choose_ticks(ax.xaxis, integer=True)
    ax.set(xlabel="layer (0 = embeddings)", ylabel=f"similarity ({rows['measure'].iloc[0]})")
    return ax


@style.styled
def draw_alignment(alignment: pd.DataFrame) -> Figure:
    """Draw :func:`plot_alignment` for every source language, side by side on one vertical scale."""
    sources = sorted(frames.one_strategy(alignment)["source_language"].unique())
    n_columns = 1 if len(sources) == 1 else 2 if len(sources) <= 4 else 3
    width = style.PAGE if n_columns > 1 else style.COLUMN
    panels = style.new_panels(len(sources), n_columns, width, 2.0, sharey=True)
    for ax, source in zip(panels, sources, strict=True):
        plot_alignment(alignment, ax, source)
        ax.set_title(f"source: {source}", fontweight="bold")
        if not style.is_leftmost(ax):
            ax.set_ylabel("")
    panels[0].legend(loc="best")
    return style.figure_of(panels[0])


def alignment_section(analysis: Analysis) -> Section | Absent:
    """Write the section on how alike source and target are on parallel examples, before and after fine-tuning."""
    if not has_rows(analysis, "alignment"):
        return Absent(TITLE, "no alignment was measured")
    table = analysis.tables["alignment"]
    rows = table[table["strategy"] == main_strategy(analysis)]
    known = _main_measure(rows).dropna(subset=["before", "after"])
    if known.empty:
        reasons = "; ".join(sorted({str(reason) for reason in rows["reason"] if reason}))
        return Absent(TITLE, reasons or "no similarity from before training was recorded")
    text = _describe(known)
    picture = Picture(
        "alignment",
        draw_alignment(known),
        f"Line charts of similarity between source and target against layer, one panel per source. {text}",
        f"Similarity ({known['measure'].iloc[0]}) of the source’s and the target’s representations of the same "
        f"{numbers.plural(int(known['n_examples'].max()), 'example')}, before (dashed) and after fine-tuning (solid): "
        "mean over targets, with their range.",
    )
    sheet = Sheet("alignment", drop_blank_columns(rows, COLUMNS), "Alignment per pair and layer.", is_folded=True)
    return Section("alignment", TITLE, [text], [picture], [sheet], ["kornblith2019"])


_FIRST = ("cka_grouped", "cka_debiased")


def _main_measure(rows: pd.DataFrame) -> pd.DataFrame:
    names = list(rows["measure"].unique())
    return rows[rows["measure"] == next((name for name in _FIRST if name in names), names[0])]


def _describe(known: pd.DataFrame) -> str:
    means = known.groupby("layer")[["before", "after", "change"]].mean()
    most, last = means["change"].abs().idxmax(), means.index.max()
    pairs = numbers.plural(known.groupby(["source_language", "target_language"]).ngroups, "pair")
    lost = known[known["layer"] == last].groupby("target_language")["change"].mean().sort_values(kind="stable")
    worst = numbers.listing([f"{target} ({numbers.coefficient(change)})" for target, change in lost.head(3).items()])
    return (
        f"Averaged over {pairs}, similarity changes most at layer {most}, from "
        f"{numbers.coefficient(means.loc[most, 'before'])} to {numbers.coefficient(means.loc[most, 'after'])}. "
        f"At the last layer ({last}) the largest losses, averaged over sources, are those of {worst}."
    )
