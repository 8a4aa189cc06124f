"""The whole analysis of simulated studies: planted effects are found, noise finds nothing, and tables have their columns."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysis_factory import LANGUAGES
from scipy import stats
from small_studies import DEFAULT, PAPER, SMALL, planted, rows, small

from xling.analysis.inputs.measurements import Settings
from xling.analysis.pipeline import analyse, choose_strategy
from xling.analysis.schema import CORRELATIONS, CORRELATIONS_OUTCOMES, CORRELATIONS_PAPER, MIXED_MODELS, VARIANCE_SHARES
from xling.errors import XlingValueError


def test_a_planted_effect_is_found_with_its_sign_layer_and_distance():
    tests = rows(planted()[1], "impact_vs_distance").query("layer_label != 'mean'")
    found = tests[tests["p_max_t"] <= 0.05]
    assert found[["predictor", "layer_label"]].to_numpy().tolist() == [["syntactic", "02"]]
    row = found.iloc[0]
    assert row["pearson_r"] < -0.5
    assert row["ci_high"] < 0
    assert row["loo_high"] < 0
    assert max(row["p_bh"], row["p_qap_spearman"], row["p_qap_demeaned"]) <= 0.05
    transfer = rows(planted()[1], "transfer_vs_distance").set_index("predictor")
    assert transfer["p_max_t"].idxmin() == "syntactic"
    assert transfer.loc["syntactic", "pearson_r"] < -0.5


def test_impact_and_transfer_that_share_a_cause_correlate_where_it_acts():
    tests = rows(planted()[1], "impact_vs_transfer").set_index("layer_label")
    assert tests["p_max_t"].idxmin() == "02"
    assert tests.loc["02", "pearson_r"] > 0.4
    assert tests.loc["02", "p_qap_pearson"] <= 0.05


def test_shuffled_labels_find_nothing():
    measured, _ = planted()
    names = dict(zip(LANGUAGES, np.random.default_rng(5).permutation(LANGUAGES), strict=True))
    shuffled = measured.distances.replace({"source_language": names, "target_language": names})
    found = analyse(replace(measured, distances=shuffled), DEFAULT)
    for name in ("impact_vs_distance", "transfer_vs_distance"):
        assert rows(found, name)["p_max_t"].min() > 0.05


def test_tables_have_the_documented_columns():
    tables = planted()[1].tables
    assert list(tables["correlations"].columns) == list(CORRELATIONS)
    assert list(tables["correlations_outcomes"].columns) == list(CORRELATIONS_OUTCOMES)
    assert list(tables["correlations_paper"].columns) == list(CORRELATIONS_PAPER)
    assert list(tables["mixed_models"].columns) == list(MIXED_MODELS)
    assert tables["correlations"]["layer"].dtype == "Int64"
    keys = ["analysis", "predictor", "layer_label"]
    assert not tables["correlations"].duplicated(keys).any()
    assert not tables["correlations_outcomes"].duplicated(["outcome", *keys]).any()


def test_coefficients_of_the_whole_pipeline_agree_with_scipy():
    _measured, analysis = planted()
    pairs = analysis.tables["pairs"].query("not is_in_language")
    for row in analysis.tables["correlations"].dropna(subset="pearson_r").itertuples():
        y = "score" if "transfer" in row.analysis else "impact"
        cells = pairs[pairs["layer_label"] == (row.layer_label or "mean")]
        pearson, spearman = (f(cells[row.predictor], cells[y]) for f in (stats.pearsonr, stats.spearmanr))
        assert row.pearson_r == pytest.approx(pearson.statistic)
        assert row.spearman_rho == pytest.approx(spearman.statistic)
        assert row.p_pearson == pytest.approx(pearson.pvalue)
        assert row.p_spearman == pytest.approx(spearman.pvalue)
        assert row.n_pairs == 90


def test_family_wise_and_false_discovery_p_values_are_at_least_the_single_ones():
    tests = planted()[1].tables["correlations"].dropna(subset="p_qap_pearson")
    assert (tests["p_max_t_pearson"] >= tests["p_qap_pearson"]).all()
    assert (tests["p_bh_pearson"] >= tests["p_qap_pearson"]).all()
    assert (tests["p_max_t_demeaned"] >= tests["p_qap_demeaned"]).all()
    assert (tests["p_bh_demeaned"] >= tests["p_qap_demeaned"]).all()


def test_outcomes_other_than_accuracy_stand_apart():
    tests = planted()[1].tables["correlations_outcomes"]
    assert set(tests["outcome"]) == {"score_relative", "transfer_gap", "rank_within_source"}
    gap = tests.query("outcome == 'transfer_gap' and predictor == 'syntactic'").iloc[0]
    assert gap["pearson_r"] > 0.5


def test_the_same_seed_gives_the_same_tables():
    first, second = (analyse(small(), DEFAULT).tables["correlations"] for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_sources_and_other_targets_change_places_among_themselves():
    analysis = analyse(small(sources=SMALL[:4]), DEFAULT)
    tests = rows(analysis, "transfer_vs_distance")
    assert tests[["n_pairs", "n_pairs_permuted", "n_permuted"]].drop_duplicates().to_numpy().tolist() == [[20, 20, 6]]
    measured = rows(analysis, "impact_vs_transfer").dropna(subset="pearson_r")
    assert measured[["n_pairs", "n_pairs_permuted", "n_permuted"]].drop_duplicates().to_numpy().tolist() == [
        [20, 20, 6]
    ]
    for table in (tests, measured):
        assert table["exact"].all()
        assert (table["n_permutations"] == 48).all()  # 4! x 2!
    assert any(
        "all 48 arrangements" in text and "no p-value can fall below 0.021" in text for text in analysis.warnings
    )


@pytest.mark.parametrize("n_sources", [1, 3])
def test_few_sources_are_tested_too(n_sources):
    analysis = analyse(small(sources=SMALL[:n_sources]), DEFAULT)
    for name in ("impact_vs_transfer", "transfer_vs_distance"):
        tests = rows(analysis, name).dropna(subset="pearson_r")
        assert tests["p_qap"].notna().all()
        assert tests["ci_low"].notna().all()
        assert (tests["main"] == ("pearson" if n_sources == 1 else "demeaned")).all()
    fallen_back = any("the raw correlation stands in" in text for text in analysis.warnings)
    assert fallen_back == (n_sources == 1)


def test_the_main_coefficient_does_not_mind_how_hard_a_target_is():
    """Easier near targets make a raw association of any size; what belongs to the pairs stays as it is."""
    measured = small()
    plain = rows(analyse(measured, DEFAULT), "transfer_vs_distance").set_index("predictor")
    near = measured.distances.groupby("target_language")["genetic"].mean()
    easier = measured.transfer.assign(score=measured.transfer["score"] - measured.transfer["target_language"].map(near))
    found = rows(analyse(replace(measured, transfer=easier), DEFAULT), "transfer_vs_distance").set_index("predictor")
    assert found.loc["genetic", "pearson_r"] < plain.loc["genetic", "pearson_r"] - 0.2
    columns = ["r", "p_qap", "p_max_t", "p_bh", "ci_low", "ci_high"]
    pd.testing.assert_frame_equal(found[columns], plain[columns], rtol=1e-9)


def test_every_outcome_begins_with_the_shares_of_its_variance():
    shares = planted()[1].tables["variance_shares"]
    assert list(shares.columns) == list(VARIANCE_SHARES)
    known = shares.dropna(subset="rest")
    assert known[["source", "target", "rest"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert set(shares["outcome"]) == {"impact", "score", "score_relative", "transfer_gap", "rank_within_source"}
    assert shares.query("outcome == 'impact'")["layer_label"].tolist() == ["01", "02", "03", "04", "mean"]


def test_each_mode_writes_its_own_tables():
    measured = small()
    assert set(analyse(measured, PAPER).tables) == {"pairs", "correlations_paper"}
    assert "correlations_paper" not in analyse(measured, DEFAULT).tables
    with pytest.raises(XlingValueError, match="unknown mode 'fancy'; choose from default, paper, both"):
        analyse(measured, Settings("fancy"))


def test_the_main_analyses_take_the_strategy_asked_for_or_the_only_baseline():
    pairs = pd.DataFrame({"strategy": ["none", "bottom_3"]})
    assert choose_strategy(pairs) == "none"
    assert choose_strategy(pairs, "bottom_3") == "bottom_3"
    assert choose_strategy(pairs.replace("none", "word_embeddings")) == "word_embeddings"
    assert choose_strategy(pairs[1:]) == "bottom_3"
    with pytest.raises(XlingValueError, match=r"no run has the strategy 'botom_3'.*did you mean 'bottom_3'"):
        choose_strategy(pairs, "botom_3")
    with pytest.raises(XlingValueError, match=r"expected one baseline strategy.*found 2; choose one with strategy="):
        choose_strategy(pd.DataFrame({"strategy": ["none", "word_embeddings"]}))
    with pytest.raises(XlingValueError, match="found 0"):
        choose_strategy(pairs.replace("none", "top_1"))


def test_several_strategies_are_compared_but_only_one_is_correlated():
    analysis = analyse(small(strategies=("none", "bottom_3"), seeds=(1, 2)), DEFAULT)
    assert set(analysis.tables["pairs"]["strategy"]) == {"none", "bottom_3"}
    assert (rows(analysis, "transfer_vs_distance")["n_pairs"] == 30).all()
    assert set(analysis.tables["freezing"]["strategy"]) == {"bottom_3"}
