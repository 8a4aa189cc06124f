"""Writes the section that asks the same question by every recorded measure of similarity, with a small figure for each."""

import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from xling.analysis.schema import IMPACT_VS_DISTANCE, Analysis
from xling.report.figures import style
from xling.report.figures.matrix import SIGNIFICANT, add_colour_bar, plot_correlation_heatmap
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words import frames
from xling.report.words.lookup import drop_blank_columns, has_rows
from xling.report.words.measures import name_measure

TITLE = "The same map by other measures"
COLUMNS = [
    "measure",
    "analysis",
    "predictor",
    "layer_label",
    "n_pairs",
    "r",
    "ci_low",
    "ci_high",
    "p_qap",
    "p_max_t",
    "p_bh",
]


@style.styled
def draw_measures(correlations: pd.DataFrame) -> Figure:
    """Draw the main coefficient of impact with distance by layer, one panel per measure, on one scale of colour.

    Args:
        correlations: table ``correlations_measures``.

    Returns:
        The figure; the main measure comes first.
    """
    tests = frames.select_analysis(correlations, IMPACT_VS_DISTANCE)
    measures = list(dict.fromkeys(tests["measure"]))
    n_columns = min(len(measures), 3)
    height = 0.8 + 0.2 * max(tests["layer_label"].nunique(), 6)
    panels = style.new_panels(len(measures), n_columns, style.PAGE, height, sharey=True)
    for ax, measure in zip(panels, measures, strict=True):
        plot_correlation_heatmap(tests[tests["measure"] == measure], ax, has_numbers=False)
        ax.set_title(name_measure(measure), loc="left", fontweight="bold")
        ax.set_ylabel("layer" if style.is_leftmost(ax) else "")
    add_colour_bar(panels, style.DIVERGING, Normalize(-1, 1), "coefficient")
    return style.figure_of(panels[0])


def measures_section(analysis: Analysis) -> Section | Absent:
    """Write the section with the maps by all recorded measures beside each other, where there is more than one measure."""
    if not has_rows(analysis, "correlations_measures"):
        return Absent(TITLE, "no impact was tested")
    table = analysis.tables["correlations_measures"]
    tests = table[table["analysis"] == IMPACT_VS_DISTANCE]
    if tests["measure"].nunique() < 2:
        return Absent(TITLE, "one measure was recorded; probe.similarity=[svcca,rsa,...] records others beside it")
    picture = Picture(
        "measures",
        draw_measures(table),
        "Heat maps of the coefficient of impact with each distance by layer, one per measure of similarity. "
        + _describe(tests),
        "Main coefficient of impact with distance, layer by layer, by every recorded measure of similarity; ** p ≤ .05 "
        "family-wise, * by false discovery rate, each measure corrected within its own family. The table has the numbers.",
    )
    shown = drop_blank_columns(table, COLUMNS)
    sheet = Sheet("correlations_measures", shown, "All coefficients by every measure.", is_folded=True)
    return Section("measures", TITLE, [_describe(tests)], [picture], [sheet])


def _describe(tests: pd.DataFrame) -> str:
    """Count, per measure, the cells that survive the correction within its own family."""
    counts = []
    for measure, rows in tests.groupby("measure", sort=False):
        found = int((rows["p_max_t"] <= SIGNIFICANT).sum())
        counts.append(f"{name_measure(measure)} {found} of {int(rows['r'].notna().sum())}")
    return f"Coefficients that survive family-wise correction: {'; '.join(counts)}."
