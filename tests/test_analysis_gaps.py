"""Studies with gaps: what is missing is left out cell by cell, named and warned of."""

from dataclasses import replace

import numpy as np
import pytest
from small_studies import DEFAULT, FAST, PAPER, SMALL, rows, small

from xling.analysis.inputs.measurements import Measurements, Settings
from xling.analysis.pipeline import analyse
from xling.errors import XlingValueError


def test_measured_sides_with_gaps_are_permuted_in_the_complete_part():
    measured = small()
    gone = (measured.transfer["source_language"] == "en") & (measured.transfer["target_language"].isin(["ar", "bg"]))
    analysis = analyse(replace(measured, transfer=measured.transfer[~gone]), DEFAULT)
    tests = rows(analysis, "impact_vs_transfer").dropna(subset="pearson_r")
    assert tests[["n_pairs", "n_pairs_permuted"]].drop_duplicates().to_numpy().tolist() == [[28, 25]]
    assert any("largest part of the design without gaps, 25 of the 28 pairs" in text for text in analysis.warnings)


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


def test_transfer_alone_gives_every_table_that_needs_no_impact():
    measured = small()
    analysis = analyse(Measurements(measured.transfer, measured.distances), Settings(resampling=FAST))
    assert set(analysis.tables["correlations"]["analysis"]) == {"transfer_vs_distance"}
    assert set(analysis.tables["correlations_paper"]["analysis"]) == {"transfer_vs_distance"}
    assert {"mixed_models", "ranking", "held_out"} <= set(analysis.tables)
    assert "mediation" not in analysis.tables
