"""Which layers an analysis suggests to freeze, and the reason it gives where it suggests none."""

import json

import numpy as np
import pandas as pd
import pytest

from xling.analysis.questions.suggestion import make_suggestion, save_suggestion, suggest_layers
from xling.analysis.schema import IMPACT_VS_DISTANCE, TRANSFER_VS_DISTANCE
from xling.errors import XlingValueError


def make_correlations() -> pd.DataFrame:
    """Genetic: layers 1 and 6 fall, 3 rises, 4 only survives Benjamini-Hochberg; syntactic: nothing."""
    layers = [0, 1, 3, 4, 6, pd.NA]
    genetic = pd.DataFrame(
        {
            "predictor": "genetic",
            "layer": layers,
            "r": [np.nan, -0.6, 0.7, -0.4, -0.5, -0.6],
            "p_max_t": [np.nan, 0.001, 0.001, 0.2, 0.05, 0.001],
            "p_bh": [np.nan, 0.001, 0.001, 0.03, 0.01, 0.001],
        }
    )
    syntactic = genetic.assign(predictor="syntactic", p_max_t=[np.nan, 0.3, 0.4, 0.5, 0.6, 0.7], p_bh=0.9)
    tests = pd.concat([genetic, syntactic], ignore_index=True).assign(analysis=IMPACT_VS_DISTANCE, reason="")
    other = tests.iloc[[1]].assign(analysis=TRANSFER_VS_DISTANCE, layer=9)
    return pd.concat([tests, other], ignore_index=True).astype({"layer": "Int64"})


def test_layers_with_a_significant_fall_are_suggested_and_nothing_else():
    suggestion = make_suggestion(make_correlations(), "made_up")
    assert suggestion["distances"]["genetic"] == {"layers": [1, 6], "reason": ""}
    assert suggestion["default_distance"] == "genetic"
    assert (suggestion["alpha"], suggestion["correction"], suggestion["study"]) == (0.05, "max_t", "made_up")


def test_the_other_correction_reads_its_own_column():
    suggestion = make_suggestion(make_correlations(), "made_up", correction="bh")
    assert suggestion["distances"]["genetic"]["layers"] == [1, 4, 6]


def test_a_smaller_level_suggests_fewer_layers():
    assert make_suggestion(make_correlations(), "made_up", alpha=0.01)["distances"]["genetic"]["layers"] == [1]


def test_no_significant_layer_gives_an_empty_list_with_its_reason():
    found = make_suggestion(make_correlations(), "made_up")["distances"]["syntactic"]
    assert found["layers"] == []
    assert "smallest p = 0.3" in found["reason"]


def test_layers_that_rise_alone_are_no_suggestion():
    tests = make_correlations().query("analysis == @IMPACT_VS_DISTANCE and predictor == 'genetic'")
    found = suggest_layers(tests.assign(r=tests["r"].abs()), "p_max_t")
    assert found["layers"] == []
    assert "rises with distance" in found["reason"]


def test_missing_p_values_hand_on_the_recorded_reason():
    tests = make_correlations().assign(p_max_t=np.nan, reason="fewer than 4 languages")
    found = make_suggestion(tests, "made_up")["distances"]["genetic"]
    assert found == {"layers": [], "reason": "no layer has a p-value; fewer than 4 languages"}


def test_a_study_without_impact_suggests_nothing_for_the_default_distance():
    tests = make_correlations().query("analysis == @TRANSFER_VS_DISTANCE")
    found = make_suggestion(tests, "made_up")
    assert found["distances"] == {"genetic": {"layers": [], "reason": "impact was not tested against genetic distance"}}


def test_an_unknown_correction_names_those_there_are():
    with pytest.raises(
        XlingValueError, match="unknown correction 'maxt'; did you mean 'max_t'.; choose from max_t, bh"
    ):
        make_suggestion(make_correlations(), "made_up", correction="maxt")


def test_the_file_holds_the_suggestion_and_leaves_nothing_else(tmp_path):
    suggestion = make_suggestion(make_correlations(), "made_up")
    save_suggestion(tmp_path / "suggestion.json", suggestion)
    assert json.loads((tmp_path / "suggestion.json").read_text()) == suggestion
    assert [path.name for path in tmp_path.iterdir()] == ["suggestion.json"]
