"""Writes the section on measurement error."""

import pandas as pd

from xling.analysis.schema import MEAN_LABEL, Analysis
from xling.report.section import Absent, Section, Sheet
from xling.report.words import numbers
from xling.report.words.lookup import drop_blank_columns, has_rows, metric_name

TITLE = "Measurement error"
COLUMNS = [
    *("outcome", "layer_label", "n_cells", "noise_from", "noise_sd", "sd", "sd_demeaned", "reliability"),
    *("reliability_demeaned", "reason"),
]


def reliability_section(analysis: Analysis) -> Section | Absent:
    """Write the section on how much of impact and score is noise."""
    if not has_rows(analysis, "reliability") or analysis.tables["reliability"]["reliability"].isna().all():
        return Absent(TITLE, "noise is known from several seeds, a jackknife, or the number of examples of an accuracy")
    table = analysis.tables["reliability"]
    shown = table[table["layer_label"].isin(["", MEAN_LABEL])].dropna(subset="reliability")
    text = [_describe(row, metric_name(analysis)) for _, row in shown.iterrows()]
    sheets = [
        Sheet("reliability", drop_blank_columns(table, COLUMNS), "Noise and reliability.", is_folded=len(table) > 15)
    ]
    if has_rows(analysis, "disattenuated"):
        caption = "Main coefficients, and what they would be without noise in the outcome; not tested by themselves."
        sheets.append(Sheet("disattenuated", analysis.tables["disattenuated"], caption, is_folded=True))
    return Section("reliability", TITLE, text, sheets=sheets)


def _describe(row: pd.Series, metric: str) -> str:
    name = metric if row["outcome"] == "score" else "mean impact"
    raw = f"{numbers.percent(1 - row['reliability'])} of the variance of {name} over pairs is noise"
    if numbers.is_missing(row["reliability_demeaned"]):
        return f"{raw} (from {row['noise_from']})."
    most = "" if row["noise_from"] == "seeds" else "at most "
    left = f"{most}{numbers.percent(1 - row['reliability_demeaned'])}"
    return f"{raw}, and {left} of what source and target effects leave (from {row['noise_from']})."
