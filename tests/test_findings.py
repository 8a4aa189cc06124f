"""What the page says first: plain sentences, each from the rows that it speaks of."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.report_factory import make_analysis
from xling.analysis.schema import IMPACT_VS_DISTANCE, IMPACT_VS_TRANSFER, TRANSFER_VS_DISTANCE
from xling.report.sections.findings import TITLES, explain_findings, list_findings
from xling.report.words import lookup, plain


@pytest.fixture(scope="module")
def analysis():
    return make_analysis()


def rows(r_by_place: dict[tuple[str, str], tuple[float, float]], **columns) -> pd.DataFrame:
    """Coefficients and family-wise p-values by (predictor, layer label)."""
    frame = pd.DataFrame(
        [
            {"predictor": predictor, "layer_label": label, "r": r, "p_max_t": p}
            for (predictor, label), (r, p) in r_by_place.items()
        ]
    )
    filled = {"ci_low": -0.5, "ci_high": -0.1, "main": "demeaned", "detectable_family_wise": 0.35, "reason": ""}
    return frame.assign(**filled | columns)


def test_direction_distances_layers_and_strongest_coefficient_are_said():
    tests = rows(
        {
            ("genetic", "01"): (-0.2, 0.01),
            ("genetic", "02"): (-0.3, 0.01),
            ("syntactic", "01"): (-0.4, 0.001),
            ("syntactic", "02"): (-0.1, 0.6),
            ("inventory", "01"): (-0.1, 0.6),
            ("inventory", "02"): (-0.1, 0.6),
        }
    )
    text = plain.describe_relation(tests, IMPACT_VS_DISTANCE, "accuracy")
    assert text.startswith("The nearer a target language is to the source, the more fine-tuning moves its vectors:")
    assert "shown for genetic (every layer) and syntactic (layer 1) distance. Not shown for inventory distance." in text
    assert "Strongest: syntactic distance, layer 1, r\xa0=\xa0−.40" in text
    assert "weaker than |r|\xa0=\xa0.35 this design often overlooks" in text


def test_both_directions_are_said_where_both_are_shown():
    tests = rows({("genetic", ""): (-0.4, 0.01), ("inventory", ""): (0.4, 0.01)})
    text = plain.describe_relation(tests, TRANSFER_VS_DISTANCE, "macro F1")
    assert "The nearer a target language is to the source, the higher its macro F1: shown for genetic distance." in text
    assert (
        "The farther a target language is from the source, the higher its macro F1: shown for inventory distance."
        in text
    )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"07": 0.01, "08": 0.02, "mean": 0.5}, "shown at every layer."),
        ({"07": 0.5, "08": 0.02, "mean": 0.01}, "shown at layer 8."),
        ({"07": 0.5, "08": 0.5, "mean": 0.01}, "shown in the mean over layers."),
    ],
)
def test_layers_of_a_single_predictor_are_named_without_a_distance(labels, said):
    tests = rows({("impact", label): (0.3, p) for label, p in labels.items()})
    assert said in plain.describe_relation(tests, IMPACT_VS_TRANSFER, "accuracy")


def test_analyses_that_show_nothing_share_one_sentence_with_what_they_would_have_shown(analysis):
    table = analysis.tables["correlations"].assign(p_max_t=0.4, p_bh=0.3, detectable_family_wise=0.41)
    findings = dict(list_findings(replace(analysis, tables=analysis.tables | {"correlations": table})))
    assert not set(TITLES.values()) & set(findings)
    said = findings["Not shown"]
    assert said.count("do not show an association") == 1
    for question in ("of impact with distance (", "of impact with accuracy (", "of accuracy with distance ("):
        assert question in said
    assert said.count("|r| of .41 would be found in 80\xa0% of such studies") == 3


def test_without_p_values_nothing_is_claimed_and_the_reason_is_given(analysis):
    table = analysis.tables["correlations"].assign(p_max_t=np.nan, p_bh=np.nan, reason="3 languages")
    findings = dict(list_findings(replace(analysis, tables=analysis.tables | {"correlations": table})))
    assert "(not tested: 3 languages)" in findings["Not shown"]
    assert explain_findings(replace(analysis, tables={"correlations": table})) == ""


def test_a_design_that_finds_nothing_is_named():
    blind = rows({("genetic", ""): (-0.4, 0.2)}, detectable_family_wise=np.nan)
    assert "1 coefficient; none, however strong, would be found" in plain.describe_nothing(
        {TRANSFER_VS_DISTANCE: blind}, "accuracy"
    )


def test_what_the_coefficients_compare_is_said_once_and_raw_ones_are_named(analysis):
    assert "average of each source and of each target is taken away" in explain_findings(analysis)
    raw = analysis.tables["correlations"].assign(main="pearson")
    assert "r is the raw correlation" in explain_findings(replace(analysis, tables={"correlations": raw}))


def test_a_significant_coefficient_of_the_analysis_is_said_in_its_own_line(analysis):
    table = analysis.tables["correlations"].copy()
    own = (table["analysis"] == IMPACT_VS_TRANSFER) & table["r"].notna()
    table["p_max_t"] = np.where(own, 0.01, 0.6)
    shown = replace(analysis, tables=analysis.tables | {"correlations": table})
    findings = dict(list_findings(shown))
    sign = np.sign(lookup.tests_of(shown, IMPACT_VS_TRANSFER)["r"].dropna())
    assert {"higher" if value > 0 else "lower" for value in sign} <= {
        word for word in ("higher", "lower") if word in findings["Impact and transfer"]
    }
    assert "Impact and distance" not in findings
