"""The specification curve: one specification per choice, the main table's coefficients, and how often noise passes."""

from dataclasses import replace

import numpy as np
import pytest
from analysis_factory import LANGUAGES, make_distances, make_measurements

from xling.analysis.inputs.measurements import Resampling, Settings
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.pipeline import analyse
from xling.analysis.questions.specifications import SPECIFICATIONS, compute_specifications
from xling.report.figures.specification_curve import draw_specification_curve
from xling.report.sections.specifications import describe_choices, describe_curve

SMALL = LANGUAGES[:7]
DRAWS = Resampling(300, 20, 0)


def compute(measured, kinds=("genetic", "syntactic")):
    main = compute_pairs(measured.transfer, measured.impact, measured.distances)
    return compute_specifications(measured, main, list(kinds), DRAWS, None, None)


@pytest.fixture
def measured():
    distances = make_distances(SMALL, ("genetic", "syntactic"))
    planted = {("syntactic", 1): -0.4, ("syntactic", 2): -0.4}
    found = make_measurements(distances, sources=SMALL, n_layers=2, planted=planted)
    found.impact["svcca"] = 1 - (found.impact["impact"] + 1) ** 0.5
    return found


def test_every_recorded_measure_form_and_distance_is_a_specification(measured):
    table = compute(measured)
    assert list(table.columns) == list(SPECIFICATIONS)
    impact, transfer = (table[table["question"] == name] for name in ("impact", "transfer"))
    assert set(impact["outcome"]) == {"cka_debiased", "cka_biased", "svcca"}
    assert len(impact) == 3 * 2 * 2
    assert set(transfer["outcome"]) == {"score", "score_relative", "-transfer_gap"}
    assert len(transfer) == (2 + 2 + 1) * 2
    assert (table["n_pairs"] == 42).all()


def test_a_planted_effect_is_found_in_every_specification_and_no_other(measured):
    impact = compute(measured).query("question == 'impact'")
    assert (impact.loc[impact["predictor"] == "syntactic", "p_max_t"] <= 0.05).all()
    assert (impact.loc[impact["predictor"] == "genetic", "p_max_t"] > 0.05).all()
    assert (impact["p_max_t"] >= impact["p_qap"]).all()
    assert (impact["loo_low"] <= impact["r"]).all()
    assert (impact["loo_high"] >= impact["r"]).all()


def test_coefficients_are_those_of_the_main_table(measured):
    tables = analyse(measured, Settings("default", resampling=DRAWS)).tables
    tests = (
        tables["correlations"]
        .query("analysis == 'impact_vs_distance' and layer_label == 'mean'")
        .set_index("predictor")
    )
    curve = tables["specifications"].query("outcome == 'cka_debiased'")
    for form, column in (("demeaned", "demeaned_r"), ("raw", "pearson_r")):
        own = curve[curve["form"] == form].set_index("predictor")["r"]
        assert own.to_dict() == pytest.approx(tests[column].to_dict())


def test_an_outcome_of_other_languages_is_shown_and_not_tested(measured):
    gone = measured.impact["target_language"] == SMALL[0]
    gone |= measured.impact["source_language"] == SMALL[0]
    measured.impact.loc[gone, "impact_biased"] = np.nan
    table = compute(measured).query("question == 'impact'").set_index("outcome")
    assert table.loc["cka_biased", "r"].notna().all()
    assert table.loc["cka_biased", "p_max_t"].isna().all()
    assert table.loc["cka_debiased", "p_max_t"].notna().all()


def test_the_curve_is_drawn_in_order_and_told_with_its_carriers(measured):
    rows = compute(measured).query("question == 'impact'")
    upper, lower = draw_specification_curve(rows).axes
    heights = upper.collections[1].get_offsets()[:, 1]
    assert (np.diff(heights) >= 0).all()
    assert len(lower.get_yticks()) == 2 + 2 + 3  # forms, distances, measures; one source of distances is no choice
    text = describe_curve("impact", rows.assign(carried_by="sw as source"))
    assert "12 specifications" in text
    assert "6 differ from 0 family-wise over all of them (6 negative, 0 positive)" in text
    assert "less than half is left without one language: sw as source" in text
    assert "less than half" not in describe_curve("impact", rows.assign(carried_by=""))


def test_pure_noise_gives_a_family_wise_significant_curve_seldom():
    found = 0
    for seed in range(20):
        distances = make_distances(SMALL, ("genetic", "syntactic"), seed=seed)
        noise = make_measurements(distances, sources=SMALL, n_layers=1, seed=100 + seed)
        found += (compute(noise).query("question == 'transfer'")["p_max_t"] <= 0.05).any()
    assert found <= 4  # 1 expected; more than 4 of 20 has probability .003


def with_other_sources(measured, **tables):
    return replace(measured, other_distances=tables)


def test_every_other_source_of_distances_adds_its_own_specifications(measured):
    other = make_distances(SMALL, ("genetic", "syntactic"), seed=5)
    other["genetic"] = measured.distances.sort_values(["source_language", "target_language"])["genetic"].to_numpy()
    other = other.sort_values(["source_language", "target_language"])
    table = compute(with_other_sources(measured, another=other))
    counts = table.groupby(["question", "distance_source", "predictor"]).size()
    # genetic distance is that of the main source to the last digit, so it is no specification of its own
    assert set(counts["impact"].index) == {
        ("simulated", "genetic"),
        ("simulated", "syntactic"),
        ("another", "syntactic"),
    }
    assert counts["impact"].to_list() == [3 * 2] * 3
    assert counts["transfer"].to_list() == [5] * 3


def test_coefficients_of_another_source_are_those_of_an_analysis_with_it(measured):
    other = make_distances(SMALL, ("genetic", "syntactic"), seed=5)
    curve = compute(with_other_sources(measured, another=other)).query("distance_source == 'another'")
    alone = compute(replace(measured, distances=other, distances_name="another"))
    keys = ["question", "outcome", "predictor", "form"]
    both = curve.merge(alone, on=keys, suffixes=("", "_alone"))
    assert len(both) == len(curve) == len(alone) == 22
    for column in ("n_pairs", "r", "p_qap", "loo_low", "loo_high"):
        np.testing.assert_allclose(both[column], both[f"{column}_alone"], atol=1e-12)
    assert (both["carried_by"] == both["carried_by_alone"]).all()


def test_a_source_that_does_not_know_a_language_is_tested_over_its_pairs(measured):
    other = make_distances(SMALL, ("genetic", "syntactic"), seed=5)
    unknown = (other["source_language"] == SMALL[0]) | (other["target_language"] == SMALL[0])
    table = compute(with_other_sources(measured, another=other[~unknown]))
    own = table.query("distance_source == 'another'")
    assert (own["n_pairs"] == 30).all()
    assert own["p_max_t"].notna().all()


def test_more_sources_make_the_family_larger_and_no_single_test_different(measured):
    other = make_distances(SMALL, ("genetic", "syntactic"), seed=5)
    keys = ["question", "outcome", "predictor", "form"]
    few = compute(measured).set_index(keys)
    many = compute(with_other_sources(measured, another=other)).query("distance_source == 'simulated'").set_index(keys)
    np.testing.assert_allclose(many["p_qap"].reindex(few.index), few["p_qap"], atol=1e-12)
    assert (many["p_max_t"].reindex(few.index) >= few["p_max_t"] - 1e-12).all()
    assert (many["p_max_t"].reindex(few.index) > few["p_max_t"]).any()


def test_choices_are_told_by_dimension_with_their_verdicts(measured):
    rows = compute(measured).query("question == 'impact'")
    told = describe_choices("impact", rows)
    assert "by kind of distance: genetic 0 of 6, syntactic 6 of 6" in told
    assert "raw values or source and target effects removed: demeaned 3 of 6, raw 3 of 6" in told
    assert "source of distances" not in told  # there is one
    _, lower = draw_specification_curve(rows).axes
    assert [text.get_text() for text in lower.texts] == ["form", "distance", "outcome"]
