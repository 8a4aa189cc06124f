"""Strategies of freezing compared run by run: differences, intervals and references, against cases done by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xling.analysis.questions.freezing import (
    BASELINE,
    COMPARISON,
    compare_strategies,
    compute_freezing,
    compute_run_metrics,
    count_frozen_layers,
)
from xling.analysis.questions.item_variance import contributions, t_interval
from xling.analysis.questions.random_sets import RANDOM_REFERENCE, judge_among_sets, sets_needed
from xling.analysis.questions.verdicts import write_verdict
from xling.errors import XlingValueError

SOURCES, TARGETS, SEEDS = ("en", "ru"), ("ar", "de", "en", "ru", "sw", "zh"), (1, 2, 3)
WITH_RANDOM = ("none", "bottom_3", "random_3_1", "random_3_2", "random_6_1")
FAR = dict(zip(TARGETS, (0.9, 0.2, 0.0, 0.4, 1.0, 0.7), strict=True))


def make_transfer(shifts=None, source_shifts=None, noise=0.005, strategies=("none", "bottom_3")) -> pd.DataFrame:
    """Accuracy falls with distance; `shifts` and `source_shifts` are added to S != T and S = T cells of a strategy."""
    rng = np.random.default_rng(0)
    cells = pd.DataFrame(
        itertools.product(strategies, SOURCES, SEEDS, TARGETS),
        columns=["strategy", "source_language", "seed", "target_language"],
    )
    cells["study"] = "made_up"
    cells["is_in_language"] = cells["source_language"] == cells["target_language"]
    cells["genetic"] = abs(cells["source_language"].map(FAR) - cells["target_language"].map(FAR))
    cells["score"] = 0.8 - 0.2 * cells["genetic"] + noise * rng.standard_normal(len(cells))
    away = cells["strategy"].map(shifts or {}).fillna(0.0)
    home = cells["strategy"].map(source_shifts or {}).fillna(0.0)
    cells["score"] += np.where(cells["is_in_language"], home, away)
    return cells


CELLS = ["source_language", "target_language", "seed"]


def compare(transfer, **options) -> pd.DataFrame:
    return compare_strategies(transfer, **options).set_index(["strategy", "reference", "metric"])


def test_run_metrics_on_a_case_done_by_hand():
    transfer = pd.DataFrame(
        {
            "study": "made_up",
            "source_language": "en",
            "seed": 1,
            "target_language": ["en", "de", "ru", "sw", "zh"],
            "is_in_language": [True, False, False, False, False],
            "score": [0.9, 0.8, 0.7, 0.6, 0.5],
            "genetic": [0.0, 0.1, 0.2, 0.3, 0.4],
        }
    )
    row = compute_run_metrics(transfer, ("genetic",)).loc[("made_up", "en", 1)]
    assert row["source_score"] == pytest.approx(0.9)
    assert row["mean_target_score"] == pytest.approx(0.65)
    assert row["transfer_gap"] == pytest.approx(0.25)
    assert row["worst_score"] == pytest.approx(0.6)
    assert row["slope_genetic"] == pytest.approx(-1.0)


def test_run_metrics_are_those_of_each_run_by_itself():
    rng = np.random.default_rng(3)
    sources, targets, seeds = ("en", "sw", "de", "fr"), ("en", "sw", "de", "fr", "ru", "zh"), (1, 2, 3)
    cells = pd.DataFrame(itertools.product(["s"], sources, targets, seeds), columns=["study", *CELLS])
    cells["is_in_language"] = cells["source_language"] == cells["target_language"]
    cells["score"], cells["genetic"] = rng.random(len(cells)), rng.choice([0.1, 0.4, 0.9], len(cells))
    cells["far"] = 1e6 + 1e-3 * rng.random(len(cells))  # a large mean must not cost the digits of the slope
    cells.loc[rng.random(len(cells)) < 0.3, "score"] = np.nan
    cells.loc[rng.random(len(cells)) < 0.2, "genetic"] = np.nan
    cells.loc[cells["source_language"] == "fr", "genetic"] = 0.4  # no slope over one distance
    cells.loc[(cells["source_language"] == "sw") & ~cells["target_language"].isin(["en", "ru"]), "score"] = np.nan
    found = compute_run_metrics(cells, ("genetic", "far"))
    assert found.isna().any().loc[["worst_score", "slope_genetic"]].all()
    for run, group in (
        cells[~cells["is_in_language"]].dropna(subset="score").groupby(["study", "source_language", "seed"])
    ):
        worst = sorted(group["score"])[:3]
        assert found.loc[run, "worst_score"] == pytest.approx(
            np.mean(worst) if len(worst) == 3 else np.nan, nan_ok=True
        )
        for kind in ("genetic", "far"):
            known = group.dropna(subset=kind)
            is_defined = len(known) >= 3 and known[kind].nunique() > 1
            slope = stats.linregress(known[kind], known["score"]).slope if is_defined else np.nan
            assert found.loc[run, f"slope_{kind}"] == pytest.approx(slope, rel=1e-7, nan_ok=True)


def test_the_interval_is_taken_over_sources_and_over_seeds_of_a_single_one():
    index = pd.MultiIndex.from_product([["s"], ["en", "ru", "sw"], [1, 2]], names=["study", "source_language", "seed"])
    values = pd.Series(np.random.default_rng(1).normal(size=6), index)
    expected = stats.ttest_1samp(values.groupby("source_language").mean(), 0).confidence_interval(0.9)
    assert t_interval(values, 0.9) == pytest.approx((expected.low, expected.high, "sources"), abs=1e-12)
    one = values.loc[:, ["en"]]
    expected = stats.ttest_1samp(one, 0).confidence_interval(0.9)
    assert t_interval(one, 0.9)[:2] == pytest.approx((expected.low, expected.high))
    assert t_interval(one).over == "seeds of one source"
    assert np.isnan(t_interval(one[:1]).low)


def test_change_is_the_mean_paired_difference_with_its_numbers():
    transfer = make_transfer({"bottom_3": 0.03})
    row = compare(transfer).loc[("bottom_3", BASELINE, "mean_target_score")]
    cells = transfer[~transfer["is_in_language"]].groupby(["strategy", "source_language", "seed"])["score"].mean()
    differences = cells["bottom_3"] - cells["none"]
    expected = stats.ttest_1samp(differences.groupby("source_language").mean(), 0).confidence_interval(0.95)
    assert row["change"] == pytest.approx(differences.mean())
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row[["n_pairs", "n_sources", "n_seeds", "n_reference_sets"]].tolist() == [6, 2, 3, 1]
    assert row["over"] == "sources"


def test_gap_changes_by_source_minus_target():
    table = compare(make_transfer({"bottom_3": 0.02}, {"bottom_3": -0.01}))
    changes = table.loc[("bottom_3", BASELINE), "change"]
    difference = changes["source_score"] - changes["mean_target_score"]
    assert changes["transfer_gap"] == pytest.approx(difference, abs=1e-12)


def test_random_sets_of_equal_size_alone_are_the_second_reference():
    sizes = {"none": (0, 0), "bottom_3": (0, 3), "random_3_1": (0, 3), "random_3_2": (0, 3), "random_6_1": (0, 6)}
    transfer = make_transfer(
        {"bottom_3": 0.04, "random_3_1": 0.01, "random_3_2": 0.03, "random_6_1": 0.5}, None, 0, WITH_RANDOM
    )
    table = compare(transfer, sizes=sizes)
    row = table.loc[("bottom_3", RANDOM_REFERENCE, "mean_target_score")]
    assert row["change"] == pytest.approx(0.02)
    assert row["n_reference_sets"] == 2
    assert row["n_pairs"] == 6
    assert ("random_6_1", RANDOM_REFERENCE, "transfer_gap") not in table.index
    assert RANDOM_REFERENCE not in compare(make_transfer()).index.get_level_values("reference")


def test_a_set_with_frozen_embeddings_is_not_of_equal_size():
    sizes = {"none": (0, 0), "bottom_3": (1, 3), "random_3_1": (0, 3), "random_3_2": (0, 4), "random_6_1": (1, 3)}
    table = compare(make_transfer(strategies=WITH_RANDOM), sizes=sizes)
    assert table.loc[("bottom_3", RANDOM_REFERENCE, "transfer_gap"), "n_reference_sets"] == 1


def test_targets_that_only_one_side_measured_are_left_out():
    transfer = make_transfer(noise=0)
    gone = (transfer["strategy"] == "bottom_3") & (transfer["target_language"] == "sw")
    row = compare(transfer[~gone]).loc[("bottom_3", BASELINE, "mean_target_score")]
    assert row["change"] == pytest.approx(0, abs=1e-12)


def test_a_run_without_partner_is_left_out_and_a_single_pair_has_no_interval():
    transfer = make_transfer()
    one = transfer[
        (transfer["strategy"] != "bottom_3") | ((transfer["seed"] == 1) & (transfer["source_language"] == "en"))
    ]
    row = compare(one).loc[("bottom_3", BASELINE, "transfer_gap")]
    assert row["n_pairs"] == 1
    assert np.isnan(row["low"])
    assert "two seeds or sources" in row["reason"]
    assert "cannot tell" in row["verdict"]


def test_training_time_is_compared_where_it_is_known():
    runs = make_transfer()[["study", "strategy", "source_language", "seed"]].drop_duplicates()
    runs["train_seconds"] = np.where(runs["strategy"] == "bottom_3", 60.0, 100.0) + runs["seed"]
    table = compare(make_transfer(), runs=runs)
    row = table.loc[("bottom_3", BASELINE, "train_seconds")]
    assert row[["change", "strategy_mean", "reference_mean"]].tolist() == pytest.approx([-40, 62, 102])
    assert "training time falls (-40 s" in row["verdict"]
    unknown = compare(make_transfer()).loc[("bottom_3", BASELINE, "train_seconds")]
    assert unknown["n_pairs"] == 0
    assert "no source and seed" in unknown["reason"]


def test_slope_on_distance_follows_a_change_for_distant_targets():
    transfer = make_transfer(noise=0.001)
    transfer.loc[transfer["strategy"] == "bottom_3", "score"] += 0.1 * transfer["genetic"]
    row = compare(transfer, kinds=("genetic",)).loc[("bottom_3", BASELINE, "slope_genetic")]
    assert row["change"] == pytest.approx(0.1, abs=0.01)
    assert "the slope of score on genetic distance rises" in row["verdict"]


def test_a_difference_lost_in_noise_gets_no_direction():
    verdicts = compare(make_transfer(noise=0.05))["verdict"]
    score = verdicts[verdicts.index.get_level_values("metric") == "mean_target_score"]
    assert score.str.contains("cannot tell whether mean target score changes; the interval includes 0").all()


@pytest.mark.parametrize(
    ("target", "source", "sentence"),
    [
        (0.05, 0.0, "falls .*the targets themselves gain"),
        (0.0, -0.05, "falls .*no better transfer is shown: the source score falls"),
        (-0.02, -0.08, "falls .*no better transfer is shown: the source score falls"),
        (0.0, 0.05, "rises .*no worse transfer is shown: the source score rises"),
        (-0.05, 0.0, "rises .*the targets themselves lose"),
    ],
)
def test_a_changed_gap_is_explained_by_source_and_targets(target, source, sentence):
    table = compare(make_transfer({"bottom_3": target}, {"bottom_3": source}, noise=0.0005))
    verdict = table.loc[("bottom_3", BASELINE, "transfer_gap"), "verdict"]
    assert pd.Series(verdict).str.contains(sentence).all(), verdict


@pytest.mark.parametrize(("sign", "sentence"), [(-1, "neither the targets' gain"), (1, "neither the source's gain")])
def test_a_gap_whose_parts_are_uncertain_is_not_called_better_or_worse(sign, sentence):
    numbers = {"strategy": "a", "reference": "none", "n_pairs": 4, "n_sources": 2, "n_seeds": 2}
    numbers |= {"over": "sources", "reason": ""}
    gap = pd.Series(
        numbers
        | {"metric": "transfer_gap", "change": sign * 0.02, "low": sign * 0.02 - 0.01, "high": sign * 0.02 + 0.01}
    )
    unsure = pd.Series(numbers | {"metric": "source_score", "change": 0.0, "low": -0.1, "high": 0.1})
    assert sentence in write_verdict(gap, unsure, unsure)


def test_strategies_without_the_baseline_are_refused():
    transfer = make_transfer()
    with pytest.raises(XlingValueError, match=r"needs runs of strategy 'none', found \['bottom_3'"):
        compare_strategies(transfer[transfer["strategy"] != "none"])


def test_the_baseline_alone_gives_an_empty_table_with_all_columns():
    table = compare_strategies(make_transfer().query("strategy == 'none'"))
    assert table.empty
    assert list(table.columns) == list(COMPARISON)


def test_another_baseline_can_be_named():
    transfer = make_transfer({"bottom_3": 0.03}).replace({"strategy": {"none": "word_embeddings"}})
    expected = compare(make_transfer({"bottom_3": 0.03}))
    found = compare(transfer, baseline="word_embeddings")
    assert found["change"].tolist() == pytest.approx(expected["change"].tolist(), nan_ok=True)
    assert set(found.index.get_level_values("reference")) == {"word_embeddings"}


def test_names_and_row_order_change_nothing():
    transfer = make_transfer({"bottom_3": 0.02})
    names = dict(zip(TARGETS, TARGETS[1:] + TARGETS[:1], strict=True))
    other = transfer.replace({"source_language": names, "target_language": names}).sample(frac=1, random_state=0)
    kinds = ("genetic",)
    pd.testing.assert_frame_equal(compare(other, kinds=kinds), compare(transfer, kinds=kinds))


def test_frozen_blocks_and_embeddings_are_counted_once_over_targets_and_runs():
    impact = pd.DataFrame(
        itertools.product(("none", "bottom_1"), ("en", "de"), (0, 1, 2)),
        columns=["strategy", "target_language", "layer"],
    )
    impact["is_frozen"] = (impact["strategy"] == "bottom_1") & (impact["layer"] < 2)
    assert count_frozen_layers(impact) == {"none": (0, 0), "bottom_1": (1, 1)}


def test_tables_of_runs_are_compared_at_their_last_validation():
    transfer = make_transfer({"bottom_3": 0.03}, strategies=WITH_RANDOM[:-1])
    distances = transfer[["source_language", "target_language", "genetic"]].drop_duplicates()
    last = transfer.drop(columns="genetic").assign(epoch=3, step=30, n_examples=100)
    last = last.assign(metric="accuracy")
    early = last.assign(epoch=1, step=10, score=0.33)
    frozen = {"none": 0, "bottom_3": 3, "random_3_1": 3, "random_3_2": 3}
    impact = pd.DataFrame(
        [(s, i, i < n) for s, n in frozen.items() for i in range(7)], columns=["strategy", "layer", "is_frozen"]
    )
    table = compute_freezing(pd.concat([early, last]), impact, distances.assign(genetic_coverage=1.0))
    sizes = {strategy: (int(n > 0), max(n - 1, 0)) for strategy, n in frozen.items()}
    assert (table["reference"] == RANDOM_REFERENCE).any()
    pd.testing.assert_frame_equal(table, compare_strategies(transfer, ("genetic",), sizes))


def test_a_set_is_ranked_among_random_sets_by_its_distance_from_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.normal(size=8)  # the candidate's first
        p = judge_among_sets(values[0] - values[1:]).p_rank
        distance = np.abs(values - values.mean())
        assert p == pytest.approx((distance >= distance[0]).mean())
    assert judge_among_sets(np.full(19, 0.1) + 1e-3 * rng.normal(size=19)).p_rank == pytest.approx(0.05)
    assert sets_needed() == 19
    assert np.isnan(judge_among_sets(np.array([0.1]))).all()


def test_a_set_drawn_like_the_random_ones_is_seldom_called_different():
    """The interval against their mean, taken for fixed, calls it different in most studies of many sources."""
    rng, n_studies = np.random.default_rng(0), 400
    by_interval = by_rank = 0
    for _ in range(n_studies):
        values = rng.normal(size=20) + rng.normal(size=20) / 3  # sets, and the mean of nine runs each
        found = judge_among_sets(values[0] - values[1:])
        by_interval += found.low > 0 or found.high < 0
        by_rank += found.p_rank <= 0.05
    assert 0.025 <= by_interval / n_studies <= 0.08
    assert 0.025 <= by_rank / n_studies <= 0.08


def test_a_random_set_is_no_candidate_and_few_sets_are_told():
    sizes = dict.fromkeys(WITH_RANDOM, (0, 3))
    table = compare(make_transfer({"bottom_3": 0.2}, strategies=WITH_RANDOM), sizes=sizes)
    assert ("random_3_1", RANDOM_REFERENCE) not in table.index.droplevel("metric")
    assert ("random_3_1", BASELINE) in table.index.droplevel("metric")
    row = table.loc[("bottom_3", RANDOM_REFERENCE, "mean_target_score")]
    assert row["p_rank"] == 0.25
    assert "mean target score rises" in row["verdict"]
    assert "p = 0.250 by rank among 3 sets, where .05 needs 19" in row["verdict"]
    one = compare(make_transfer(strategies=WITH_RANDOM), sizes=sizes | {"random_3_1": (0, 9), "random_3_2": (0, 9)})
    assert "1 random set of equal size" in one.loc[("bottom_3", RANDOM_REFERENCE, "transfer_gap"), "reason"]


def make_predictions(rng, n_groups=60, shared=0.0, strategies=("none", "bottom_3"), sources=SOURCES, per_group=3):
    """Every group is right with a strategy's own chance, alike in all languages and runs as far as `shared` goes."""
    own = {name: rng.random(n_groups) < 0.7 for name in strategies}
    rows = []
    for strategy, source, seed in itertools.product(strategies, sources, SEEDS):
        for target in TARGETS:
            fresh = rng.random((n_groups, per_group)) < 0.7
            right = np.where(rng.random((n_groups, per_group)) < shared, own[strategy][:, None], fresh)
            rows.append(
                pd.DataFrame(
                    {
                        "study": "made_up",
                        "strategy": strategy,
                        "source_language": source,
                        "seed": seed,
                        "target_language": target,
                        "example_id": np.arange(n_groups * per_group),
                        "group_id": np.repeat(np.arange(n_groups), per_group),
                        "gold": 1,
                        "predicted": right.astype(int).ravel(),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def test_predictions_whose_categories_differ_between_runs_are_compared_by_value():
    predictions = make_predictions(np.random.default_rng(0), n_groups=5)
    own = [rows.astype({"gold": "category", "predicted": "category"}) for _, rows in predictions.groupby("strategy")]
    categories = pd.concat(own).astype({"source_language": "category", "target_language": "category"})
    expected = contributions(predictions, "bottom_3", "none")["mean_target_score"]
    found = contributions(categories, "bottom_3", "none")["mean_target_score"]
    np.testing.assert_allclose(found, expected)


def scores_of(predictions: pd.DataFrame) -> pd.DataFrame:
    right = predictions.assign(score=(predictions["gold"] == predictions["predicted"]).astype(float))
    keys = ["study", "strategy", "source_language", "seed", "target_language"]
    cells = right.groupby(keys, as_index=False)["score"].mean()
    return cells.assign(is_in_language=cells["source_language"] == cells["target_language"])


@pytest.mark.parametrize("metric", ["source_score", "mean_target_score", "transfer_gap"])
def test_contributions_of_groups_add_up_to_the_difference(metric):
    predictions = make_predictions(np.random.default_rng(0))
    table = compare_strategies(scores_of(predictions)).set_index("metric")
    parts = contributions(predictions, "bottom_3", "none")[metric]
    assert parts.shape == (6, 60)
    assert parts.sum(axis=1).mean() == pytest.approx(table.loc[metric, "change"])


def test_stored_predictions_widen_the_interval_where_models_disagree_alike_in_all_languages():
    predictions = make_predictions(np.random.default_rng(0), shared=0.9)
    scores = scores_of(predictions)
    without = compare(scores).loc[("bottom_3", BASELINE, "mean_target_score")]
    given = compare(scores, predictions=predictions).loc[("bottom_3", BASELINE, "mean_target_score")]
    assert given["over"] == "sources and examples"
    assert given["change"] == pytest.approx(without["change"])
    assert given["high"] - given["low"] > 0.1  # two sets of 60 groups: sd .08
    incomplete = predictions[predictions["seed"] == 1]
    assert compare(scores, predictions=incomplete).loc[("bottom_3", BASELINE, "mean_target_score"), "over"] == "sources"


def test_equally_good_models_are_seldom_called_different_on_shared_examples():
    rng, n_studies, called, called_without = np.random.default_rng(1), 60, 0, 0
    for _ in range(n_studies):
        predictions = make_predictions(rng, 40, shared=0.5, sources=("en", "ru", "sw"), per_group=1)
        parts = contributions(predictions, "bottom_3", "none")["mean_target_score"]
        for interval, is_given in ((t_interval(parts), True), (t_interval(parts.sum(axis=1)), False)):
            different = interval.low > 0 or interval.high < 0
            called += different and is_given
            called_without += different and not is_given
    assert called <= 8  # 3 expected; more than 8 of 60 has probability .003
    assert called_without > 15
