import csv
import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_factory import LANGUAGES, make_distances, make_measurements
from scipy import stats

from xling.analysis.inputs.gather import add_controls, add_distances, add_more_distances, add_strata, gather_csv
from xling.analysis.inputs.measurements import Measurements, Resampling, Settings
from xling.analysis.pipeline import analyse, choose_strategy
from xling.analysis.schema import CORRELATIONS, CORRELATIONS_OUTCOMES, CORRELATIONS_PAPER, MIXED_MODELS, VARIANCE_SHARES
from xling.distances import compute_distances
from xling.errors import XlingValueError

ACCURACIES = Path(__file__).parent / "published" / "mbert_xnli_accuracy.csv"
FAST = Resampling(permutations=200, bootstraps=50)
SMALL = LANGUAGES[:6]
DEFAULT, PAPER = Settings("default", resampling=FAST), Settings("paper", resampling=FAST)


def small(languages=SMALL, **options):
    """Two layers, two distances, six languages."""
    distances = make_distances(languages, ("genetic", "syntactic"))
    return make_measurements(distances, **{"sources": languages, "n_layers": 2} | options)


def rows(analysis, name, table="correlations"):
    return analysis.tables[table].query("analysis == @name")


@functools.cache
def planted():
    """Impact falls with syntactic distance at layer 2 alone; score falls with it too."""
    measured = make_measurements(planted={("syntactic", 2): -0.2}, transfer_slope=-0.1)
    return measured, analyse(measured, Settings(resampling=Resampling(400, 100)))


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


def test_measured_sides_with_gaps_are_permuted_in_the_complete_part():
    measured = small()
    gone = (measured.transfer["source_language"] == "en") & (measured.transfer["target_language"].isin(["ar", "bg"]))
    analysis = analyse(replace(measured, transfer=measured.transfer[~gone]), DEFAULT)
    tests = rows(analysis, "impact_vs_transfer").dropna(subset="pearson_r")
    assert tests[["n_pairs", "n_pairs_permuted"]].drop_duplicates().to_numpy().tolist() == [[28, 25]]
    assert any("largest part of the design without gaps, 25 of the 28 pairs" in text for text in analysis.warnings)


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


def test_languages_with_few_arrangements_have_estimates_without_permutation():
    analysis = analyse(small(SMALL[:3]), DEFAULT)
    tests = rows(analysis, "transfer_vs_distance")
    assert tests["pearson_r"].notna().all()
    assert tests["p_qap_pearson"].isna().all()
    assert tests["reason"].str.contains("fewer than 20 arrangements").all()
    assert any("fewer than 20 arrangements" in text for text in analysis.warnings)


def test_seeds_are_no_further_languages():
    analysis = analyse(small(seeds=(1, 2, 3)), DEFAULT)
    assert (rows(analysis, "transfer_vs_distance")["n_pairs"] == 30).all()
    assert analysis.facts["seeds"] == [1, 2, 3]
    assert not any("seed" in text for text in analysis.warnings)


def test_thin_seeds_are_warned_of():
    measured = small(seeds=(1, 2))
    assert any("single seed" in text for text in analyse(small(), PAPER).warnings)
    partly = measured.transfer[(measured.transfer["seed"] == 1) | (measured.transfer["source_language"] != "en")]
    assert any("1 to 2 seeds" in text for text in analyse(replace(measured, transfer=partly), PAPER).warnings)


def test_a_language_without_distances_is_named_and_left_out():
    measured = small()
    distances = measured.distances.copy()
    distances.loc[(distances[["source_language", "target_language"]] == "en").any(axis=1), "syntactic"] = np.nan
    analysis = analyse(replace(measured, distances=distances), DEFAULT)
    tests = rows(analysis, "transfer_vs_distance").set_index("predictor")
    assert tests.loc["syntactic", ["n_pairs", "n_permuted"]].tolist() == [20, 5]
    assert tests.loc["genetic", ["n_pairs", "n_permuted"]].tolist() == [30, 6]
    assert "The syntactic distance is missing for 10 of 30 pairs (no data for en)." in analysis.warnings


def test_a_distance_without_any_value_is_left_out():
    measured = small()
    distances = measured.distances.assign(genetic=np.nan)
    analysis = analyse(replace(measured, distances=distances), DEFAULT)
    assert set(rows(analysis, "transfer_vs_distance")["predictor"]) == {"syntactic"}
    assert analysis.facts["kinds"] == ["syntactic"]
    assert any(text.startswith("The genetic distance is missing for 30 of 30 pairs") for text in analysis.warnings)


def test_a_constant_distance_has_no_correlation_and_says_so():
    measured = small()
    in_language = measured.distances["source_language"] == measured.distances["target_language"]
    distances = measured.distances.assign(genetic=np.where(in_language, 0.0, 1.0))
    analysis = analyse(replace(measured, distances=distances), DEFAULT)
    tests = rows(analysis, "transfer_vs_distance").set_index("predictor")
    assert tests.loc["genetic", "reason"] == "the predictor is constant over these pairs"
    assert any("no correlation for genetic: the predictor is constant" in text for text in analysis.warnings)
    assert tests["p_max_t"].notna().tolist() == [False, True]


def test_a_partly_finished_sweep_is_analysed_and_named():
    measured = small()
    gone = (measured.transfer["source_language"] == "en") & (measured.transfer["target_language"].isin(["ar", "bg"]))
    measured = replace(measured, transfer=measured.transfer[~gone], skipped=(("en/seed_2", "no manifest"),))
    analysis = analyse(measured, DEFAULT)
    assert analysis.facts["missing_cells"] == [("en", "ar"), ("en", "bg")]
    assert "Skipped en/seed_2: no manifest." in analysis.warnings
    assert "2 cells of source and target not measured: en→ar, en→bg." in analysis.warnings
    assert (rows(analysis, "transfer_vs_distance")["n_pairs"] == 28).all()


def test_a_run_without_its_own_language_has_no_gap():
    measured = small()
    own = measured.transfer["is_in_language"] & (measured.transfer["source_language"] == "en")
    transfer = measured.transfer[~own]
    analysis = analyse(replace(measured, transfer=transfer), DEFAULT)
    assert "No in-language score, hence no transfer gap, for en." in analysis.warnings
    gaps = analysis.tables["correlations_outcomes"].query("outcome == 'transfer_gap' and predictor == 'genetic'")
    assert gaps["n_pairs"].tolist() == [25]


def test_missing_impact_is_left_out_cell_by_cell():
    measured = small()
    impact = measured.impact.copy()
    impact.loc[(impact["layer"] == 2) & (impact["source_language"] == "en"), "impact"] = np.nan
    analysis = analyse(replace(measured, impact=impact), DEFAULT)
    tests = rows(analysis, "impact_vs_distance").query("predictor == 'genetic'").set_index("layer_label")
    assert tests["n_pairs"].to_dict() == {"00": 0, "01": 30, "02": 25, "mean": 25}
    assert tests.loc["00", "reason"] == "constant"
    assert "Layer 00: impact is missing in 36 of 36 cells (constant)." in analysis.warnings
    assert "Layer 02: impact is missing in 6 of 36 cells." in analysis.warnings


def test_only_biased_impact_is_left_to_paper_mode():
    measured = small()
    analysis = analyse(replace(measured, impact=measured.impact.assign(impact=np.nan)), Settings(resampling=FAST))
    assert rows(analysis, "impact_vs_distance").empty
    assert len(rows(analysis, "impact_vs_distance", "correlations_paper")) == 6
    assert any("No debiased impact" in text for text in analysis.warnings)


def test_few_examples_are_warned_of():
    measured = small()
    analysis = analyse(replace(measured, transfer=measured.transfer.assign(n_examples=100)), PAPER)
    assert (
        "Few examples (100 per cell): the standard error of a fraction of them is up to 5.0 points."
        in analysis.warnings
    )


def test_nothing_left_is_one_clear_sentence():
    measured = small()
    alone = measured.transfer[measured.transfer["is_in_language"]]
    with pytest.raises(XlingValueError, match="nothing to analyse: strategy 'none' has no score and no impact"):
        analyse(replace(measured, transfer=alone, impact=None), DEFAULT)


def test_paper_mode_follows_the_public_scripts():
    _measured, analysis = planted()
    tests = analysis.tables["correlations_paper"]
    counts = tests.groupby("analysis")["n_pairs"].unique().map(list).to_dict()
    assert counts == {"impact_vs_distance": [90], "impact_vs_transfer": [100], "transfer_vs_distance": [100]}
    assert sorted(tests["layer_label"].unique()) == ["", "01", "02", "03", "04", "mean"]
    pairs = analysis.tables["pairs"].query("layer_label == '02'")
    row = rows(analysis, "impact_vs_transfer", "correlations_paper").set_index("layer_label").loc["02"]
    expected = stats.pearsonr(pairs["impact_biased"], pairs["score"])
    assert (row["pearson_r"], row["p_pearson"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert row["pearson_stars"] == "**"


def test_paper_mode_keeps_the_diagonal_at_distance_zero():
    measured, analysis = planted()
    off = measured.distances[measured.distances["source_language"] != measured.distances["target_language"]]
    without = analyse(replace(measured, distances=off), PAPER)
    pd.testing.assert_frame_equal(without.tables["correlations_paper"], analysis.tables["correlations_paper"])


def test_each_mode_writes_its_own_tables():
    measured = small()
    assert set(analyse(measured, PAPER).tables) == {"pairs", "correlations_paper"}
    assert "correlations_paper" not in analyse(measured, DEFAULT).tables
    with pytest.raises(XlingValueError, match="unknown mode 'fancy'; choose from default, paper, both"):
        analyse(measured, Settings("fancy"))


def test_controls_give_a_partial_correlation():
    measured = small()
    control = measured.distances[["source_language", "target_language"]].assign(near=measured.distances["syntactic"])
    found = rows(analyse(replace(measured, controls=control), DEFAULT), "transfer_vs_distance").set_index("predictor")
    assert np.isnan(found.loc["syntactic", "partial_r"])
    assert "the controls leave nothing" in found.loc["syntactic", "reason"]
    cells = measured.transfer.merge(measured.distances).query("not is_in_language")
    r = cells[["score", "genetic", "syntactic"]].corr().to_numpy()
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert found.loc["genetic", "partial_r"] == pytest.approx(expected)
    assert 0 < found.loc["genetic", "p_qap_partial"] <= 1
    assert (found["controls"] == "near").all()
    assert rows(planted()[1], "transfer_vs_distance")["partial_r"].isna().all()


def test_strategy_of_the_main_analyses():
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


def test_transfer_alone_gives_every_table_that_needs_no_impact():
    measured = small()
    analysis = analyse(Measurements(measured.transfer, measured.distances), Settings(resampling=FAST))
    assert set(analysis.tables["correlations"]["analysis"]) == {"transfer_vs_distance"}
    assert set(analysis.tables["correlations_paper"]["analysis"]) == {"transfer_vs_distance"}
    assert {"mixed_models", "ranking", "held_out"} <= set(analysis.tables)
    assert "mediation" not in analysis.tables


def of_languages(source, *targets):
    return Measurements(pd.DataFrame({"source_language": source, "target_language": targets}), None)


def test_an_unknown_language_is_left_out_with_its_reason():
    measured = of_languages("en", "de", "fr", "qqx")
    compute = functools.partial(compute_distances, "genetic")
    found, sentences = add_distances(measured, compute)
    assert set(found.distances["source_language"]) == {"de", "en", "fr"}
    assert any(text.startswith("No distances for qqx: expected an ISO 639") for text in sentences)
    found, sentences = add_controls(measured, ["same_script"])
    assert set(found.controls["source_language"]) == {"de", "en", "fr"}
    assert any(text.startswith("No controls for qqx") for text in sentences)
    with pytest.raises(XlingValueError, match="ISO 639"):
        add_distances(of_languages("qqx", "qqy"), compute)


def test_warnings_of_distances_become_sentences():
    paper = functools.partial(compute_distances, "genetic", source="paper")
    _, sentences = add_distances(of_languages("en", "zh", "ms"), paper)
    assert any("ms -> " in text for text in sentences)
    assert any("placeholders" in text for text in sentences)


def test_controls_are_looked_up_by_name(tmp_path):
    measured = of_languages("en", "de", "ru")
    found, sentences = add_controls(measured, ["same_script"])
    assert sentences == []
    assert found.controls.query("source_language == 'en'")["same_script"].tolist() == [1.0, 1.0, 0.0]
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("language,size\nen,1000\nde,100\nru,10\n", encoding="utf-8")
    with_sizes = add_controls(measured, ["same_family"], sizes)[0].controls
    assert {"same_family", "source_log_pretraining_size", "target_log_pretraining_size"} < set(with_sizes.columns)
    assert add_controls(measured, [])[0].controls is None
    with pytest.raises(
        XlingValueError, match=r"expected controls among .*got 'same_skript'.*did you mean 'same_script'"
    ):
        add_controls(measured, ["same_skript"])


def test_further_distances_come_from_tables_of_their_own(tmp_path):
    measured = make_measurements(make_distances(("de", "en", "ru")), sources=("en",), n_layers=1)
    square = tmp_path / "any_name.csv"
    square.write_text(",de,en\nde,0,0.4\nen,0.4,0\n", encoding="utf-8")
    long = tmp_path / "long.csv"
    long.write_text("source_language,target_language,script\nen,de,0\nen,ru,1\nde,ru,1\n", encoding="utf-8")
    found, sentences = add_more_distances(measured, {"lexical": square, "script": long})
    table = found.distances.set_index(["source_language", "target_language"])
    assert len(table) == 9
    assert table.loc[("en", "de"), ["lexical", "script"]].tolist() == [0.4, 0.0]
    assert np.isnan(table.loc[("en", "ru"), "lexical"])
    assert any(text.startswith("No lexical distances for ru") for text in sentences)
    assert found.distances_name == "simulated, lexical, script"
    with pytest.raises(XlingValueError, match="a name of its own for .*, found 'genetic'"):
        add_more_distances(measured, {"genetic": square})
    with pytest.raises(XlingValueError, match="expected a column 'lexical'"):
        add_more_distances(measured, {"lexical": long})


def test_languages_change_places_within_their_family_alone():
    measured = small(LANGUAGES[:8])
    halves = {language: "first" if i < 4 else "second" for i, language in enumerate(LANGUAGES[:8])}
    found = rows(analyse(replace(measured, strata=halves), DEFAULT), "transfer_vs_distance")
    assert (found["n_permuted"] == 8).all()
    everything = analyse(replace(measured, strata=halves), Settings("default", resampling=Resampling(1_000, 10)))
    tests = rows(everything, "transfer_vs_distance")
    assert tests["exact"].all()
    assert (tests["n_permutations"] == 24 * 24).all()
    alone = rows(
        analyse(replace(measured, strata=dict.fromkeys(LANGUAGES[:4], "first")), DEFAULT), "transfer_vs_distance"
    )
    assert (alone["n_permuted"] == 4).all()
    assert tests["r"].to_numpy() == pytest.approx(
        rows(analyse(measured, DEFAULT), "transfer_vs_distance")["r"].to_numpy()
    )


def test_strata_are_families_and_unknown_languages_stand_alone():
    measured = add_strata(of_languages("en", "de", "tr", "qqx"), "family")
    assert measured.strata["en"] == measured.strata["de"] == "Indo-European"
    assert measured.strata["tr"] != "Indo-European"
    assert "qqx" not in measured.strata
    assert add_strata(measured, None) is measured
    with pytest.raises(
        XlingValueError, match="expected permute_within=family or null, found 'famly'.*did you mean 'family'"
    ):
        add_strata(measured, "famly")


PUBLISHED = {  # method.md: English source, zero-shot accuracies of Wu & Dredze 2019 (arXiv:1904.09077), Pearson r
    "paper": (-0.664, -0.456, -0.363, -0.019, -0.367, -0.492),
    "repaired": (-0.843, -0.547, -0.363, 0.286, 0.174, -0.609),
    "individual": (-0.812, -0.589, -0.363, 0.339, 0.184, -0.519),
}
URIEL = ("syntactic", "geographic", "genetic", "inventory", "phonological", "featural")


@pytest.mark.parametrize("source", PUBLISHED)
def test_published_coefficients_come_out_to_the_third_decimal(tmp_path, source):
    with ACCURACIES.open(encoding="utf-8") as stream:
        accuracies = next(row for row in csv.DictReader(stream) if row["setting"] == "zero_shot_from_en")
    lines = [f"en,{language},{value}" for language, value in accuracies.items() if len(language) == 2]
    path = tmp_path / "wu_dredze.csv"
    path.write_text("\n".join(["source_language,target_language,accuracy", *lines]), encoding="utf-8")
    measured, _ = add_distances(gather_csv(path)[0], functools.partial(compute_distances, URIEL, source=source))
    tests = rows(analyse(measured, DEFAULT), "transfer_vs_distance").set_index("predictor")
    assert tests["pearson_r"].round(3).to_dict() == dict(zip(URIEL, PUBLISHED[source], strict=True))
    assert tests["n_pairs"].loc[["syntactic", "phonological"]].tolist() == [14, 14 if source == "paper" else 13]


def test_xnlis_own_macrolanguages_are_no_news_in_a_report_and_others_are():
    compute = functools.partial(compute_distances, ["genetic"])
    assert add_distances(of_languages("ar", "en", "sw", "zh"), compute)[1] == []
    _, sentences = add_distances(of_languages("ar", "en", "ms"), compute)
    assert "macrolanguage" in sentences[0]
