"""How well a predictor ranks sources for a target: NDCG and regret against enumeration and cases done by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest

from xling.analysis.questions.ranking import (
    LARGER,
    NEARER,
    compute_ndcg,
    compute_ranking,
    compute_regret,
    compute_relevance,
    rank_targets,
)

SOURCES, TARGETS = ("en", "ru", "sw", "zh"), ("de", "en", "fr", "ru", "sw", "th", "zh")


def make_pairs(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame(itertools.product(SOURCES, TARGETS), columns=["source_language", "target_language"])
    cells["strategy"] = "none"
    cells["is_in_language"] = cells["source_language"] == cells["target_language"]
    cells["score"] = rng.uniform(0.4, 0.8, len(cells))
    cells["genetic"], cells["genetic_coverage"] = 1 - cells["score"], 1.0
    cells["constant"], cells["constant_coverage"] = 1.0, 1.0
    cells["score_in_language"] = cells["source_language"].map(dict(zip(SOURCES, (0.6, 0.7, 0.8, 0.9), strict=True)))
    mean = cells.assign(layer=pd.NA, layer_label="mean", impact=cells["score"])
    layer = cells.assign(layer=1, layer_label="01", impact=-cells["score"])
    return pd.concat([mean.astype({"layer": "Int64"}), layer.astype({"layer": "Int64"})], ignore_index=True)


def brute_force_ndcg(score, accuracy, cutoff=3):
    """Mean over all orders that agree with `score`, written out from the definition."""
    n = len(score)
    relevance = [max(0, 10 - sum(other > own for other in accuracy)) for own in accuracy]
    dcg = [
        sum((2 ** relevance[i] - 1) / np.log2(place + 2) for place, i in enumerate(order[:cutoff]))
        for order in itertools.permutations(range(n))
        if all(score[a] >= score[b] for a, b in itertools.pairwise(order))
    ]
    ideal = sorted(((2**r - 1) for r in relevance), reverse=True)[:cutoff]
    return np.mean(dcg) / sum(gain / np.log2(place + 2) for place, gain in enumerate(ideal))


@pytest.mark.parametrize("seed", range(8))
def test_ndcg_equals_the_mean_over_all_orders_of_ties(seed):
    rng = np.random.default_rng(seed)
    score, accuracy = rng.integers(0, 3, 5).astype(float), rng.integers(4, 8, 5) / 10
    assert compute_ndcg(score, accuracy) == pytest.approx(brute_force_ndcg(score, accuracy), rel=1e-12)


def test_ndcg_is_one_for_the_perfect_order_and_less_for_the_reverse():
    accuracy = np.array([0.5, 0.9, 0.7, 0.6])
    assert compute_ndcg(accuracy, accuracy) == pytest.approx(1)
    assert compute_ndcg(-accuracy, accuracy) < 0.5


def test_ndcg_depends_on_ranks_alone():
    score, accuracy = np.array([0.1, 0.4, 0.2, 0.9]), np.array([0.5, 0.9, 0.7, 0.6])
    assert compute_ndcg(np.exp(5 * score), accuracy**2) == compute_ndcg(score, accuracy)


def test_relevance_of_the_eleventh_source_is_zero():
    assert compute_relevance(np.arange(12)[::-1]).tolist() == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_regret_is_zero_for_the_best_choice_and_the_difference_otherwise():
    accuracy = np.array([0.5, 0.9, 0.7])
    assert compute_regret(accuracy, accuracy) == 0
    assert compute_regret(np.array([1.0, 0.0, 0.0]), accuracy) == pytest.approx(0.4)


def test_in_language_cells_are_not_candidates():
    pairs = make_pairs()
    cells = pairs[pairs["layer_label"] == "mean"]
    targets = rank_targets(cells, "genetic", NEARER).set_index("target_language")
    assert targets.loc["en", "n_sources"] == 3
    assert targets.loc["de", "n_sources"] == 4
    changed = cells.assign(score=cells["score"].where(~cells["is_in_language"], 1.0))
    pd.testing.assert_frame_equal(rank_targets(changed, "genetic", NEARER).set_index("target_language"), targets)


def test_perfect_predictors_reach_one_and_a_constant_one_equals_chance():
    table = compute_ranking(make_pairs()).set_index(["predictor", "layer_label"])
    for perfect in (("genetic", ""), ("impact", "mean")):
        assert table.loc[perfect, "ndcg_at_3"] == pytest.approx(1)
        assert table.loc[perfect, "regret"] == pytest.approx(0)
    assert table.loc[("impact", "01"), "ndcg_at_3"] < table.loc[("impact", "01"), "ndcg_at_3_random"]
    constant = table.loc[("constant", "")]
    assert constant["ndcg_at_3"] == pytest.approx(constant["ndcg_at_3_random"])
    assert constant["regret"] == pytest.approx(constant["regret_random"])
    assert table.loc[("score_in_language", ""), "direction"] == LARGER
    assert table.loc[("genetic", ""), ["n_targets", "n_sources_min", "n_sources_max"]].tolist() == [7, 3, 4]


def test_ranking_ignores_row_order_and_names_of_languages():
    pairs = make_pairs()
    names = dict(zip(TARGETS, TARGETS[3:] + TARGETS[:3], strict=True))
    renamed = pairs.replace({"source_language": names, "target_language": names}).sample(frac=1, random_state=1)
    key = ["predictor", "layer_label"]
    pd.testing.assert_frame_equal(
        compute_ranking(pairs).sort_values(key, ignore_index=True),
        compute_ranking(renamed).sort_values(key, ignore_index=True),
    )


def test_a_missing_predictor_leaves_out_the_pair_and_one_source_gives_a_reason():
    pairs = make_pairs()
    pairs.loc[(pairs["source_language"] == "sw") & (pairs["target_language"] == "de"), "genetic"] = np.nan
    table = compute_ranking(pairs).set_index(["predictor", "layer_label"])
    assert table.loc[("genetic", ""), "n_sources_max"] == 4
    alone = compute_ranking(pairs[pairs["source_language"] == "en"])
    assert alone["ndcg_at_3"].isna().all()
    assert alone["reason"].str.contains("at least 2 sources").all()


def test_missing_impact_gives_a_reason_and_leaves_the_distances():
    table = compute_ranking(make_pairs().assign(impact=np.nan)).set_index("predictor")
    assert (table.loc["impact", "reason"] != "").all()
    assert table.loc["genetic", "reason"] == ""
