"""Lists the findings at the top of the page, in short, for readers who are no statisticians; the tests are in the sections."""

import pandas as pd

from xling.analysis.schema import IMPACT_VS_DISTANCE, IMPACT_VS_TRANSFER, TRANSFER_VS_DISTANCE, Analysis
from xling.report.sections.claims import describe_claims
from xling.report.sections.freezing import describe_freezing
from xling.report.sections.transfer_and_impact import describe_transfer
from xling.report.words import frames, plain
from xling.report.words.lookup import has_rows, metric_name, tests_of, variance_of

TITLES = {
    IMPACT_VS_DISTANCE: "Impact and distance",
    IMPACT_VS_TRANSFER: "Impact and transfer",
    TRANSFER_VS_DISTANCE: "Transfer and distance",
}


def list_findings(analysis: Analysis) -> list[tuple[str, str]]:
    """Say in a few sentences each what transfer, the correlation analyses and freezing show.

    Returns:
        (title, text), in the order of the page. Analyses that were not made are absent, and those that show nothing share
        the last line but one.
    """
    lines = []
    if has_rows(analysis, "claims"):
        lines.append(("Claims", describe_claims(analysis.tables["claims"])))
    if has_rows(analysis, "pairs"):
        scores = [*describe_transfer(analysis), variance_of(analysis, "score")]
        lines.append((frames.capitalised(metric_name(analysis)), " ".join(scores)))
    lines += _associations(analysis)
    if has_rows(analysis, "freezing"):
        lines.append(("Freezing", describe_freezing(analysis.tables["freezing"])))
    return lines


def explain_findings(analysis: Analysis) -> str:
    """Say once what the coefficients among the findings compare; empty where there is none."""
    return plain.how_to_read(pd.concat([pd.DataFrame(), *_families(analysis).values()]))


def _associations(analysis: Analysis) -> list[tuple[str, str]]:
    metric, families = metric_name(analysis), _families(analysis)
    said = {name: plain.describe_relation(tests, name, metric) for name, tests in families.items()}
    nothing = {name: tests for name, tests in families.items() if not said[name]}
    lines = [(TITLES[name], text) for name, text in said.items() if text]
    return [*lines, ("Not shown", plain.describe_nothing(nothing, metric))] if nothing else lines


def _families(analysis: Analysis) -> dict[str, pd.DataFrame]:
    families = {name: tests_of(analysis, name) for name in TITLES}
    return {name: tests for name, tests in families.items() if not tests.empty}
