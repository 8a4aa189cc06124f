"""What measures of one layer share: the route over Gram matrices against the one over products of features."""

import math

import pytest
import torch

from xling.probing.uncertainty import ComparedRows, evaluate_uncertainty, get_uncertainty
from xling.similarity import grams
from xling.similarity.grouping import Grouping
from xling.similarity.paired import PairedRows
from xling.similarity.registry import MEASURES, similarities_of_pair

SIZES = {"equal": [3] * 30, "unequal": [1, 2, 3, 4, 5] * 6, "rows": [1] * 90}
MEASURED = ("cka_grouped", "cka_debiased", "cka_biased", "procrustes", "anc", "mutual_knn")


def rows_of(sizes, d_x=70, d_y=50, mean=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    groups = 7 * groups[torch.randperm(len(groups), generator=generator)] + 2
    scale = torch.arange(1.0, d_x + 1).rsqrt()
    shared = torch.randn(len(sizes), d_x, generator=generator)[groups.unique(return_inverse=True)[1]]
    x = (shared + torch.randn(len(groups), d_x, generator=generator)) * scale + mean
    y = x[:, :d_y] + 0.3 * torch.randn(len(groups), d_y, generator=generator) * scale[:d_y]
    return x, y, groups


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-6)])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_measures_are_those_of_products_of_features(kind, dtype, tolerance, mean, monkeypatch):
    x, y, groups = rows_of(SIZES[kind], d_y=70, mean=mean)

    def values(dtype):
        rows = PairedRows(x.to(dtype), y.to(dtype), groups)
        found = similarities_of_pair([MEASURES[name] for name in MEASURED], rows)
        assert not any(result.reason[0] for result in found.values())
        return {name: float(result.value) for name, result in found.items()}

    few = values(dtype)
    monkeypatch.setattr(grams, "GRAMS_BELOW", 0)
    many = values(torch.float64)
    assert few.pop("procrustes") == pytest.approx(many.pop("procrustes"), abs=max(tolerance, 1e-8))
    assert few == pytest.approx(many, abs=tolerance)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_jackknife_influence_and_shares_are_those_of_products_of_features(kind, dtype, tolerance, monkeypatch):
    x, y, groups = rows_of(SIZES[kind])
    y[groups == groups[0]] *= 2  # an influential group

    def columns(dtype):
        rows = ComparedRows(x.to(dtype), y.to(dtype), groups)
        return evaluate_uncertainty(["jackknife", "influence", "concentration"], rows)

    few = columns(dtype)
    monkeypatch.setattr(grams, "GRAMS_BELOW", 0)
    many = columns(torch.float64)
    assert few["influence_group"] == many["influence_group"]
    assert few == pytest.approx(many, abs=tolerance)
    assert few["impact_se"] > 0
    assert 0 < few["share_top_groups"] < 1


def test_rows_may_share_a_grouping_that_another_layer_has_made():
    x, y, groups = rows_of(SIZES["unequal"])
    shared = Grouping.of(groups)
    names = ["jackknife", "influence", "concentration"]
    first = evaluate_uncertainty(names, ComparedRows(y, x, shared))
    assert evaluate_uncertainty(names, ComparedRows(x, y, shared)) == evaluate_uncertainty(
        names, ComparedRows(x, y, groups)
    )
    assert first == evaluate_uncertainty(names, ComparedRows(y, x, groups))


@pytest.mark.parametrize("name", ["jackknife", "influence", "concentration"])
def test_an_uncertainty_alone_gives_what_it_gives_beside_others(name):
    x, y, groups = rows_of(SIZES["unequal"])
    together = evaluate_uncertainty(["jackknife", "influence", "concentration"], ComparedRows(x, y, groups))
    alone = get_uncertainty(name)(x, y, groups)
    assert alone == {column: together[column] for column in alone}


def test_an_uncertainty_of_ones_own_is_given_rows_and_group_ids():
    x, y, groups = rows_of(SIZES["equal"])
    found = evaluate_uncertainty(
        [lambda *given: {"same": all(map(torch.equal, given, (x, y, groups)))}], ComparedRows(x, y, groups)
    )
    assert found == {"same": True}


def test_rows_that_have_not_changed_have_no_error_and_no_shares():
    x, _, groups = rows_of(SIZES["equal"])
    found = evaluate_uncertainty(["jackknife", "concentration"], ComparedRows(x, x.clone(), groups))
    nothing = float("nan")
    shares = {"share_component_1": nothing, "share_component_3": nothing, "share_top_groups": nothing}
    assert found == pytest.approx({"impact_se": 0, "impact_low": 0, "impact_high": 0} | shares, nan_ok=True)


@pytest.mark.parametrize("route", [0, 2])
def test_nothing_is_shared_out_where_one_direction_is_all_there_is(route, monkeypatch):
    """What float32 leaves of rows on one line is rounding, of which there is no similarity."""
    monkeypatch.setattr(grams, "GRAMS_BELOW", route)
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(60, 1, generator=generator) for _ in range(2))
    directions = torch.randn(2, 40, generator=generator)
    x, y = before * directions[0], (before + after) * directions[1]
    found = evaluate_uncertainty(["concentration"], ComparedRows(x, y, torch.arange(60) // 3))
    assert math.isnan(found["share_component_3"])
    assert not math.isnan(found["share_top_groups"])


def test_products_of_rows_are_made_once_per_side(monkeypatch):
    x, y, groups = rows_of(SIZES["equal"])
    made = []
    plain = grams.GroupGrams.of.__func__
    monkeypatch.setattr(grams.GroupGrams, "of", classmethod(lambda cls, *given: made.append(1) or plain(cls, *given)))
    rows = ComparedRows(x, y, groups)
    similarities_of_pair([MEASURES[name] for name in MEASURED if name != "anc"], rows)
    evaluate_uncertainty(["jackknife", "influence", "concentration"], rows)
    assert len(made) == 2
