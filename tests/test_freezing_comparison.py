import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xling.analysis.questions.freezing import (
    BASELINE,
    COMPARISON,
    RANDOM_REFERENCE,
    compare_strategies,
    compute_freezing,
    compute_paired_interval,
    compute_run_metrics,
    count_frozen_layers,
)
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


def test_interval_equals_that_of_scipys_paired_t_test():
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=8), rng.normal(size=8)
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.9)
    assert compute_paired_interval(pd.Series(ours - theirs), 0.9) == pytest.approx((expected.low, expected.high))


def test_change_is_the_mean_paired_difference_with_its_numbers():
    transfer = make_transfer({"bottom_3": 0.03})
    row = compare(transfer).loc[("bottom_3", BASELINE, "mean_target_score")]
    cells = transfer[~transfer["is_in_language"]].groupby(["strategy", "source_language", "seed"])["score"].mean()
    expected = stats.ttest_rel(cells["bottom_3"], cells["none"]).confidence_interval(0.95)
    assert row["change"] == pytest.approx((cells["bottom_3"] - cells["none"]).mean())
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row[["n_pairs", "n_sources", "n_seeds", "n_reference_sets"]].tolist() == [6, 2, 3, 1]


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
    table = compare(make_transfer({"bottom_3": target}, {"bottom_3": source}))
    verdict = table.loc[("bottom_3", BASELINE, "transfer_gap"), "verdict"]
    assert pd.Series(verdict).str.contains(sentence).all(), verdict


@pytest.mark.parametrize(("sign", "sentence"), [(-1, "neither the targets' gain"), (1, "neither the source's gain")])
def test_a_gap_whose_parts_are_uncertain_is_not_called_better_or_worse(sign, sentence):
    numbers = {"strategy": "a", "reference": "none", "n_pairs": 4, "n_sources": 2, "n_seeds": 2, "reason": ""}
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
