"""Tables over the steps of training."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xling.analysis.questions.item_variance import t_interval, t_intervals
from xling.analysis.questions.trajectory import (
    HALF_TIMES,
    OVER_TIME,
    TRAJECTORY,
    compute_half_times,
    compute_over_time,
    compute_trajectory,
    half_time,
    shared_steps,
)
from xling.report.sections.trajectory import plot_trajectory

STEPS = (0, 10, 20, 30, 40)
SOURCES, TARGETS = ("en", "ru", "sw"), ("en", "ru", "sw", "zh", "th")


def make_runs(noise=0.0, seeds=(1, 2)):
    """Layer 2 moves first, at a constant rate up to step 20; layer 1 throughout; the score follows early impact and distance."""
    rng = np.random.default_rng(0)
    far = {pair: rng.uniform() for pair in itertools.product(SOURCES, TARGETS)}
    impact, transfer = [], []
    for (source, target), seed, step in itertools.product(far, seeds, STEPS):
        key = {"study": "s", "source_language": source, "target_language": target, "strategy": "none", "seed": seed}
        key |= {"epoch": step / 40, "step": step, "is_in_language": source == target}
        curves = {1: step / 40, 2: min(step, 20) / 20}
        for layer, share in curves.items():
            value = (1 - far[source, target]) * share * layer + noise * rng.normal()
            impact.append(key | {"layer": layer, "impact": value})
        transfer.append(key | {"score": 0.9 - 0.2 * far[source, target] * step / 40})
    distances = pd.DataFrame([{"source_language": s, "target_language": t, "genetic": d} for (s, t), d in far.items()])
    transfer = pd.DataFrame(transfer)
    return transfer[transfer["step"] > 0], pd.DataFrame(impact), distances


def test_a_half_time_is_interpolated():
    assert half_time([10, 20, 30], [1.0, 2.0, 4.0]) == 20
    assert half_time([10, 20, 30], [3.0, 3.0, 4.0]) == pytest.approx(20 / 3)
    assert half_time([10, 20, 30], [3.0, 0.0, 4.0]) == pytest.approx(20 / 3)  # the first crossing
    assert np.isnan(half_time([10, 20], [0.1, -0.1]))
    assert np.isnan(half_time([10, 20], [np.nan, 1.0]))


def test_half_times_find_the_layer_that_moves_first():
    _, impact, _ = make_runs()
    table = compute_half_times(impact)
    assert list(table.columns) == list(HALF_TIMES)
    mean = table[table["target_language"] == ""].set_index("layer_label")
    assert mean["half_time"].to_dict() == pytest.approx({"01": 20, "02": 10})
    assert mean["share_of_training"].to_dict() == pytest.approx({"01": 0.5, "02": 0.25})
    assert mean["rank"].to_dict() == {"01": 2, "02": 1}
    assert set(mean["over"]) == {"sources"}
    assert (mean["n_runs"] == 6).all()
    assert set(table["target_language"]) == {"", *TARGETS}


def test_half_times_have_intervals_over_sources():
    _, impact, _ = make_runs(noise=0.02)
    row = compute_half_times(impact).query("target_language == 'zh' and layer_label == '01'").iloc[0]
    steps = list(STEPS[1:])
    own = impact.query("target_language == 'zh' and layer == 1")
    times = {
        source: np.mean(
            [half_time(steps, run.set_index("step").loc[steps, "impact"]) for _, run in rows.groupby("seed")]
        )
        for source, rows in own.groupby("source_language")
    }
    values = np.array(list(times.values()))
    assert row["half_time"] == pytest.approx(values.mean())
    half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
    assert (row["low"], row["high"]) == pytest.approx((values.mean() - half, values.mean() + half))


def test_a_layer_that_does_not_move_has_a_reason():
    _, impact, _ = make_runs()
    still = compute_half_times(impact.assign(impact=impact["impact"].where(impact["layer"] == 2, 0.0)))
    row = still[(still["layer_label"] == "01") & (still["target_language"] == "")].iloc[0]
    assert np.isnan(row["half_time"])
    assert row["reason"] == "impact is not above 0 at the end of any run"


def test_few_validations_give_no_half_times_and_no_coefficients():
    transfer, impact, distances = make_runs()
    early = impact[impact["step"].isin((0, 10, 40))]
    assert compute_half_times(early).empty
    assert compute_over_time(transfer, early, distances, ["genetic"]).empty


def test_only_steps_that_every_run_has_count():
    transfer, _, _ = make_runs()
    lacking = transfer[~((transfer["source_language"] == "sw") & (transfer["step"] == 20))]
    assert shared_steps(transfer) == [10, 20, 30, 40]
    assert shared_steps(lacking) == [10, 30, 40]


def test_the_trajectory_averages_runs_and_targets():
    transfer, impact, _ = make_runs(noise=0.01)
    alignment = impact.assign(cka_grouped=1 - impact["impact"]).drop(columns="impact")
    table = compute_trajectory(transfer, impact, alignment)
    assert list(table.columns) == list(TRAJECTORY)
    assert set(table["quantity"]) == {"impact", "score", "alignment"}
    row = table.query("quantity == 'impact' and layer_label == '02' and target_language == '' and step == 30").iloc[0]
    own = impact.query("layer == 2 and step == 30 and not is_in_language")
    per_source = own.groupby(["source_language", "seed"])["impact"].mean().groupby("source_language").mean()
    assert row["mean"] == pytest.approx(per_source.mean())
    assert row["low"] == pytest.approx(per_source.mean() - stats.t.ppf(0.975, 2) * per_source.std(ddof=1) / np.sqrt(3))
    other = table.query("quantity == 'alignment' and layer_label == '02' and target_language == '' and step == 30")
    assert other["mean"].iloc[0] == pytest.approx(1 - row["mean"])
    assert set(table.query("quantity == 'score'")["step"]) == set(STEPS[1:])


@pytest.mark.parametrize("sources", [SOURCES, ("en",)])
@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_intervals_of_many_groups_are_those_of_each(sources, seeds):
    rng = np.random.default_rng(0)
    runs = [run for run in itertools.product("ab", ("s",), sources, seeds) if run != ("a", "s", "sw", 1)]
    index = pd.MultiIndex.from_tuples(runs, names=["layer", "study", "source_language", "seed"])
    values = pd.Series(rng.normal(size=len(index)), index)
    together = t_intervals(values, ["layer"])
    for layer, own in values.groupby("layer"):
        alone = t_interval(own)
        np.testing.assert_allclose(together.loc[layer, ["low", "high"]].astype(float), alone[:2], atol=1e-13)
        assert together.loc[layer, "over"] == alone.over
        assert together.loc[layer, "n_runs"] == len(own)
        assert together.loc[layer, "mean"] == pytest.approx(own.groupby("source_language").mean().mean(), abs=1e-13)


def test_coefficients_are_those_of_the_pairs_at_each_step():
    transfer, impact, distances = make_runs(noise=0.05, seeds=(1,))
    table = compute_over_time(transfer, impact, distances, ["genetic"]).set_index(["analysis", "layer_label", "step"])
    assert set(table.reset_index().columns) == set(OVER_TIME)
    own = impact.query("layer == 1 and step == 20 and not is_in_language").merge(distances)
    row = table.loc[("impact_vs_distance", "01", 20)]
    assert row["pearson_r"] == pytest.approx(stats.pearsonr(own["genetic"], own["impact"]).statistic)
    assert row["n_pairs"] == len(own) == 12
    final = transfer.query("step == 40")[["source_language", "target_language", "score"]]
    early = own.merge(final, on=["source_language", "target_language"])
    row = table.loc[("early_impact_vs_final_transfer", "01", 20)]
    assert row["pearson_r"] == pytest.approx(stats.pearsonr(early["impact"], early["score"]).statistic)
    residuals = []
    design = pd.get_dummies(early[["source_language", "target_language"]]).to_numpy(float)
    for column in ("impact", "score"):
        y = early[column].to_numpy(float)
        residuals.append(y - design @ np.linalg.lstsq(design, y, rcond=None)[0])
    assert row["r"] == pytest.approx(np.corrcoef(*residuals)[0, 1])
    assert table.loc[("transfer_vs_distance", "", 30), "pearson_r"] == pytest.approx(-1)


def test_intervals_over_few_sources_do_not_press_the_lines_flat():
    rows = [
        {
            "quantity": "impact",
            "layer_label": "01",
            "target_language": "",
            "step": s,
            "mean": m,
            "low": -3.0,
            "high": 3.0,
        }
        for s, m in ((1, 0.2), (2, 0.6), (3, 0.4))
    ]
    low, high = plot_trajectory(pd.DataFrame(rows)).get_ylim()
    assert (low, high) == pytest.approx((0.14, 0.66))
