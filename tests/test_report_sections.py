"""Sections on mediation, freezing and coverage: figures and sentences over small made-up tables."""

import numpy as np
import pandas as pd
import pytest
from report_factory import make_pairs

from xling.analysis.schema import Analysis
from xling.report.sections import choice, coverage, freezing, mediation


def _effect(predictor, **numbers):
    blank = dict.fromkeys(["path_a", "path_b", "total", "direct", "indirect", "indirect_low", "indirect_high"], np.nan)
    blank |= dict.fromkeys(["share", "share_low", "share_high", "p_qap_total", "p_qap_indirect"], np.nan)
    keys = {"outcome": "score", "predictor": predictor, "layer_label": "mean", "n_pairs": 20, "n_languages": 6}
    keys["is_demeaned"] = True
    return keys | blank | {"reason": ""} | numbers


@pytest.fixture
def effects():
    whole = {"path_a": -0.6, "path_b": 0.5, "total": -0.5, "direct": -0.2, "indirect": -0.3}
    whole |= {"indirect_low": -0.5, "indirect_high": -0.1, "share": 0.6, "share_low": 0.2, "share_high": 0.9}
    known = _effect("genetic", p_qap_total=0.01, p_qap_indirect=0.02, **whole)
    return pd.DataFrame([_effect("syntactic", reason="4 pairs; at least 5 are needed"), known])


def _texts(ax):
    return [text.get_text() for text in ax.texts]


def test_path_diagram_states_every_path_and_the_indirect_effect(effects):
    texts = _texts(mediation.plot_mediation(effects, predictor="genetic"))
    for part in ("−.60", ".50", "direct −.20", "total −.50"):
        assert part in texts
    assert any("indirect −.30" in text and "[−.50,\xa0−.10]" in text for text in texts)


def test_distances_without_effect_have_no_diagram_but_a_reason(effects):
    section = mediation.mediation_section(Analysis({"mediation": effects}))
    assert len(section.pictures[0].figure.axes) == 1
    assert "Not available: 4 pairs; at least 5 are needed." in section.paragraphs


def test_mediation_without_any_effect_has_no_figure(effects):
    section = mediation.mediation_section(Analysis({"mediation": effects[effects["total"].isna()]}))
    assert section.pictures == []
    assert "No indirect path could be tested." in section.paragraphs[1]


def test_share_outside_0_to_1_is_not_called_a_share(effects):
    section = mediation.mediation_section(Analysis({"mediation": effects.assign(share=-0.4)}))
    assert "direct and indirect path oppose each other" in section.paragraphs[2]


def test_mediation_is_never_stated_as_a_cause(effects):
    section = mediation.mediation_section(Analysis({"mediation": effects}))
    assert "associations: a common cause" in section.paragraphs[1]


def test_mediation_shows_the_form_without_language_effects_where_there_is_one(effects):
    raw = effects.assign(is_demeaned=False, total=0.9)
    assert mediation.main_effects(pd.concat([raw, effects]))["is_demeaned"].all()
    assert "a source that trains badly" in mediation.mediation_section(Analysis({"mediation": effects})).paragraphs[0]
    assert "raw associations" in mediation.mediation_section(Analysis({"mediation": raw})).paragraphs[0]


@pytest.fixture
def comparison():
    rows = [
        {"metric": metric, "change": change, "low": low, "high": high, "verdict": f"{metric} is told"}
        for metric, change, low, high in (
            ("mean_target_score", -0.01, -0.02, -0.005),
            ("transfer_gap", 0.001, -0.01, 0.012),
            ("slope_genetic", 0.02, np.nan, np.nan),
        )
    ]
    keys = {"strategy": "bottom_3", "reference": "none", "strategy_mean": 0.5, "reference_mean": 0.51, "n_pairs": 6}
    return pd.DataFrame(rows).assign(**keys, n_sources=3, n_seeds=2, over="sources", reason="")


def test_freezing_draws_an_interval_or_a_hollow_point(comparison):
    filled = freezing.plot_freezing(comparison, metric="transfer_gap").lines
    hollow = freezing.plot_freezing(comparison, metric="slope_genetic").lines
    assert filled[0].get_xdata().tolist() == [-0.01, 0.012]
    assert filled[1].get_markerfacecolor() != "white"
    assert hollow[1].get_markerfacecolor() == "white"


def test_sets_drawn_at_random_share_a_row_of_ticks_and_are_not_told(comparison):
    names = [f"random_3_seed{seed}" for seed in range(1, 20)]
    table = pd.concat([comparison, *(comparison.assign(strategy=name) for name in names)], ignore_index=True)
    ax = freezing.plot_freezing(table, metric="transfer_gap")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bottom_3", "random_3"]
    ticks = [line for line in ax.lines if line.get_marker() == "|"]
    assert [line.get_ydata() for line in ticks] == [[1.0]] * len(names)
    assert [line.get_xdata() for line in ticks] == [[0.001]] * len(names)
    section = freezing.freezing_section(Analysis({"freezing": table}))
    assert section.points == ["mean_target_score is told"]
    alone = freezing.freezing_section(Analysis({"freezing": comparison}))
    height = section.pictures[0].figure.get_figheight() - alone.pictures[0].figure.get_figheight()
    assert height == pytest.approx(2 * 0.24)  # one row more in each of the two rows of panels


def test_freezing_tells_only_changes_whose_interval_excludes_0(comparison):
    section = freezing.freezing_section(Analysis({"freezing": comparison}))
    assert section.points == ["mean_target_score is told"]
    assert section.paragraphs[0].startswith("1 of 2 intervals excludes 0")


def test_freezing_without_a_clear_change_says_so(comparison):
    assert freezing.describe_freezing(comparison.iloc[1:]) == "Of 1 interval none excludes 0: no change is shown."
    assert freezing.describe_freezing(comparison.iloc[2:]).startswith("No interval could be computed")


def test_coverage_counts_a_missing_distance_as_no_feature():
    pairs = make_pairs(("en", "ur"), ("en", "ru", "ur"), n_layers=2)
    pairs["phonological_coverage"] = pairs["phonological_coverage"].where(pairs["phonological"].isna(), 28.0)
    counts = coverage.mean_coverage(pairs)
    assert counts.loc["phonological", "ur"] == 0
    assert counts.loc["phonological", "en"] == pytest.approx((28 + 0 + 0) / 3)  # en-ru, en-ur, ur-en
    assert len(coverage.plot_distance_coverage(pairs).texts) == counts.size


def test_held_out_prediction_no_better_than_the_mean_is_reported_as_such():
    row = {"strategy": "none", "predictors": "genetic,syntactic", "mae": 0.05, "mae_baseline": 0.04, "r2": -0.1}
    table = pd.DataFrame([row | {"n_predictions": 12, "n_pairs": 6, "n_languages": 4, "reason": ""}])
    section = choice.held_out_section(Analysis({"held_out": table}, facts={"strategy": "none"}))
    assert section.paragraphs == ["Of 1 predictor set none predicts held-out scores better than the mean."]
