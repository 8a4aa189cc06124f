"""Streaming comparison of layers with a stored base."""

import pytest
import torch
from xling.callbacks.compare import Comparison

from xling.similarity import linear_cka
from xling.similarity.registry import get_measure


def compare(rows, widths=(16, 16, 9)):
    torch.manual_seed(0)
    base = [torch.randn(600, width) + 5 for width in widths]
    now = [layer + 0.3 * torch.randn_like(layer) for layer in base]
    comparison = Comparison(base, {name: get_measure(name) for name in ("cka_debiased", "rsa")})
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


def test_three_rows_are_too_few_and_said_so():
    results, _, _ = compare(torch.arange(3))
    assert results[0]["cka_debiased"] != results[0]["cka_debiased"]
    assert "at least 4 are needed" in results[0]["reason"]
