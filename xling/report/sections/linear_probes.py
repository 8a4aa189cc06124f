"""Writes the section on what a linear classifier can read from the layers: label and language, before and after training."""

import pandas as pd

from xling.analysis.questions.linear_probes import LINEAR_PROBES
from xling.analysis.schema import Analysis
from xling.report.section import Absent, Section, Sheet
from xling.report.words import numbers
from xling.report.words.lookup import drop_blank_columns, has_rows, main_strategy

TITLE = "What can be read from the layers"


def linear_probes_section(analysis: Analysis) -> Section | Absent:
    """Write the section on how well labels and languages can be read from each layer, before and after training."""
    if not has_rows(analysis, "linear_probes"):
        return Absent(TITLE, "no linear classifier was fitted (probe.linear_probes=true)")
    table = analysis.tables["linear_probes"]
    rows = table[table["strategy"] == main_strategy(analysis)]
    others = rows[rows["source_language"] != rows["target_language"]]
    means = (others if len(others) else rows).groupby("layer").mean(numeric_only=True)
    note = (
        "Linear discriminant classifiers, fitted on four fifths of the groups of examples and tried on the rest. The classifier of "
        "labels is fitted within each target on that target's own labels: a diagnosis, no zero-shot score. Estimates without tests."
    )
    sheet = Sheet("linear_probes", drop_blank_columns(rows, list(LINEAR_PROBES)[1:]), note, is_folded=True)
    return Section("linear_probes", TITLE, [_describe(means, bool(len(others))), note], [], [sheet])


def _describe(means: pd.DataFrame, is_of_pairs: bool) -> str:
    whom = "over pairs of a source and another target" if is_of_pairs else "over the sources themselves"
    parts = []
    if means["label_after"].notna().any():
        parts.append(
            _change(
                means,
                "label",
                "the label",
                f"the most frequent label: {numbers.percent(means['label_majority'].max())}",
            )
        )
    if means["language_after"].notna().any():
        chance = f"guessing: {numbers.percent(1 / means['n_languages'].iloc[0])}"
        parts.append(_change(means, "language", "the language", chance))
    return f"Means {whom}: " + "; ".join(parts) + "." if parts else "Nothing could be read; the table says why."


def _change(means: pd.DataFrame, what: str, name: str, chance: str) -> str:
    """Say at which layer reading has changed most, and how it has changed at the top layer."""
    before, after = means[f"{what}_before"], means[f"{what}_after"]
    if before.isna().all():
        best = after.idxmax()
        return f"{name} is read best at layer {best}, {numbers.percent(after[best])} ({chance})"
    layer, top = (after - before).abs().idxmax(), means.index.max()
    said = [
        f"{numbers.percent(before[i])} before and {numbers.percent(after[i])} after at layer {i}" for i in (layer, top)
    ]
    return f"{name} is read in {' and in '.join(dict.fromkeys(said))} ({chance})"
