"""The instrumental-variables estimate: recovers a planted effect, is not fooled by a confounder, keeps its level."""

import itertools

import numpy as np
import pandas as pd
import pytest

from xling.analysis.inference.two_way import ClusteredMean, clustered_mean, mean_interval, ratio_interval
from xling.analysis.questions.cause import CAUSE, FEW, WEAK, compute_cause, dose_slopes, estimate_cause, naive_slope

SOURCES, TARGETS = ("en", "ru", "sw", "de"), ("en", "ru", "sw", "zh", "th", "hi", "ar", "vi")
PAIRS = [(s, t) for s, t in itertools.product(SOURCES, TARGETS) if s != t]


def simulate(rng, effect, first=-0.3, confounding=0.0, noise=0.02, doses=(0.0, 0.5, 1.0), seeds=(1, 2)):
    """Impact falls with the dose; a confounder of pairs raises impact and lowers the score; the dose acts through impact alone."""
    rows = []
    strength = {s: 1 + 0.3 * rng.normal() for s in SOURCES}
    for source, target in PAIRS:
        hidden = rng.normal()
        for seed, dose in itertools.product(seeds, doses):
            impact = 0.6 + 0.1 * hidden + first * strength[source] * dose + noise * rng.normal()
            score = 0.7 + effect * impact - confounding * hidden + noise * rng.normal()
            rows.append((source, target, seed, dose, impact, score))
    return pd.DataFrame(rows, columns=["source_language", "target_language", "seed", "dose", "impact", "score"])


def test_a_planted_effect_is_recovered_and_a_confounder_does_not_fool_it():
    rng = np.random.default_rng(10)
    (planted,) = estimate_cause(simulate(rng, effect=-0.4, confounding=0.1))
    assert planted["effect"] == pytest.approx(-0.4, abs=0.05)
    assert planted["effect_low"] < -0.4 < planted["effect_high"]
    (confounded,) = estimate_cause(simulate(rng, effect=0.0, confounding=0.1))
    assert confounded["effect_low"] < 0 < confounded["effect_high"]
    assert abs(confounded["effect"]) < 0.05
    assert confounded["naive"] < -0.7  # the regression over pairs takes the confounder for an effect


def test_intervals_keep_their_level_under_the_null_and_cover_an_effect():
    rng = np.random.default_rng(1)
    for effect in (0.0, -0.4):
        rows = [estimate_cause(simulate(rng, effect, confounding=0.1, seeds=(1,)))[0] for _ in range(150)]
        missed = np.mean([not row["effect_low"] <= effect <= row["effect_high"] for row in rows])
        assert missed <= 0.09  # .05 + 2.2 standard errors


def test_a_dose_that_moves_nothing_says_so_instead_of_an_interval():
    (row,) = estimate_cause(simulate(np.random.default_rng(2), effect=-0.4, first=0.0))
    assert (row["effect_low"], row["effect_high"]) == (-np.inf, np.inf)
    assert row["reason"] == WEAK


def test_one_source_gives_estimates_without_intervals():
    cells = simulate(np.random.default_rng(3), effect=-0.4)
    (row,) = estimate_cause(cells[cells["source_language"] == "en"])
    assert np.isfinite(row["effect"])
    assert np.isnan(row["effect_low"])
    assert row["reason"] == FEW
    (none,) = estimate_cause(cells[cells["dose"] == 0])
    assert none["reason"] == "no pair was measured at two doses"


def test_slopes_are_those_of_least_squares_within_pair_and_seed():
    cells = simulate(np.random.default_rng(4), effect=-0.4, doses=(0.0, 0.2, 1.0))
    slopes = dose_slopes(cells)
    own = cells[(cells["source_language"] == "en") & (cells["target_language"] == "zh")]
    expected = [np.polyfit(rows["dose"], rows["score"], 1)[0] for _, rows in own.groupby("seed")]
    assert slopes.loc[("en", "zh"), "score"] == pytest.approx(np.mean(expected))
    assert len(slopes) == len(PAIRS)


def test_heterogeneity_by_distance_is_found_and_absent_where_there_is_none():
    rng = np.random.default_rng(5)
    far = pd.DataFrame({"genetic": rng.uniform(size=len(PAIRS))}, pd.MultiIndex.from_tuples(PAIRS))
    far.index.names = ["source_language", "target_language"]
    cells = simulate(rng, effect=0.0)
    (flat,) = estimate_cause(cells, far, ["genetic"])
    assert flat["by_distance_low"] < 0 < flat["by_distance_high"]
    distance = cells.set_index(["source_language", "target_language"]).index.map(far["genetic"])
    tilted = cells.assign(score=cells["score"] + 0.1 * cells["dose"] * distance)
    (row,) = estimate_cause(tilted, far, ["genetic"])
    assert row["reduced_by_distance"] == pytest.approx(0.1, abs=0.03)
    assert row["by_distance_low"] > 0
    (constant,) = estimate_cause(cells, far.assign(genetic=0.5), ["genetic"])
    assert np.isnan(constant["reduced_by_distance"])


def test_the_naive_slope_equals_a_regression_with_dummies():
    cells = simulate(np.random.default_rng(6), effect=-0.4, confounding=0.1).query("dose == 0")
    pairs = cells.groupby(["source_language", "target_language"], as_index=False)[["impact", "score"]].mean()
    dummies = pd.get_dummies(pairs[["source_language", "target_language"]]).to_numpy(float)
    design = np.column_stack([pairs["impact"], dummies])
    assert naive_slope(cells) == pytest.approx(np.linalg.lstsq(design, pairs["score"].to_numpy(), rcond=None)[0][0])
    assert np.isnan(naive_slope(cells[cells["source_language"] == "en"]))


def test_every_treatment_is_estimated_at_the_layers_it_treats():
    rng = np.random.default_rng(7)
    names = {0.0: "none", 0.5: "revert_1x0.5", 1.0: "revert_1"}
    cells = simulate(rng, effect=-0.4).assign(strategy=lambda frame: frame["dose"].map(names)).drop(columns="dose")
    cells = pd.concat([cells.assign(layer=layer) for layer in (1, 2)])
    treatments = pd.DataFrame(
        {"strategy": ["revert_1x0.5", "revert_1"], "treatment": "revert 1", "dose": [0.5, 1.0], "layers": [[1], [1]]}
    )
    far = pd.DataFrame(PAIRS, columns=["source_language", "target_language"]).assign(
        genetic=rng.uniform(size=len(PAIRS))
    )
    table = compute_cause(cells, treatments, "none", far, ["genetic"])
    assert list(table.columns) == list(CAUSE)
    assert table[["treatment", "layer_label", "distance", "n_doses"]].to_numpy().tolist() == [
        ["revert 1", "01", "genetic", 2]
    ]
    assert table["effect"].iloc[0] == pytest.approx(-0.4, abs=0.05)


def test_the_clustered_covariance_is_that_of_crossed_effects():
    rng = np.random.default_rng(8)
    sources, targets = (np.array(side) for side in zip(*itertools.product(range(6), range(10)), strict=True))
    widths = []
    for _ in range(500):
        values = rng.normal(size=6)[sources] + 0.5 * rng.normal(size=10)[targets] + rng.normal(size=60)
        widths.append(clustered_mean(values[:, None], sources, targets).covariance[0, 0])
    assert np.mean(widths) == pytest.approx(1 / 6 + 0.25 / 10 + 1 / 60, rel=0.1)


def test_fiellers_interval_is_the_set_of_ratios_that_are_not_rejected():
    found = ClusteredMean(np.array([0.5, -0.2]), np.array([[0.01, 0.002], [0.002, 0.004]]), 5)
    low, high = ratio_interval(found)
    for ratio in (low, high):
        contrast = np.array([-ratio, 1.0])
        half = mean_interval(
            ClusteredMean(contrast @ found.mean[:, None], np.array([[contrast @ found.covariance @ contrast]]), 5), 0
        )
        assert min(abs(half[0]), abs(half[1])) == pytest.approx(0, abs=1e-9)
    assert ratio_interval(found._replace(mean=np.array([0.1, 1.0]))) == (-np.inf, np.inf)
    assert all(np.isnan(ratio_interval(found._replace(freedom=0))))
