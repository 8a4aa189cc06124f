"""Writes the section that compares interventions on layers and says what impact does to transfer, and draws its figures."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xling.analysis.questions.interventions import IMPACT_TREATED
from xling.analysis.schema import Analysis
from xling.report.figures import style
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.sections.freezing import NAMES, describe_freezing
from xling.report.words import numbers
from xling.report.words.lookup import drop_blank_columns, has_rows, main_strategy

TITLE = "Interventions"
PANELS = ("source_score", "mean_target_score", "transfer_gap", IMPACT_TREATED)
COLUMNS = [
    *(
        "strategy",
        "kind",
        "layers",
        "dose",
        "reference",
        "metric",
        "strategy_mean",
        "reference_mean",
        "change",
        "low",
        "high",
    ),
    *("over", "n_pairs", "n_sources", "n_seeds", "reason"),
]
ASSUMPTIONS = (
    "The effect per unit of impact is the ratio of what the assigned dose does to the score and what it does to a layer's impact. "
    "It is an effect of impact only if the dose acts on the score through that impact alone (exclusion). Reverting layers under a "
    "head trained on the fine-tuned ones, and holding layers while the task is learnt, change more than impact, so that a ratio "
    "here may be an effect of the treatment expressed per impact. The naive slope beside it is no effect of anything."
)


@style.styled
def plot_interventions(interventions: pd.DataFrame, ax: Axes | None = None, metric: str = "mean_target_score") -> Axes:
    """Draw the change of one metric for every treatment against its reference, with its interval.

    Args:
        interventions: table ``interventions``.
        ax: axes to draw on; None: those of a new figure.
        metric: one of its metrics.

    Returns:
        The axes: a row per treatment and reference, a colour and marker per kind; hollow points have no interval.
    """
    names, kinds = _names(interventions), sorted(interventions["kind"].unique())
    ax = ax or style.new_axes(style.COLUMN, 0.8 + 0.22 * len(names))
    places = {pair: y for y, pair in enumerate(names)}
    rows = interventions[interventions["metric"] == metric].drop_duplicates(["strategy", "reference"])
    for _, row in rows.iterrows():
        y, look = places[row["strategy"], row["reference"]], kinds.index(row["kind"]) % len(style.PALETTE)
        has_interval = pd.notna(row["low"])
        ax.plot([row["low"], row["high"]], [y, y], color=style.PALETTE[look], linewidth=1.2)
        face = style.PALETTE[look] if has_interval else "white"
        ax.plot(row["change"], y, style.MARKERS[look], color=style.PALETTE[look], markersize=4.5, mfc=face)
    ax.axvline(0, color=style.MUTED, linewidth=0.6, zorder=0)
    ax.set_yticks(range(len(names)), list(names.values()))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(f"change in {NAMES.get(metric, 'impact at these layers')}")
    style.choose_ticks(ax.xaxis, at_most=4)
    return ax


def _names(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Name every comparison by what was done to which layers, and by its reference where that is not the baseline.

    >>> rows = [("a", "none", "anchor", "1-4", 0.1), ("r", "none", "revert", "1-4", 1.0), ("f", "r", "freeze", "1-4", 1.0)]
    >>> list(_names(pd.DataFrame(rows, columns=["strategy", "reference", "kind", "layers", "dose"])).values())
    ['anchor 1-4, dose 0.1', 'revert 1-4', 'freeze 1-4 against revert 1-4']
    """
    baseline = table["reference"].iloc[0] if len(table) else ""
    pairs, short = table.drop_duplicates(["strategy", "reference"]), _short_names(table)
    return {
        (strategy, reference): short[strategy]
        + ("" if reference == baseline else f" against {short.get(reference, reference)}")
        for strategy, reference in zip(pairs["strategy"], pairs["reference"], strict=True)
    }


def _short_names(table: pd.DataFrame) -> dict[str, str]:
    """Give kind, layers and dose of every strategy; its own name where these do not tell it from another."""
    first = table.drop_duplicates("strategy").set_index("strategy")
    has_doses = first.groupby(["kind", "layers"])["dose"].transform("nunique").gt(1) | first["dose"].ne(1)
    doses = first["dose"].map(", dose {:g}".format).where(has_doses, "")
    words = first["kind"] + " " + first["layers"] + doses
    return words.where(~words.duplicated(keep=False), first.index.to_series()).to_dict()


@style.styled
def draw_interventions(interventions: pd.DataFrame) -> Figure:
    """Draw :func:`plot_interventions` for source score, target score, gap and impact at the treated layers."""
    measured = set(interventions.loc[interventions["change"].notna(), "metric"])
    metrics = [metric for metric in PANELS if metric in measured]
    height = 0.75 + 0.2 * len(_names(interventions))
    panels = style.new_panels(len(metrics), 2, style.PAGE, height, sharey=True)
    for ax, metric in zip(panels, metrics, strict=True):
        plot_interventions(interventions, ax, metric)
    return style.figure_of(panels[0])


def interventions_section(analysis: Analysis) -> Section | Absent:
    """Write the section that sets freezing, anchoring, reverting, swapping and averaging beside each other."""
    if not has_rows(analysis, "interventions"):
        return Absent(TITLE, "it needs runs of an intervention (intervention=..., xling-restore) beside the baseline's")
    table = analysis.tables["interventions"]
    if not set(PANELS) & set(table.loc[table["change"].notna(), "metric"]):
        return Absent(TITLE, "no treatment shares a source language and seed with its reference")
    picture = Picture(
        "interventions",
        draw_interventions(table),
        f"Dot plots of changes by treatment. {describe_freezing(table)}",
        f"Change against {main_strategy(analysis)}, or against the treatment that is named: mean of differences paired over source "
        "language, seed and, where predictions were stored, example, with its 95 % interval. Hollow: no interval.",
    )
    sheets = [Sheet("interventions", drop_blank_columns(table, COLUMNS), "All comparisons.", is_folded=True)]
    paragraphs, clear = [describe_freezing(table)], table[(table["low"] > 0) | (table["high"] < 0)]
    if has_rows(analysis, "cause"):
        paragraphs += [describe_cause(analysis.tables["cause"]), ASSUMPTIONS]
        caption = "Effects from assigned doses: first stage, reduced form and their ratio per treatment and layer."
        sheets.append(Sheet("cause", analysis.tables["cause"], caption, is_folded=True))
    shown = clear[clear["metric"].isin(PANELS)]
    return Section("interventions", TITLE, paragraphs, [picture], sheets, points=shown["verdict"].tolist())


def describe_cause(cause: pd.DataFrame) -> str:
    """Count at how many layers the doses say anything of impact's effect, and in which direction."""
    rows = cause.drop_duplicates(["treatment", "layer_label"])
    known = rows[np.isfinite(rows["effect_low"])]
    if known.empty:
        return "No treatment's doses allow an interval for the effect of impact."
    worse, better = (known["effect_high"] < 0).sum(), (known["effect_low"] > 0).sum()
    return (
        f"At {len(known)} of {numbers.plural(len(rows), 'pair')} of treatment and layer the doses allow an interval for the change "
        f"of score per unit of impact: {worse} below 0 (more impact, lower score), {better} above 0, the others include 0."
    )
