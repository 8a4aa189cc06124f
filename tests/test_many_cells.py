"""Fast sums over many cells give what the plain loops over single cells and targets give."""

import numpy as np
import pandas as pd
import pytest
from analysis_factory import make_distances, make_runs
from scipy import stats

from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.questions.ranking import (
    LARGER,
    NEARER,
    compute_ndcg,
    compute_regret,
    compute_relevance,
    rank_targets,
)
from xling.analysis.questions.source_choice import _follow, losses

LANGUAGES = ("de", "en", "fr", "sw", "ur")
DISTANCES = make_distances(LANGUAGES, ("genetic",))
CELL = ["source_language", "target_language"]


@pytest.fixture
def runs():
    """Runs of three seeds, in which scores and impacts are missing here and there."""
    transfer, impact = make_runs(DISTANCES, LANGUAGES, n_layers=3, seeds=(1, 2, 3))
    rng = np.random.default_rng(5)
    transfer.loc[rng.random(len(transfer)) < 0.1, "score"] = np.nan
    is_cell = (impact["source_language"] == "en") & (impact["target_language"] == "sw") & (impact["layer"] == 2)
    impact.loc[is_cell | (rng.random(len(impact)) < 0.05), "impact"] = np.nan
    return transfer, impact


def test_cells_of_the_pair_table_are_means_over_all_seeds_and_layers_or_missing(runs):
    transfer, impact = runs
    pairs = compute_pairs(transfer, impact, DISTANCES)
    means = pairs[pairs["layer_label"] == "mean"].set_index(CELL)
    assert 0 < means["score"].isna().sum() < len(means)
    assert means["impact"].isna().sum() > 0
    for cell, row in means.iterrows():
        own, layers = (table.set_index(CELL).loc[[cell]] for table in (transfer, impact))
        assert row["score"] == pytest.approx(own["score"].mean(skipna=False), rel=1e-12, nan_ok=True)
        blocks = layers[layers["layer"] >= 1].groupby("seed")["impact"]
        of_seeds = blocks.agg(lambda values: values.mean(skipna=False))
        assert row["impact"] == pytest.approx(of_seeds.mean(), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("n", [1, 2, 7, 15])
def test_grades_are_by_rank_with_ties_at_the_better_one(n):
    for seed in range(20):
        score = np.random.default_rng(seed).integers(0, 8, n) / 8
        place = stats.rankdata(-score, method="min").astype(int)
        assert compute_relevance(score).tolist() == np.clip(11 - place, 0, None).tolist()


@pytest.mark.parametrize("direction", [NEARER, LARGER])
def test_targets_are_judged_one_by_one(runs, direction):
    cells = compute_pairs(*runs, DISTANCES)
    cells = cells[cells["layer_label"] == "mean"].sample(frac=1, random_state=0)
    cells["genetic"] = cells["genetic"].round(1)  # ties
    judged = rank_targets(cells, "genetic", direction).set_index("target_language")
    sign = -1 if direction == NEARER else 1
    for target, sources in (
        cells[~cells["is_in_language"]].dropna(subset=["score", "genetic"]).groupby("target_language")
    ):
        guide, score = sign * sources["genetic"].to_numpy(), sources["score"].to_numpy()
        row, nobody = judged.loc[target], np.zeros(len(sources))
        assert row["n_sources"] == len(sources)
        assert row["ndcg_at_3"] == pytest.approx(compute_ndcg(guide, score), rel=1e-12)
        assert row["ndcg_at_3_random"] == pytest.approx(compute_ndcg(nobody, score), rel=1e-12)
        assert row["regret"] == pytest.approx(compute_regret(guide, score), rel=1e-12, abs=1e-15)
        assert row["regret_random"] == pytest.approx(compute_regret(nobody, score), rel=1e-12)


def test_a_choice_by_order_is_followed_target_by_target():
    rng = np.random.default_rng(2)
    scores = pd.DataFrame(rng.random((6, 5)), list("abcdef"), list("vwxyz")).mask(rng.random((6, 5)) < 0.2)
    lost = losses(scores)
    order = pd.DataFrame(rng.integers(0, 3, (6, 5)) / 2, list("fedcba"), list("zyxwv")).mask(rng.random((6, 5)) < 0.3)
    order.loc[:, "w"] = np.nan
    found = _follow(lost, order)
    for target in lost:
        values = order[target].reindex(lost.index).where(lost[target].notna())
        one = lost.loc[values == values.min(), target].mean() if values.notna().any() else np.nan
        assert found[target] == pytest.approx(one, rel=1e-12, nan_ok=True)
    assert np.isnan(found["w"])
    assert found.notna().sum() == 4
