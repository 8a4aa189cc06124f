"""Writes the section on all distances and controls in one model."""

import pandas as pd

from xling.analysis.schema import MEAN_LABEL, Analysis
from xling.report.section import Absent, Section, Sheet
from xling.report.words import numbers
from xling.report.words.lookup import drop_blank_columns, has_rows, metric_name

TITLE = "All distances in one model"
LEVEL = 0.05
HIGH_VIF = 10
COLUMNS = [
    *("outcome", "predictor", "n_pairs", "beta", "partial_r", "p_qap", "p_max_t", "se_dyadic", "p_dyadic", "total"),
    *("unique", "shared", "vif", "reason"),
]


def joint_section(analysis: Analysis) -> Section | Absent:
    """Write the section on what each distance adds to the others."""
    if not has_rows(analysis, "joint_models"):
        return Absent(TITLE, "it needs at least two distances or controls, known for half of the pairs")
    table = analysis.tables["joint_models"]
    metric = metric_name(analysis)
    text = [_describe(rows, metric) for _, rows in table.groupby("outcome", sort=True)]
    caption = (
        "Multiple regression over pairs, source and target effects in the model wherever several sources allow it. p: the "
        "predictor’s residual on all others is relabelled (MRQAP, double semi-partialling). se dyadic: robust to any dependence of "
        "pairs that share a language. total, unique, shared: of the variance that source and target effects leave."
    )
    sheet = Sheet("joint_models", drop_blank_columns(table, COLUMNS), caption, is_folded=len(table) > 15)
    return Section("joint", TITLE, text, sheets=[sheet], references=["krackhardt1988", "dekker2007", "aronow2015"])


def _describe(rows: pd.DataFrame, metric: str) -> str:
    outcome = metric if rows["outcome"].iloc[0] == "score" else f"impact ({MEAN_LABEL})"
    known = rows[rows["p_max_t"].notna()] if "p_max_t" in rows else rows.iloc[:0]
    if known.empty:
        return f"{outcome}: not tested ({'; '.join(sorted(set(rows['reason'])))})."
    kept = known[known["p_max_t"] <= LEVEL]
    explained = numbers.percent(float(known["r_squared"].iloc[0]))
    intro = f"{outcome}: all {numbers.plural(len(known), 'predictor')} together explain {explained}"
    named = "; ".join(
        f"{row['predictor']} (β\xa0=\xa0{numbers.coefficient(row['beta'])}, unique {numbers.percent(row['unique'])}, family-wise "
        f"{numbers.p_value(row['p_max_t'])})"
        for _, row in kept.iterrows()
    )
    verb = "differs" if len(kept) == 1 else "differ"
    adds = (
        f"given all others {named} {verb} from 0" if len(kept) else "given all others none differs from 0 family-wise"
    )
    alike = known.loc[known["vif"] > HIGH_VIF, "predictor"].tolist()
    note = (
        f" Too alike to be told apart (variance inflation above {HIGH_VIF}): {numbers.listing(alike)}." if alike else ""
    )
    return f"{intro}; {adds}.{note}"
