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
        assert one == pytest.approx(other, abs=1e-6)


def test_memory_does_not_grow_with_the_examples():
    def held(n):
        base = [torch.randn(n, 16)]
        comparison = Comparison(base, {"cka_debiased": get_measure("cka_debiased")})
        comparison.update(torch.arange(n), base)
        return sum(t.numel() for moments in comparison._moments for t in moments.tensors().values()) + sum(
            layer.numel() for layers in comparison._held for layer in layers
        )

    assert held(20) < held(64) == held(600)


def test_three_rows_are_too_few_and_said_so():
    results, _, _ = compare(torch.arange(3))
    assert results[0]["cka_debiased"] != results[0]["cka_debiased"]
    assert "at least 4 are needed" in results[0]["reason"]
