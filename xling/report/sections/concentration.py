"""Writes the section on what a large impact consists of: a few directions, a few groups of examples, or the whole space."""

import pandas as pd

from xling.analysis.questions.concentration import CONCENTRATION
from xling.analysis.schema import Analysis
from xling.report.section import Absent, Section, Sheet
from xling.report.words import numbers
from xling.report.words.lookup import drop_blank_columns, has_rows, main_strategy

TITLE = "What the impact consists of"
LARGE = 0.05
"""Smallest impact of a cell that the text mentions."""


def concentration_section(analysis: Analysis) -> Section | Absent:
    """Write the section on where a large impact is due to a few directions, a few groups of examples, or the whole space."""
    if not has_rows(analysis, "concentration"):
        return Absent(TITLE, "no shares were measured (probe.uncertainty=[jackknife,concentration])")
    table = analysis.tables["concentration"]
    rows = table[table["strategy"] == main_strategy(analysis)]
    large = rows[rows["impact"] >= LARGE]
    text = f"No layer has an impact of {LARGE:g} or more." if large.empty else _describe(large)
    note = (
        "Shares of the impact that are gone without the first one or three principal components of base and fine-tuned "
        "representations together, and without the 1 % of groups of examples that influence it most."
    )
    sheet = Sheet("concentration", drop_blank_columns(rows, list(CONCENTRATION)[1:]), note, is_folded=True)
    return Section("concentration", TITLE, [text, note], [], [sheet], ["kornblith2019"])


def _describe(large: pd.DataFrame) -> str:
    n = len(large)
    kinds = large["carried_by"].value_counts()
    each = numbers.listing([f"{kind} in {count}" for kind, count in kinds.items()])
    text = f"Of {numbers.plural(n, 'cell')} of pair and layer with an impact of {LARGE:g} or more, it is {each}."
    few = large[large["carried_by"].isin(["a few groups", "a few directions"])]
    if few.empty:
        return text
    top = few.sort_values("impact", ascending=False, kind="stable").head(3)
    names = [
        f"{row['source_language']}→{row['target_language']} at layer {row['layer']} ({row['carried_by']})"
        for row in top.to_dict("records")
    ]
    return f"{text} The largest of a few directions or groups: {numbers.listing(names)}."
