"""Few rows and few features take another route than many; the value is the same."""

import pytest
import torch

from xling.metrics import CKA
from xling.similarity import cka, linear_cka
from xling.similarity.cka import centred_cka, cka_of_moments, cka_of_rows
from xling.similarity.direct import direct_cka
from xling.similarity.moments import Moments
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.rows import centred_pair

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


def pair(n, d_x, d_y, squared_mean, dtype=torch.float32):
    """Related rows whose squared mean is so many times their variance."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, d_x, generator=generator, dtype=torch.float64)
    y = 0.5 * torch.randn(n, d_y, generator=generator, dtype=torch.float64)
    y[:, : min(d_x, d_y)] += x[:, : min(d_x, d_y)]
    return tuple((rows + squared_mean**0.5).to(dtype) for rows in (x, y))


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("squared_mean", [0, 1, 1000, 1e6, 1e9])
@pytest.mark.parametrize(("n", "d_x", "d_y"), [(100, 64, 64), (40, 200, 300), (200, 256, 128), (2000, 8, 80)])
def test_rows_multiplied_as_they_are_are_exact_at_any_mean(n, d_x, d_y, squared_mean, debiased):
    x, y = pair(n, d_x, d_y, squared_mean)
    assert float(cka_of_rows(x, y, debiased=debiased).value) == pytest.approx(float(by_hand(x, y, debiased)), abs=5e-7)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("n", "d"), [(4, 3), (5, 50), (90, 30), (50, 90)])
def test_direct_cka_is_that_of_the_centred_layer(n, d, dtype, debiased):
    x, y = pair(n, d, d, 1, dtype)
    expected = centred_cka(centred_pair(x, y), debiased=debiased)
    assert direct_cka(x, y, debiased=debiased) == pytest.approx(float(expected), abs=1e-6)


def reason_of(compute):
    try:
        compute()
    except UndefinedSimilarityError as undefined:
        return str(undefined)
    return ""


NAN, INFINITE = torch.full((6, 3), torch.nan), torch.full((6, 9), torch.inf)
FAR = torch.full((6, 9), 1e4) + 1e-3 * torch.arange(6)[:, None]


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (torch.eye(3), torch.eye(3), "3 examples, at least 4 are needed"),
        (NAN, torch.eye(6), "x holds non-finite values"),
        (torch.eye(6), INFINITE, "y holds non-finite values"),
        (torch.ones(6, 3), NAN, "x is constant over the examples"),
        (torch.eye(6), FAR, "y is constant over the examples"),
    ],
    ids=["three rows", "nan", "inf", "constant", "only rounding varies"],
)
def test_what_is_undefined_is_so_by_every_route(x, y, reason, debiased):
    assert reason_of(lambda: direct_cka(x, y, debiased=debiased)) == reason
    assert reason_of(lambda: centred_cka(centred_pair(x, y), debiased=debiased)) == reason


@pytest.mark.parametrize("n", [5, 6, 12, 40])
def test_rows_without_structure_are_refused(n):
    y = torch.randn(n, n, generator=torch.Generator().manual_seed(0))
    assert "the unbiased HSIC of x with itself" in reason_of(lambda: direct_cka(torch.eye(n), y, debiased=True))


def test_a_layer_that_is_undefined_leaves_the_others_as_they_are():
    x, y = pair(20, 5, 5, 1)
    found = cka_of_rows(torch.stack([x, torch.ones_like(x)]), torch.stack([y, y]), debiased=True)
    assert found.reason == ["", "x is constant over the examples"]
    assert float(found.value[0]) == direct_cka(x, y, debiased=True)
    assert found.value[1].isnan()


def test_the_same_rows_have_a_cka_of_exactly_one_and_nearly_the_same_do_not():
    x, _ = pair(30, 7, 7, 5)
    assert direct_cka(x, x.clone(), debiased=True) == 1
    other = x.clone()
    other[0, 0] += 0.01
    assert 0 < 1 - direct_cka(x, other, debiased=True) < 1e-4


def test_autocast_and_inference_mode_around_a_call_change_nothing():
    x, y = pair(50, 90, 90, 1)
    expected = linear_cka(x, y, debiased=True)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert torch.equal(linear_cka(x, y, debiased=True), expected)
    assert not linear_cka(x.requires_grad_(), y, debiased=True).requires_grad


@pytest.mark.parametrize(
    ("n", "d", "is_by_rows"),
    [(64, 65, True), (5000, 128, True), (4000, 129, True), (4065, 129, False), (726, 725, False), (724, 725, True)],
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
