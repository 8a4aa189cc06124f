"""Distances, controls and strata of an analysis: what is left out, looked up, added, and permuted within."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysis_factory import LANGUAGES, make_distances, make_measurements
from small_studies import DEFAULT, planted, rows, small

from xling.analysis.inputs.gather import (
    add_controls,
    add_distances,
    add_more_distances,
    add_other_distances,
    add_strata,
)
from xling.analysis.inputs.measurements import Measurements, Resampling, Settings
from xling.analysis.pipeline import analyse
from xling.distances import compute_distances
from xling.errors import XlingValueError


def test_a_language_without_distances_is_named_and_left_out():
    measured = small()
    distances = measured.distances.copy()
    distances.loc[(distances[["source_language", "target_language"]] == "en").any(axis=1), "syntactic"] = np.nan
    analysis = analyse(replace(measured, distances=distances), DEFAULT)
    tests = rows(analysis, "transfer_vs_distance").set_index("predictor")
    assert tests.loc["syntactic", ["n_pairs", "n_permuted"]].tolist() == [20, 5]
    assert tests.loc["genetic", ["n_pairs", "n_permuted"]].tolist() == [30, 6]
    assert "The syntactic distance is missing for 10 of 30 pairs (no data for en)." in analysis.warnings


def test_distances_that_lack_the_same_pairs_are_named_together():
    measured = small()
    gone = (measured.distances[["source_language", "target_language"]] == "en").any(axis=1)
    distances = measured.distances.copy()
    distances.loc[gone, ["genetic", "syntactic"]] = np.nan
    warnings = analyse(replace(measured, distances=distances), DEFAULT).warnings
    assert "The genetic, syntactic distances are missing for 10 of 30 pairs (no data for en)." in warnings


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
    assert found.kind_sources == {"lexical": "any_name", "script": "long"}
    with pytest.raises(XlingValueError, match="a name of its own for .*, found 'genetic'"):
        add_more_distances(measured, {"genetic": square})
    with pytest.raises(XlingValueError, match="expected a column 'lexical'"):
        add_more_distances(measured, {"lexical": long})


def test_further_distances_come_from_registered_sources():
    measured = make_measurements(make_distances(("de", "en", "ru")), sources=("en",), n_layers=1)
    found, _ = add_more_distances(measured, {"script": "registered:script"})
    table = found.distances.set_index(["source_language", "target_language"])
    assert table.loc[("en", "de"), "script"] == 0
    assert table.loc[("en", "ru"), "script"] == 1
    assert found.kind_sources == {"script": "script"}
    with pytest.raises(XlingValueError, match="expected a distance 'lexical' of registered:script, which has script"):
        add_more_distances(measured, {"lexical": "registered:script"})
    with pytest.raises(XlingValueError, match="unknown distance 'scrpt'; did you mean 'script'"):
        add_more_distances(measured, {"script": "registered:scrpt"})
    with pytest.raises(XlingValueError, match="registered:vocabulary_overlap is measured on probe sets"):
        add_more_distances(measured, {"overlap": "registered:vocabulary_overlap"})


@pytest.fixture
def repaired():
    measured = make_measurements(make_distances(("de", "en", "ru")), sources=("en",), n_layers=1)
    return add_distances(measured, functools.partial(compute_distances, ["genetic", "syntactic"]))[0]


def test_other_sources_are_computed_for_the_specification_curve_alone(repaired):
    found = add_other_distances(repaired, ["repaired", "individual", "knn", "individual"])
    assert list(found.other_distances) == ["individual", "knn"]  # that of the analysis itself is there already
    assert len(found.other_distances["knn"]) == 9
    assert found.distances.equals(repaired.distances)
    thin = add_other_distances(repaired, ["knn"], min_coverage=1_000).other_distances["knn"]
    assert thin.query("source_language != target_language")["syntactic"].isna().all()
    assert thin["genetic"].notna().all()


def test_other_sources_that_do_not_exist_or_need_a_study_are_refused(repaired):
    with pytest.raises(XlingValueError, match="unknown distance 'individul'; did you mean 'individual'"):
        add_other_distances(repaired, ["individul"])
    with pytest.raises(XlingValueError, match="distances measured on probe sets need a study"):
        add_other_distances(repaired, ["vocabulary_overlap"])


def test_other_sources_leave_out_languages_and_themselves_where_they_know_none():
    languages = ("de", "en", "elvish")
    some = make_measurements(make_distances(languages), sources=("en",), n_layers=1)
    found = add_other_distances(some, ["individual"]).other_distances["individual"]
    assert set(found["source_language"]) == {"de", "en"}
    none = make_measurements(make_distances(("elvish", "entish")), sources=("elvish",), n_layers=1)
    assert add_other_distances(none, ["individual", "knn"]).other_distances == {}


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


def test_xnlis_own_macrolanguages_are_no_news_in_a_report_and_others_are():
    compute = functools.partial(compute_distances, ["genetic"])
    assert add_distances(of_languages("ar", "en", "sw", "zh"), compute)[1] == []
    _, sentences = add_distances(of_languages("ar", "en", "ms"), compute)
    assert "macrolanguage" in sentences[0]
