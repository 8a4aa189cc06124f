"""Writes the section on distance, impact and transfer as a path diagram."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xling.analysis.schema import MEAN_LABEL, Analysis
from xling.report.figures import style
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words import frames, numbers, phrases
from xling.report.words.lookup import drop_blank_columns, has_impact, has_rows

BOXES = {"distance": (0.16, 0.34), "impact": (0.5, 0.84), "outcome": (0.84, 0.34)}
LEVEL = 0.05
TITLE = "Distance, impact and transfer together"
COLUMNS = [
    *(
        "predictor",
        "layer_label",
        "is_demeaned",
        "n_pairs",
        "n_languages",
        "total",
        "direct",
        "indirect",
        "indirect_low",
    ),
    *("indirect_high", "p_qap_total", "p_qap_indirect", "share", "share_low", "share_high", "reason"),
]


def main_effects(mediation: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows on the absolute score and mean impact, in the order of the distances.

    Source and target effects are removed from them, unless the design then leaves nothing.
    """
    rows = mediation[(mediation["outcome"] == "score") & (mediation["layer_label"] == MEAN_LABEL)]
    demeaned = rows["is_demeaned"].astype(bool)
    rows = rows[demeaned] if demeaned.any() else rows
    order = frames.distance_order(rows["predictor"])
    return rows.set_index("predictor", drop=False).loc[order].reset_index(drop=True)


@style.styled
def plot_mediation(mediation: pd.DataFrame, ax: Axes | None = None, predictor: str | None = None) -> Axes:
    """Draw the path diagram of one distance: distance -> impact -> score and the direct path.

    Args:
        mediation: table ``mediation``; the score as outcome and the mean over layers are shown.
        ax: axes to draw on; None: those of a new figure.
        predictor: distance kind; the first by default.

    Returns:
        The axes; numbers are standardised slopes, below them the indirect effect, its interval, p and share.
    """
    rows = main_effects(mediation)
    row = rows[rows["predictor"] == (predictor or rows["predictor"].iloc[0])].iloc[0]
    ax = ax or style.new_axes(style.COLUMN, 1.9)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_axis_off()
    names = {"distance": f"{row['predictor']}\ndistance", "impact": "impact\n(mean)", "outcome": "zero-shot\nscore"}
    frame = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": style.INK, "linewidth": 0.8}
    boxes = {key: ax.text(*BOXES[key], name, ha="center", va="center", bbox=frame) for key, name in names.items()}
    for start, end in (("distance", "impact"), ("impact", "outcome"), ("distance", "outcome")):
        line = {"arrowstyle": "-|>", "color": style.INK, "linewidth": 0.9}
        ends = {"patchA": boxes[start].get_bbox_patch(), "patchB": boxes[end].get_bbox_patch()}
        ax.annotate("", BOXES[end], BOXES[start], arrowprops=line | ends)
    ax.text(0.28, 0.66, numbers.coefficient(row["path_a"]) or "–", ha="right", color=style.PALETTE[0])
    ax.text(0.72, 0.66, numbers.coefficient(row["path_b"]) or "–", ha="left", color=style.PALETTE[0])
    ax.text(0.5, 0.38, f"direct {numbers.coefficient(row['direct']) or '–'}", ha="center", color=style.PALETTE[0])
    ax.text(0.5, 0.26, f"total {numbers.coefficient(row['total']) or '–'}", ha="center", color=style.MUTED, fontsize=7)
    ax.text(0.5, 0.06, describe_indirect(row), ha="center", fontsize=7)
    return ax


def describe_indirect(row: pd.Series) -> str:
    """State the indirect effect with interval and p, or why there is none."""
    if numbers.is_missing(row["indirect"]):
        return "indirect not available"
    parts = [f"indirect {numbers.coefficient(row['indirect'])}"]
    parts.append(numbers.interval(row["indirect_low"], row["indirect_high"]))
    parts.append(numbers.p_value(row["p_qap_indirect"]))
    return ", ".join(part for part in parts if part)


@style.styled
def draw_mediation(mediation: pd.DataFrame) -> Figure:
    """Draw :func:`plot_mediation` for every distance with a total effect."""
    predictors = main_effects(mediation).dropna(subset=["total"])["predictor"].tolist()
    panels = style.new_panels(len(predictors), 2, style.PAGE, 1.75)
    for ax, predictor in zip(panels, predictors, strict=True):
        plot_mediation(mediation, ax, predictor)
    return style.figure_of(panels[0])


def mediation_section(analysis: Analysis) -> Section | Absent:
    """Write the section on how much of the association of distance with transfer goes through impact."""
    if not has_rows(analysis, "mediation"):
        reason = "it needs a score and a distance" if has_impact(analysis) else "no impact was measured"
        return Absent(TITLE, reason)
    rows = main_effects(analysis.tables["mediation"])
    if rows.empty:
        return Absent(TITLE, "there is no row on score and mean impact")
    missing = phrases.reasons(rows.assign(layer_label="")[rows["total"].isna()])
    text = [
        _describe_form(rows),
        _describe(rows),
        _describe_shares(rows),
        f"Not available: {missing}." if missing else "",
    ]
    every = analysis.tables["mediation"]
    shown = drop_blank_columns(every, ["outcome", *COLUMNS])
    sheet = Sheet("mediation", shown, "Effects for every outcome, distance and layer.", is_folded=len(shown) > 15)
    pictures = [] if rows["total"].isna().all() else [_picture(rows)]
    return Section("mediation", TITLE, text, pictures, [sheet], ["baron1986"])


def _picture(rows: pd.DataFrame) -> Picture:
    return Picture(
        "mediation",
        draw_mediation(rows),
        "Path diagrams, one per distance. "
        + "; ".join(f"{row['predictor']}: {describe_indirect(row)}" for _, row in rows.iterrows()),
        "Standardised slopes over pairs S ≠ T: distance to impact, impact to score given distance, and the direct "
        f"and total slope of score on distance ({_size(rows)} pairs). Indirect = product of the two upper paths, "
        "with a language-level bootstrap interval; its p-value is the larger of the QAP p-values of the two paths, not "
        "corrected for the number of distances.",
    )


def _describe_form(rows: pd.DataFrame) -> str:
    if rows["is_demeaned"].all():
        return (
            "Source and target effects are removed from distance, impact and score: a source that trains badly moves little "
            "and scores badly, which would look like an indirect path."
        )
    return (
        "From one source, or to one target, nothing is left without source and target effects: these are raw associations, "
        "to which easy targets contribute."
    )


def _size(rows: pd.DataFrame) -> str:
    return phrases.range_of(rows.loc[rows["total"].notna(), "n_pairs"])


def _describe(rows: pd.DataFrame) -> str:
    tested = rows["p_qap_indirect"].notna().sum()
    kept = rows[rows["p_qap_indirect"] <= LEVEL]
    intro = "Indirect paths are associations: a common cause of impact and transfer would look the same."
    if tested == 0:
        return f"{intro} No indirect path could be tested."
    if kept.empty:
        return f"{intro} Of {numbers.plural(int(tested), 'indirect path')} none has p ≤ .05, uncorrected."
    named = "; ".join(f"{row['predictor']} distance ({describe_indirect(row)})" for _, row in kept.iterrows())
    return f"{intro} Of {numbers.plural(int(tested), 'indirect path')} {len(kept)} with p ≤ .05, uncorrected: {named}."


def _describe_shares(rows: pd.DataFrame) -> str:
    known = rows[(rows["p_qap_total"] <= LEVEL) & rows["share"].notna()]
    if known.empty:
        return "No distance has a total association with p ≤ .05 and a share along impact, so no share is stated."
    shares = "; ".join(_describe_share(row) for _, row in known.iterrows())
    return f"Share of the total association that runs along impact, where that total has p ≤ .05: {shares}."


def _describe_share(row: pd.Series) -> str:
    spread = numbers.interval(row["share_low"], row["share_high"]) or "no interval"
    size = f"{numbers.coefficient(row['share'])} ({spread}, n\xa0=\xa0{int(row['n_pairs'])} pairs)"
    opposed = "" if 0 <= row["share"] <= 1 else ", no share proper: direct and indirect path oppose each other"
    return f"{row['predictor']} {size}{opposed}"
