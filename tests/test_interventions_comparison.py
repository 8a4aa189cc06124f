"""Freezing, reverting and anchoring in one comparison."""

import itertools

import numpy as np
import pandas as pd
import pytest

from xling.analysis.questions.freezing import compute_freezing
from xling.analysis.questions.interventions import (
    INTERVENTIONS,
    compute_causes,
    compute_interventions,
    list_treatments,
)
from xling.analysis.questions.random_sets import RANDOM_REFERENCE

SOURCES, TARGETS, SEEDS = ("en", "ru", "sw"), ("en", "ru", "sw", "zh", "th"), (1, 2)
DESIGN = {  # strategy: intervention, frozen layers, treated layers, dose, change of score, impact at layers 1 and 2
    "none": ("none", [], [], 0.0, 0.0, (0.4, 0.6)),
    "layers_1": ("none", [1], [], 0.0, 0.01, (0.0, 0.5)),
    "revert_1": ("revert", [], [1], 1.0, 0.03, (0.0, 0.4)),
    "revert_1x0.5": ("revert", [], [1], 0.5, 0.015, (0.2, 0.5)),
    "anchor_2_0.1": ("anchor", [], [2], 0.1, -0.02, (0.4, 0.3)),
}


def make_study():
    rng = np.random.default_rng(0)
    far = {pair: rng.uniform() for pair in itertools.product(SOURCES, TARGETS)}
    transfer, impact, runs = [], [], []
    for (strategy, row), source, seed in itertools.product(DESIGN.items(), SOURCES, SEEDS):
        kind, frozen, treated, dose, change, moved = row
        key = {"study": "s", "source_language": source, "strategy": strategy, "seed": seed}
        runs.append(key | {"intervention": kind, "frozen_layers": frozen, "treated_layers": treated, "dose": dose})
        for target in TARGETS:
            own = key | {"target_language": target, "is_in_language": source == target, "epoch": 1.0, "step": 9}
            score = 0.7 - 0.2 * far[source, target] + change + 0.001 * rng.normal()
            transfer.append(own | {"metric": "accuracy", "score": score, "n_examples": 450})
            impact += [
                own | {"layer": layer, "impact": value, "is_frozen": False} for layer, value in enumerate(moved, 1)
            ]
    distances = [
        {"source_language": s, "target_language": t, "genetic": d, "genetic_coverage": 9} for (s, t), d in far.items()
    ]
    return pd.DataFrame(transfer), pd.DataFrame(impact), pd.DataFrame(distances), pd.DataFrame(runs)


def compare():
    table = compute_interventions(*make_study(), "none")
    assert list(table.columns) == list(INTERVENTIONS)
    return table


def test_every_treatment_is_compared_with_the_baseline_by_score_gap_slope_and_impact():
    table = compare().set_index(["strategy", "reference", "metric"])
    assert table.loc[("revert_1", "none", "mean_target_score"), "change"] == pytest.approx(0.03, abs=2e-3)
    assert table.loc[("anchor_2_0.1", "none", "mean_target_score"), "change"] == pytest.approx(-0.02, abs=2e-3)
    row = table.loc[("anchor_2_0.1", "none", "impact_treated")]
    assert row[["strategy_mean", "reference_mean", "change"]].tolist() == pytest.approx([0.3, 0.6, -0.3])
    assert row[["kind", "layers", "dose", "n_sources", "n_seeds"]].tolist() == ["anchor", "2", 0.1, 3, 2]
    assert {"transfer_gap", "slope_genetic", "source_score"} <= set(table.index.get_level_values("metric"))
    assert table.loc[("revert_1", "none", "mean_target_score"), "verdict"].startswith(
        "revert_1 against none: mean target"
    )


def test_freezing_and_reverting_the_same_layers_are_compared_with_each_other():
    table = compare()
    own = table[table["reference"] == "revert_1"].set_index("metric")
    assert set(own["strategy"]) == {"layers_1"}
    assert own.loc["mean_target_score", "change"] == pytest.approx(-0.02, abs=2e-3)
    assert own.loc["mean_target_score", "high"] < 0
    assert own.loc["impact_treated", "change"] == 0
    assert set(table["reference"]) == {"none", "revert_1"}  # half reverts are no counterpart of freezing


def test_layers_that_the_baseline_freezes_too_are_no_treatment():
    runs = pd.DataFrame(
        {
            "strategy": ["bottom_1", "bottom_3", "bottom_1_revert_4"],
            "intervention": ["none", "none", "revert"],
            "frozen_layers": [[0, 1], [0, 1, 2, 3], [0, 1]],
            "treated_layers": [[], [], [4]],
            "dose": [0.0, 0.0, 1.0],
        }
    )
    found = list_treatments(runs, "bottom_1").set_index("strategy")
    assert found["layers"].to_dict() == {"bottom_3": [2, 3], "bottom_1_revert_4": [4]}
    assert found["treatment"].to_dict() == {"bottom_3": "freeze 2-3", "bottom_1_revert_4": "revert 4"}


def test_runs_that_say_nothing_of_interventions_have_no_comparison():
    transfer, impact, distances, runs = make_study()
    assert compute_interventions(transfer, impact, distances, None, "none").empty
    assert list_treatments(runs.drop(columns="intervention"), "none").empty
    freezing = runs[runs["strategy"].isin(("none", "layers_1"))]
    assert compute_interventions(transfer, impact, distances, freezing, "none").empty


def test_effects_are_estimated_from_all_doses_of_a_treatment():
    transfer, impact, distances, runs = make_study()
    table = compute_causes(transfer, impact, distances, ["genetic"], runs, "none").set_index("treatment")
    assert set(table.index) == {"freeze 1", "revert 1", "anchor 2"}
    row = table.loc["revert 1"]
    assert (row["n_doses"], row["layer_label"]) == (2, "01")
    assert row["first_stage"] == pytest.approx(-0.4)
    assert row["effect"] == pytest.approx(0.03 / -0.4, abs=0.01)


RANDOM = {f"revert_random_1_seed{seed}": ("revert", [], [seed], 1.0, 0.001 * seed, (0.3, 0.5)) for seed in (2, 3, 4)}


def test_a_reverted_set_is_judged_among_random_sets_which_are_no_treatments(monkeypatch):
    for name, row in RANDOM.items():
        monkeypatch.setitem(DESIGN, name, row)
    table = compare().set_index(["strategy", "reference", "metric"])
    assert set(table.index.get_level_values("strategy")) == {"layers_1", "revert_1", "revert_1x0.5", "anchor_2_0.1"}
    row = table.loc[("revert_1", RANDOM_REFERENCE, "mean_target_score")]
    assert row["n_reference_sets"] == 3
    assert row["change"] == pytest.approx(0.03 - 0.003, abs=2e-3)
    assert row["p_rank"] == 0.25  # the best of four
    assert row["low"] > 0
    assert ("revert_1x0.5", RANDOM_REFERENCE, "mean_target_score") not in table.index  # another dose
    transfer, impact, distances, runs = make_study()
    causes = compute_causes(transfer, impact, distances, ["genetic"], runs, "none")
    assert not causes["treatment"].str.contains("revert [234]").any()


def test_the_table_of_freezing_does_not_take_reverted_random_sets_for_frozen_ones(monkeypatch):
    for name, row in RANDOM.items():
        monkeypatch.setitem(DESIGN, name, row)
    transfer, impact, distances, runs = make_study()
    assert RANDOM_REFERENCE not in set(compute_freezing(transfer, impact, distances, runs)["reference"])


@pytest.mark.parametrize("more", [0, "head"])
def test_a_set_with_embeddings_or_head_is_another_treatment_than_its_layers(monkeypatch, more):
    for name, row in RANDOM.items():
        monkeypatch.setitem(DESIGN, name, row)
    monkeypatch.setitem(DESIGN, "revert_1", ("revert", [], sorted([1, more], key=str), 1.0, 0.03, (0.0, 0.4)))
    table = compare()
    own = table[table["strategy"].isin(["revert_1", "layers_1"])]
    assert set(own["reference"]) == {"none"}  # neither random sets of blocks nor freezing of layer 1 alone
    assert set(own.loc[own["strategy"] == "revert_1", "layers"]) == {"0-1" if more == 0 else "1,head"}
    transfer, impact, distances, runs = make_study()
    causes = compute_causes(transfer, impact, distances, ["genetic"], runs, "none")
    assert "head" not in set(causes["layer_label"])
