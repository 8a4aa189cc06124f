"""Writes the section on the specification curve."""

import pandas as pd

from xling.analysis.questions.specifications import CHOICES
from xling.analysis.schema import Analysis
from xling.report.figures.specification_curve import draw_specification_curve
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words import numbers
from xling.report.words.lookup import has_rows

TITLE = "How far results hang on choices"
LEVEL = 0.05


def specifications_section(analysis: Analysis) -> Section | Absent:
    """Write the section on every way of computing the association of distance with impact, and with transfer."""
    if not has_rows(analysis, "specifications") or analysis.tables["specifications"]["r"].isna().all():
        return Absent(TITLE, "no association with distance was computed")
    table = analysis.tables["specifications"]
    known = table.dropna(subset="r")
    by_question = list(known.groupby("question", sort=True))
    text = [describe_curve(question, rows) for question, rows in by_question]
    text += [told for question, rows in by_question if (told := describe_choices(question, rows))]
    pictures = [_picture(question, rows) for question, rows in by_question]
    caption = "All specifications; p family-wise over all of one question."
    sheet = Sheet("specifications", table, caption, is_folded=True)
    return Section("specifications", TITLE, text, pictures, [sheet], ["westfall1993"])


def describe_curve(question: str, rows: pd.DataFrame) -> str:
    """Count specifications by sign and verdict, and name single languages that carry a verdict."""
    clear = rows[rows["p_max_t"] <= LEVEL]
    median = numbers.coefficient(rows["r"].median())
    text = (
        f"Distance and {question}: {numbers.plural(len(rows), 'specification')}, median r\xa0=\xa0{median}, from "
        f"{numbers.coefficient(rows['r'].min())} to {numbers.coefficient(rows['r'].max())}; {len(clear)} differ from 0 "
        f"family-wise over all of them ({int((clear['r'] < 0).sum())} negative, {int((clear['r'] > 0).sum())} positive)."
    )
    carried = sorted(set(clear.loc[clear["carried_by"].fillna("") != "", "carried_by"]))
    return (
        f"{text} Of these, less than half is left without one language: {numbers.listing(carried)}."
        if carried
        else text
    )


def describe_choices(question: str, rows: pd.DataFrame) -> str:
    """Count, for each dimension in which specifications differ, how many of each choice differ from 0."""
    parts = []
    for choice, words in CHOICES.items():
        counts = (rows["p_max_t"] <= LEVEL).groupby(rows[choice], sort=True).agg(["sum", "size"])
        if len(counts) > 1:
            shown = [f"{name} {clear} of {n}" for name, clear, n in counts.itertuples()]
            parts.append(f"by {words}: {', '.join(shown)}")
    return f"Those of distance and {question} that differ from 0, {'; '.join(parts)}." if parts else ""


def _picture(question: str, rows: pd.DataFrame) -> Picture:
    return Picture(
        f"specifications_{question}",
        draw_specification_curve(rows),
        f"Specification curve. {describe_curve(question, rows)}",
        f"Distance and {question} under every specification: raw values or source and target effects removed, source and kind of "
        "distance, and outcome. Filled, and marked in colour: p ≤ .05 family-wise over the curve (max-T); bars: range with one "
        "language left out, as source or as target.",
    )
