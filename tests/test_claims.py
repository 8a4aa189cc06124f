"""Claims as code: how a verdict follows from tests."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xling.analysis.claims import CLAIMS, Claim, judge_claims, read_claims
from xling.errors import MissingFileError, XlingValueError


def rows_of(*rows: tuple) -> pd.DataFrame:
    """Rows of correlations: predictor, layer, r, half the interval, family-wise p."""
    return pd.DataFrame(
        {
            "analysis": "impact_vs_distance",
            "predictor": [row[0] for row in rows],
            "layer": pd.array([row[1] for row in rows], dtype="Int64"),
            "r": [row[2] for row in rows],
            "ci_low": [row[2] - row[3] for row in rows],
            "ci_high": [row[2] + row[3] for row in rows],
            "p_max_t": [row[4] for row in rows],
            "detectable_family_wise": 0.31,
            "reason": "",
        }
    )


def judge(tests: pd.DataFrame, **claim) -> pd.Series:
    plain = {"name": "mine", "text": "A claim.", "analysis": "impact_vs_distance", "predictors": ["genetic"], **claim}
    return judge_claims([Claim.from_plain(plain)], tests).iloc[0]


LOW, HIGH, NOTHING = ("genetic", 1, -0.4, 0.1, 0.01), ("genetic", 2, -0.3, 0.15, 0.04), ("genetic", 3, 0.01, 0.1, 0.9)
UNCLEAR = ("genetic", 3, -0.2, 0.3, 0.2)


@pytest.mark.parametrize(
    ("rows", "claim", "verdict", "decided_by"),
    [
        ((LOW, HIGH), {}, "supported", "genetic, layer 2"),
        ((LOW, HIGH), {"direction": "negative"}, "supported", "genetic, layer 2"),
        ((LOW, HIGH), {"direction": "positive"}, "contradicted", "genetic, layer 1"),
        ((LOW, NOTHING), {}, "contradicted", "genetic, layer 3"),
        ((LOW, NOTHING), {"holds_for": "any"}, "supported", "genetic, layer 1"),
        ((LOW, NOTHING), {"layers": [1]}, "supported", "genetic, layer 1"),
        ((LOW, UNCLEAR), {}, "not shown", "genetic, layer 3"),
        ((UNCLEAR, NOTHING), {"holds_for": "any"}, "not shown", "genetic, layer 3"),
        ((NOTHING, NOTHING), {"holds_for": "any"}, "contradicted", "genetic, layer 3"),
        ((UNCLEAR,), {"strength": 0.6}, "contradicted", "genetic, layer 3"),
    ],
)
def test_a_verdict_follows_from_the_tests_a_claim_speaks_of(rows, claim, verdict, decided_by):
    row = judge(rows_of(*rows), **claim)
    assert (row["verdict"], row["decided_by"]) == (verdict, decided_by)
    assert list(row.index) == list(CLAIMS)


def test_the_embedding_output_and_the_mean_are_no_layers():
    rows = rows_of(LOW, ("genetic", 0, 0.0, 0.1, 0.9), ("genetic", None, 0.0, 0.1, 0.9))
    row = judge(rows)
    assert row["n_tests"] == 1
    assert row["verdict"] == "supported"


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"predictors": ["lexical"]}, "no test of lexical"),
        ({"predictors": ["genetic", "lexical"]}, "no test of lexical"),
        ({"analysis": "transfer_vs_distance"}, "no test of genetic"),
        ({"layers": [1, 12]}, "no layer 12"),
    ],
)
def test_a_claim_without_its_tests_is_not_tested_and_says_why(claim, reason):
    row = judge(rows_of(LOW), **claim)
    assert row["verdict"] == "not tested"
    assert reason in row["reason"]
    assert np.isnan(row["r"])


def test_a_test_without_p_value_is_not_taken_for_a_failed_one():
    tests = rows_of(LOW, ("genetic", 2, np.nan, 0.1, np.nan)).assign(reason=["", "impact is constant"])
    assert "layer 2 has no test: impact is constant" in judge(tests)["reason"]
    assert judge(tests, holds_for="any")["verdict"] == "supported"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictor": ["genetic"]}, "unknown key of a claim 'predictor'.*did you mean 'predictors'"),
        ({"text": None}, "with the key 'text'"),
        ({"direction": "down"}, "direction.*choose from positive, negative, either"),
        ({"holds_for": "all"}, "holds_for.*choose from every, any"),
        ({"analysis": "impact"}, "analysis.*choose from impact_vs_distance"),
        ({"layers": ["seven"]}, "layers.*list of int"),
        ({"strength": 2}, "strength.*between 0 and 1"),
    ],
)
def test_a_wrong_claim_is_refused(change, message):
    plain = {"name": "mine", "text": "A claim.", "analysis": "impact_vs_distance", "predictors": ["genetic"]}
    with pytest.raises(XlingValueError, match=message):
        Claim.from_plain(plain | change)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: 1", "expected a list of claims"), ("[1]", "expected a claim as a mapping"), ("[", "no YAML file")],
)
def test_a_file_that_holds_no_claims_is_refused(tmp_path: Path, text, message):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(XlingValueError, match=message):
        read_claims(tmp_path / "claims.yaml")


def test_two_claims_of_one_name_are_refused(tmp_path: Path):
    entry = "{name: a, text: b, analysis: impact_vs_distance, predictors: [genetic]}"
    (tmp_path / "claims.yaml").write_text(f"- {entry}\n- {entry}\n")
    with pytest.raises(XlingValueError, match="different names"):
        read_claims(tmp_path / "claims.yaml")


def test_claims_that_are_nowhere_are_told_with_the_shipped_ones():
    with pytest.raises(MissingFileError, match="one of paper"):
        read_claims("papre")


def test_the_papers_claims_ship_with_the_package():
    claims = read_claims("paper")
    assert [claim.holds_for for claim in claims] == ["every", "every", "any"]
    assert claims[2].layers == (7, 8, 9, 10, 11, 12)
