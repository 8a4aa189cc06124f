"""Levels of measures without any correspondence of rows."""

import math

import pandas as pd
import pytest
import torch

from xling.callbacks.impact import ImpactMonitor
from xling.commands.train import train
from xling.similarity import MEASURES, above_chance, chance_levels, get_measure
from xling.similarity.chance import re_paired


def rows_in_groups(sizes, d=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    order = torch.randperm(len(groups), generator=generator)
    x = torch.randn(len(sizes), d, generator=generator)[groups] + 0.5 * torch.randn(len(groups), d, generator=generator)
    return x[order], groups[order]


@pytest.mark.parametrize("sizes", [[3] * 40, [1] * 60, [1, 2, 3, 9] * 10], ids=["equal", "rows", "unequal"])
def test_no_group_is_paired_with_itself_and_no_row_comes_twice(sizes):
    _, groups = rows_in_groups(sizes)
    of_x, of_y = re_paired(groups)
    assert len(of_x) == len(of_y)
    assert len(of_x.unique()) == len(of_x) == len(of_y.unique())
    assert (groups[of_x] != groups[of_y]).all()
    partners = torch.stack([groups[of_x], groups[of_y]]).unique(dim=1)
    assert partners.shape[1] == len(sizes)
    assert len(of_x) >= 0.9 * len(groups)
    if len(set(sizes)) == 1:
        assert len(of_x) == len(groups)


def test_the_pairing_is_drawn_from_a_generator_of_its_own():
    _, groups = rows_in_groups([3] * 40)
    before = torch.random.get_rng_state()
    first, again, other = (re_paired(groups, seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("sizes", [[3] * 100, [2, 3, 4, 5] * 25], ids=["equal", "unequal"])
def test_only_the_cka_over_groups_is_about_0_on_average(sizes):
    x, groups = rows_in_groups(sizes)
    y = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    draws = [chance_levels(MEASURES.values(), x, y, groups, seed=seed) for seed in range(12)]
    means = {name: sum(float(draw[name].value) for draw in draws) / 12 for name in MEASURES}
    assert abs(means["cka_grouped"]) < 0.02
    assert means["cka_debiased"] > abs(means["cka_grouped"])
    assert means["cka_biased"] > means["cka_debiased"] > 0.01
    assert means["procrustes"] > 0.1


def test_rows_without_groups_are_paired_one_by_one():
    x, _ = rows_in_groups([1] * 100)
    level = chance_levels([get_measure("cka_debiased")], x, 2 * x)["cka_debiased"]
    assert abs(float(level.value)) < 0.2


def test_one_group_has_no_chance_level():
    with pytest.raises(ValueError, match="one group cannot be paired with another one"):
        re_paired(torch.zeros(5, dtype=torch.int64))


def test_above_chance_is_0_at_chance_and_1_for_identical_rows():
    assert above_chance(0.25, 0.25) == 0
    assert above_chance(1.0, 0.25) == 1
    with pytest.raises(ValueError, match="expected a chance level below 1, got 1"):
        above_chance(1.0, 1.0)


@pytest.mark.parametrize("name", ["svcca", "pwcca", "mean_cca"])
def test_correlations_that_are_forced_are_undefined_and_counted(name):
    x, y = torch.randn(2, 30, 18, generator=torch.Generator().manual_seed(0))
    result = get_measure(name).of_rows(x, y)
    assert math.isnan(result.value)
    dimensions = 18 if name != "svcca" else r"\d+"
    assert (
        pd.Series(result.reason)
        .str.contains(rf"30 examples for {dimensions} \+ .*canonical correlations are 1 for any")
        .all()
    )
    forced = torch.linalg.svdvals(torch.linalg.qr(x - x.mean(0)).Q.mT @ torch.linalg.qr(y - y.mean(0)).Q)
    assert int((forced > 1 - 1e-5).sum()) == 18 + 18 - 29


def test_a_run_records_each_measures_level_beside_it(make_config):
    run = train(make_config("probe.chance=true", "probe.similarity=[procrustes]", "trainer.max_epochs=1"))
    impact = pd.read_parquet(run.path / "impact.parquet")
    last = impact[(impact["step"] > 0) & (impact["reason"] == "")]
    assert set(last["measure"]) == {"cka_grouped", "cka_debiased", "cka_biased", "procrustes"}
    assert last["chance"].notna().all()
    by_measure = last.groupby("measure")["chance"].mean()
    assert abs(by_measure["cka_grouped"]) < 0.1
    assert by_measure["cka_biased"] > by_measure["cka_debiased"] > by_measure["cka_grouped"]
    assert ImpactMonitor().chance is False
