"""The findings in short, at the top of the page: one line per analysis that was made."""

from xling.analysis.schema import IMPACT_VS_DISTANCE, IMPACT_VS_TRANSFER, TRANSFER_VS_DISTANCE, Analysis
from xling.report.sections.claims import describe_claims
from xling.report.sections.freezing import describe_freezing
from xling.report.sections.measured import describe_transfer
from xling.report.words import frames, sentences
from xling.report.words.lookup import has_rows, metric_name, tests_of, variance_of

TITLES = {
    IMPACT_VS_DISTANCE: "Impact and distance",
    IMPACT_VS_TRANSFER: "Impact and transfer",
    TRANSFER_VS_DISTANCE: "Transfer and distance",
}


def list_findings(analysis: Analysis) -> list[tuple[str, str]]:
    """Say in one line each what transfer, the correlation analyses and freezing show.

    Returns:
        (title, text), in the order of the page; analyses that were not made are absent.
    """
    lines = (
        [
            (
                frames.capitalised(metric_name(analysis)),
                " ".join([*describe_transfer(analysis), variance_of(analysis, "score")]),
            )
        ]
        if has_rows(analysis, "pairs")
        else []
    )
    if has_rows(analysis, "claims"):
        lines.insert(0, ("Claims", describe_claims(analysis.tables["claims"])))
    for name, heading in TITLES.items():
        tests = tests_of(analysis, name)
        if not tests.empty:
            shares = variance_of(analysis, "impact") if name == IMPACT_VS_DISTANCE else ""
            lines.append((heading, " ".join(part for part in (shares, *sentences.describe_family(tests)) if part)))
    if has_rows(analysis, "freezing"):
        lines.append(("Freezing", describe_freezing(analysis.tables["freezing"])))
    return lines
