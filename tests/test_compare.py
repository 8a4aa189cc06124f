"""Streaming comparison of layers with a stored base."""

import pytest
import torch

from xling.probing.compare import Comparison
from xling.similarity import linear_cka
from xling.similarity.registry import get_measure


def compare(rows, measures=("cka_debiased", "rsa"), n=600, widths=(16, 16, 9)):
    torch.manual_seed(0)
    base = [torch.randn(n, width) + 5 for width in widths]
    now = [layer + 0.3 * torch.randn_like(layer) for layer in base]
    comparison = Comparison(base, {name: get_measure(name) for name in measures})
    for batch in rows.split(64):
        comparison.update(batch, [layer[batch] for layer in now])
    return comparison.compute(), base, now


@pytest.mark.parametrize("rows", [torch.arange(600), torch.arange(300, 420), torch.arange(599, 470, -1)])
def test_all_rows_or_some_give_the_similarity_of_these_rows(rows):
    results, base, now = compare(rows)
    for result, x, y in zip(results, base, now, strict=True):
        assert result["n_examples"] == len(rows)
        expected = linear_cka(x[rows].double(), y[rows].double(), debiased=True)
        assert result["cka_debiased"] == pytest.approx(float(expected), abs=1e-6)
        assert result["rsa"] == pytest.approx(float(get_measure("rsa").of_rows(x[rows], y[rows]).value), abs=1e-6)


@pytest.mark.parametrize("n", [600, 17])  # more than twice the width: sums; fewer: rows
def test_sums_and_held_rows_give_the_same(n):
    rows = torch.arange(n)
    alone, _, _ = compare(rows, ("cka_debiased", "svcca"), n)
    beside_rsa, _, _ = compare(rows, ("cka_debiased", "svcca", "rsa"), n)
    for one, other in zip(alone, beside_rsa, strict=True):
        assert other.pop("rsa") <= 1
        assert one == pytest.approx(other, abs=1e-6, nan_ok=True)  # svcca of 17 rows


def test_memory_does_not_grow_with_the_examples():
    def held(n):
        base = [torch.randn(n, 16)]
        comparison = Comparison(base, {"cka_debiased": get_measure("cka_debiased")})
        comparison.update(torch.arange(n), base)
        return sum(t.numel() for sums in comparison._sums for t in sums.moments.tensors().values()) + sum(
            layer.numel() for layers in comparison._held for layer in layers
        )

    assert held(20) < held(64) == held(600)


def test_three_rows_are_too_few_and_said_so():
    results, _, _ = compare(torch.arange(3))
    assert results[0]["cka_debiased"] != results[0]["cka_debiased"]
    assert "at least 4 are needed" in results[0]["reason"]


def compare_groups(rows, groups, *, known=True, measures=("cka_grouped", "cka_debiased"), widths=(16, 16, 9), parts=1):
    torch.manual_seed(0)
    base = [torch.randn(600, width) + 5 for width in widths]
    now = [layer + 0.3 * torch.randn_like(layer) for layer in base]
    measures = {name: get_measure(name) for name in measures}
    comparison = Comparison(base, measures, groups=groups if known else None)
    for batch in rows.split(64):
        comparison.update(batch, [layer[batch] for layer in now], groups[batch])
    return comparison, base, now


SOME_GROUPS = {"of three": torch.arange(600) // 3, "of many sizes": torch.arange(600).double().sqrt().long()}


@pytest.mark.parametrize("known", [True, False], ids=["summed", "held"])
@pytest.mark.parametrize("groups", SOME_GROUPS.values(), ids=SOME_GROUPS)
@pytest.mark.parametrize("n", [600, 400])
def test_groups_whose_rows_are_scattered_over_batches_count_as_wholes(known, groups, n):
    rows = torch.randperm(600, generator=torch.Generator().manual_seed(1))[:n]
    comparison, base, now = compare_groups(rows, groups, known=known)
    assert bool(comparison._held_layers) != known
    for result, x, y in zip(comparison.compute(), base, now, strict=True):
        x, y = x[rows].double(), y[rows].double()
        expected = linear_cka(x, y, debiased=True, groups=groups[rows])
        assert result["cka_grouped"] == pytest.approx(float(expected), abs=1e-6)
        assert result["cka_debiased"] == pytest.approx(float(linear_cka(x, y, debiased=True)), abs=1e-6)
        assert result["n_groups"] == len(groups[rows].unique())


def test_only_rows_of_open_groups_are_held():
    groups = torch.arange(600) // 3
    rows = torch.arange(600).view(-1, 60, 10).transpose(1, 2).flatten()  # a group's rows within 12 of each other
    comparison, _, _ = compare_groups(rows, groups)
    assert comparison._open._held[0].shape[1] <= 128
    assert len(comparison._open.rest()[0]) == 0


def test_groups_that_differ_from_the_bases_are_refused():
    comparison, base, _ = compare_groups(torch.arange(600), torch.arange(600) // 3)
    with pytest.raises(ValueError, match="the base's rows were stored in other groups"):
        comparison.update(torch.arange(10), base, torch.arange(10))


def test_processes_that_share_groups_are_put_together(monkeypatch):
    groups = torch.arange(600) // 3
    first, base, now = compare_groups(torch.arange(0, 600, 2), groups)
    second, _, _ = compare_groups(torch.arange(1, 600, 2), groups)
    third, _, _ = compare_groups(torch.arange(0), groups)
    shards = []
    monkeypatch.setattr("xling.probing.compare._gather", lambda state, device: shards.append(state) or [state])
    for comparison in (second, third):
        comparison.compute()
    others = shards[:]
    monkeypatch.setattr("xling.probing.compare._gather", lambda state, device: [others[1], state, others[0]])
    for result, x, y in zip(first.compute(), base, now, strict=True):
        expected = linear_cka(x.double(), y.double(), debiased=True, groups=groups)
        assert result["cka_grouped"] == pytest.approx(float(expected), abs=1e-6)
        assert result["n_examples"] == 600


def test_a_narrow_layer_does_not_make_a_wide_one_be_summed():
    rows, groups = torch.arange(60), torch.arange(60) // 3
    torch.manual_seed(0)
    base = [torch.randn(60, width) + 5 for width in (4, 5000, 4, 700)]
    now = [layer + 0.3 * torch.randn_like(layer) for layer in base]
    measures = {name: get_measure(name) for name in ("cka_grouped", "cka_debiased")}
    comparison = Comparison(base, measures, groups=groups)
    for batch in rows.split(16):
        comparison.update(batch, [layer[batch] for layer in now], groups[batch])
    sums = [t.numel() for part in comparison._sums for t in part.moments.tensors().values()]
    assert max(sums) <= 2 * 4 * 4  # two narrow layers of width 4, not 5,000 x 5,000
    assert {layer.shape[1] for layers in comparison._held for layer in layers} == {5000, 700}
    for result, x, y in zip(comparison.compute(), base, now, strict=True):
        for name, expected in (("cka_debiased", {}), ("cka_grouped", {"groups": groups})):
            value = linear_cka(x.double(), y.double(), debiased=True, **expected)
            assert result[name] == pytest.approx(float(value), abs=1e-6)
        assert (result["n_examples"], result["n_groups"], result["reason"]) == (60, 20, "")
