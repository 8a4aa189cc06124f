"""Few rows and few features take another route than many; the value is the same."""

import pytest
import torch

from xling.metrics import CKA
from xling.similarity import cka, linear_cka
from xling.similarity.cka import cka_of_moments, cka_of_rows
from xling.similarity.moments import Moments

SHAPES = [(60, 8, 8), (60, 128, 129), (60, 200, 300), (60, 20, 200), (7, 128, 5), (1001, 16, 16)]


def by_hand(x, y, debiased):
    """CKA from n x n Gram matrices in float64: Song's estimator as it is written down."""
    grams = [(rows.double() - rows.double().mean(0)) @ (rows.double() - rows.double().mean(0)).T for rows in (x, y)]

    def hsic(k, m):
        if not debiased:
            return (k * m).sum()
        n, k, m = len(k), k - k.diag().diag(), m - m.diag().diag()
        return (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(0))

    return hsic(*grams) / (hsic(grams[0], grams[0]) * hsic(grams[1], grams[1])).sqrt()


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize(
    ("n", "d_x", "d_y"), [(60, 8, 8), (60, 128, 129), (60, 200, 300), (60, 20, 200), (7, 128, 5), (1001, 16, 16)]
)
def test_cka_is_the_same_by_every_route(n, d_x, d_y, mean, debiased):
    generator = torch.Generator().manual_seed(n + d_x)
    x = torch.randn(2, n, d_x, generator=generator) + mean
    y = x[..., :1] * torch.randn(d_y, generator=generator) + torch.randn(2, n, d_y, generator=generator) + mean
    expected = torch.stack([by_hand(*layer, debiased) for layer in zip(x, y, strict=True)])
    metric = CKA(debiased=debiased)
    metric.update(x, y)
    for found in (
        linear_cka(x, y, debiased=debiased),
        cka_of_rows(x, y, debiased=debiased).value,
        cka_of_moments(Moments.of(x, y), debiased=debiased).value,
        metric.compute(),
    ):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("n", "d", "is_by_rows"),
    [(1000, 128, True), (1001, 128, False), (1000, 129, False), (128, 129, True), (129, 129, False)],
)
def test_which_route_is_taken(n, d, is_by_rows, monkeypatch):
    monkeypatch.setattr(cka, "cka_of_rows", lambda *rows, **options: pytest.fail("by rows"))
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    if is_by_rows:
        with pytest.raises(pytest.fail.Exception, match="by rows"):
            linear_cka(x, 2 * x, debiased=True)
    else:
        assert linear_cka(x, 2 * x, debiased=True) == pytest.approx(1)


def test_rows_that_are_the_same_give_one_by_every_route():
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    assert linear_cka(x, x.clone(), debiased=True) == 1
    assert linear_cka(x.double(), x.double(), debiased=False) == 1
