"""Writes the first section of the page, which says what the study shows about each claim."""

import pandas as pd

from xling.analysis.claims import CONTRADICTED, NOT_SHOWN, NOT_TESTED, SUPPORTED
from xling.analysis.schema import Analysis
from xling.report.section import Absent, Section, Sheet
from xling.report.words import numbers
from xling.report.words.lookup import has_rows

TITLE = "Claims and verdicts"
COLUMNS = {
    "text": "claim",
    "verdict": "verdict",
    "tests": "tests that bear it out",
    "decided_by": "decided by",
    "r": "coefficient",
    "interval": "95 % interval",
    "p_family_wise": "family-wise p",
    "detectable": "detectable coefficient",
}
_HOW = (
    "A claim is supported where its tests have a family-wise p of at most .05 and the claimed direction: each of them if it has to "
    "hold for every one, one of them if any is enough. It is contradicted where the 95 % intervals leave no coefficient of the "
    "claimed direction and strength: of one of the tests, or of all of them. Anything else is not shown; the last column is the "
    "smallest coefficient that this design finds in 80 % of studies. The coefficient is the main one, as in the sections below."
)


def claims_section(analysis: Analysis) -> Section | Absent:
    """Write the section on claims, a row per claim: verdict, deciding test, and what the design could have shown."""
    if not has_rows(analysis, "claims"):
        return Absent(TITLE, "no claims were given, or nothing was tested")
    table = analysis.tables["claims"]
    sheet = Sheet("claims", _shown(table), "Claims, each with its verdict and the test that decides.")
    return Section(
        "claims", TITLE, [_HOW, *map(_untested, _rows(table[table["verdict"] == NOT_TESTED]))], sheets=[sheet]
    )


def describe_claims(table: pd.DataFrame) -> str:
    """Count the verdicts and name the claims, in one or two sentences."""
    parts = []
    for verdict in (SUPPORTED, CONTRADICTED, NOT_SHOWN, NOT_TESTED):
        texts = table.loc[table["verdict"] == verdict, "text"]
        if len(texts):
            parts.append(f"{verdict.capitalize()}: {' '.join(text.strip() for text in texts)}")
    return " ".join(parts)


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    interval = [numbers.interval(row["ci_low"], row["ci_high"]) for row in _rows(table)]
    tests = [f"{row['n_bearing_out']} of {row['n_tests']} ({row['holds_for']})" for row in _rows(table)]
    return table.assign(interval=interval, tests=tests)[list(COLUMNS)].rename(columns=COLUMNS)


def _rows(table: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in table.iterrows()]


def _untested(row: pd.Series) -> str:
    return f"Not tested: {row['text']} ({row['reason']})"
