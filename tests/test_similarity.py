"""Moments and linear CKA: against float64 Gram matrices, over any split of the rows, at any mean."""

import pickle

import numpy as np
import pytest
import torch
from similarity_reference import layered_cka, related

from xling.similarity import (
    Marginal,
    Moments,
    UndefinedSimilarityError,
    check_same_examples,
    cka_matrix,
    cka_of_moments,
    linear_cka,
    merged,
)
from xling.similarity.centred import centred_side
from xling.similarity.cka import cka_of_rows
from xling.similarity.marginal import ROWS_AT_ONCE
from xling.similarity.panels import PANEL, add_product, dense, empty_panels, times_vector
from xling.similarity.recentre import recentred

MEANS = [0.0, 1.0, 10.0**0.5, 1000.0**0.5]
"""Means per feature in standard deviations: ``|mean|^2 / total variance`` of 0, 1, 10 and 1000."""


def streamed(x, y, batch=16, base=None):
    moments = Moments.start(x[..., :batch, :], y[..., :batch, :], base)
    for start in range(0, x.shape[-2], batch):
        rows = slice(start, start + batch)
        moments.update(x[..., rows, :], y[..., rows, :])
    return moments


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("mean", MEANS)
def test_linear_cka_equals_gram_matrices_in_float64(debiased, mean):
    x, y = related(mean=mean, d_y=13)
    np.testing.assert_allclose(linear_cka(x, y, debiased=debiased), layered_cka(x, y, debiased), atol=1e-6)


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("with_base", [True, False])
@pytest.mark.parametrize("batch", [1, 16, 100])
def test_streaming_in_batches_equals_gram_matrices(debiased, mean, with_base, batch):
    x, y = related(mean=mean, d_y=5)
    base = Marginal.of(x) if with_base else None
    result = cka_of_moments(streamed(x, y, batch, base), debiased=debiased, base=base)
    np.testing.assert_allclose(result.value, layered_cka(x, y, debiased), atol=1e-6)
    assert result.reason == ["", ""]


def test_wider_than_a_panel_equals_gram_matrices():
    x, y = related(n=400, d_x=PANEL + 7, d_y=2 * PANEL + 3, mean=30.0)
    np.testing.assert_allclose(linear_cka(x, y, debiased=True), layered_cka(x, y, True), atol=1e-6)


@pytest.mark.parametrize("debiased", [True, False])
def test_fewer_examples_than_features_take_the_gram_route_with_the_same_result(debiased):
    x, y = related(n=20, d_x=50, d_y=70, mean=30.0)
    by_moments = cka_of_moments(Moments.of(x, y), debiased=debiased).value
    by_gram = cka_of_rows(x, y, debiased=debiased).value
    np.testing.assert_allclose(by_gram, by_moments, atol=1e-6)
    np.testing.assert_allclose(by_gram, layered_cka(x, y, debiased), atol=1e-6)
    assert torch.equal(linear_cka(x, y, debiased=debiased), by_gram)


@pytest.mark.parametrize("with_base", [True, False])
@pytest.mark.parametrize("debiased", [True, False])
def test_merging_states_with_far_apart_shifts_equals_all_rows_at_once(with_base, debiased):
    x, y = related(n=150)
    x[:, :50] += 100
    y[:, :50] -= 300
    base = Marginal.of(x) if with_base else None
    parts = [streamed(x[:, rows], y[:, rows], 16, base) for rows in (slice(50), slice(50, 60), slice(60, 150))]
    for order in ([0, 1, 2], [2, 0, 1]):
        first, second, third = (parts[i] for i in order)
        total = merged(first, merged(second, third))
        result = cka_of_moments(total, debiased=debiased, base=base)
        np.testing.assert_allclose(result.value, layered_cka(x, y, debiased), atol=1e-6)


def test_recentring_gives_the_sums_of_the_moved_rows():
    x, y = (rows.double() for rows in related(d_y=4))
    shift_x, shift_y = torch.full((2, 9), 0.7, dtype=torch.float64), torch.full((2, 4), -3.0, dtype=torch.float64)
    moved = recentred(Moments.of(x, y), shift_x, shift_y).tensors()
    direct = Moments.empty((2,), shift_x, shift_y, base_is_known=False)
    direct.update(x, y)
    for name, value in direct.tensors().items():
        torch.testing.assert_close(moved[name], value, msg=name)


@pytest.mark.parametrize("debiased", [True, False])
def test_identical_rows_give_exactly_one_although_the_base_was_summed_in_another_split(debiased):
    x, _ = related(mean=30.0, n=333)
    base = Marginal.of(x)
    moments = streamed(x, x.clone(), 7, base)
    assert torch.equal(cka_of_moments(moments, debiased=debiased, base=base).value, torch.ones(2, dtype=torch.float64))


def test_one_changed_bit_ends_exactness_and_stays_within_the_noise_floor():
    x, _ = related(mean=3.0)
    y = x.clone()
    y[0, 17, 3] = torch.nextafter(y[0, 17, 3], torch.tensor(100.0))
    base = Marginal.of(x)
    moments = streamed(x, y, 50, base)
    assert moments.n_changed.tolist() == [1, 0]
    impact = 1 - cka_of_moments(moments, debiased=True, base=base).value
    assert abs(float(impact[0])) < 1e-6
    assert float(impact[1]) == 0


def test_biased_cka_of_independent_data_is_d_over_n_plus_d_and_debiased_is_zero():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 1, 200, 200, generator=generator)
    assert abs(float(linear_cka(x, y, debiased=False)) - 0.5) < 0.02
    assert abs(float(linear_cka(x, y, debiased=True))) < 0.02


def test_a_large_mean_that_ruins_uncentred_float32_gram_matrices_does_no_harm():
    x, y = related(n=200, mean=1000.0, layers=1)
    naive = [(rows[0] @ rows[0].T) for rows in (x, y)]
    naive = [k - k.mean(0) - k.mean(1, keepdim=True) + k.mean() for k in naive]
    wrong = (naive[0] * naive[1]).sum() / (naive[0].norm() * naive[1].norm())
    truth = layered_cka(x, y, False)[0]
    assert abs(float(wrong) - truth) > 1e-3
    assert abs(float(linear_cka(x, y, debiased=False)) - truth) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_rows_are_summed_in_float32(dtype):
    x, y = (rows.to(dtype) for rows in related(mean=3.0))
    assert streamed(x, y).yx.dtype == torch.float32
    np.testing.assert_allclose(linear_cka(x, y, debiased=True), layered_cka(x.float(), y.float(), True), atol=1e-6)


def test_autocast_inference_mode_and_lowered_matmul_precision_do_not_reach_the_sums():
    x, y = related(n=300, d_x=64)
    plain = linear_cka(x, y, debiased=True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            moments = Moments.of(x[:, :200], y[:, :200])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    moments.update(x[:, 200:], y[:, 200:])
    torch.testing.assert_close(cka_of_moments(moments, debiased=True).value, plain, atol=1e-7, rtol=0)


def test_precision_that_was_set_backend_by_backend_is_put_back():
    x, y = related(n=300, d_x=64)
    plain, backends = linear_cka(x, y, debiased=True), (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "tf32"  # from now on torch refuses to say its float32_matmul_precision
        torch.testing.assert_close(linear_cka(x, y, debiased=True), plain)
        assert [backend.fp32_precision for backend in backends] == ["tf32", "tf32"]
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evaluating_leaves_what_was_summed_as_it_is(dtype):
    x, y = (rows.to(dtype) for rows in related(n=200, d_x=32, mean=3.0))
    moments = Moments.of(x[:, :20], y[:, :20])  # their mean is not that of all rows
    moments.update(x[:, 20:], y[:, 20:])
    first = cka_of_moments(moments, debiased=True).value
    assert torch.equal(cka_of_moments(moments, debiased=True).value, first)


def test_leading_dimensions_keep_their_shape():
    x, y = related(layers=6)
    value = linear_cka(x.view(2, 3, 120, 9), y.view(2, 3, 120, 9), debiased=True)
    assert torch.equal(value.flatten(), linear_cka(x, y, debiased=True))
    assert linear_cka(x[0], y[0], debiased=True).shape == ()


def test_moments_survive_pickling_and_conversion_to_tensors():
    x, y = related()
    moments = pickle.loads(pickle.dumps(streamed(x, y)))
    again = Moments.from_tensors(moments.tensors())
    assert torch.equal(cka_of_moments(again, debiased=True).value, cka_of_moments(streamed(x, y), debiased=True).value)
    base = Marginal.of(x)
    assert Marginal(**base.tensors()).to("cpu").tensors().keys() == base.tensors().keys()


def test_state_size_does_not_depend_on_the_number_of_rows():
    sizes = {n: [t.shape for t in streamed(*related(n=n)).tensors().values()] for n in (16, 160)}
    assert sizes[16] == sizes[160]


def test_panels_hold_a_symmetric_matrix():
    generator = torch.Generator().manual_seed(0)
    d = PANEL + 5
    rows = torch.randn(2, 3, d, generator=generator, dtype=torch.float64)
    packed = empty_panels(2, d, rows)
    add_product(packed, rows, rows)
    v = torch.randn(2, d, generator=generator, dtype=torch.float64)
    for layer in range(2):
        full = rows[layer].T @ rows[layer]
        torch.testing.assert_close(dense(packed, 2, d, layer), full)
        torch.testing.assert_close(times_vector(packed, v)[layer], full @ v[layer])


@pytest.mark.parametrize("debiased", [True, False])
def test_layer_matrix_holds_every_pair_and_is_symmetric_within_a_model(debiased):
    x, y = related(layers=3)
    matrix = cka_matrix(x, y, debiased=debiased).value
    for i in range(3):
        for j in range(3):
            assert abs(float(matrix[i, j]) - layered_cka(x[[i]], y[[j]], debiased)[0]) < 1e-6
    within = cka_matrix(x, debiased=debiased).value
    assert torch.equal(within, within.T)
    assert torch.equal(within.diag(), torch.ones(3, dtype=torch.float64))


def test_layer_matrix_takes_layers_of_different_widths_and_names_undefined_ones():
    x, y = related(layers=2, d_y=4)
    result = cka_matrix([x[0], torch.ones(120, 3)], [y[0], y[1], x[1]], debiased=True)
    assert result.value.shape == (2, 3)
    assert result.value[1].isnan().all()
    assert result.reason == [""] * 3 + ["x layer 1 is constant over the examples"] * 3


def test_layer_matrix_refuses_layers_of_different_rows():
    with pytest.raises(ValueError, match=r"same examples; got \[5, 6\] rows"):
        cka_matrix([torch.randn(5, 2)], [torch.randn(6, 2)], debiased=True)


BAD = {
    "constant": (lambda x: torch.full_like(x, 3.1), "constant over the examples"),
    "constant up to rounding": (lambda x: 1000 + 1e-4 * x, "constant over the examples"),
    "zero": (torch.zeros_like, "constant over the examples"),
    "not a number": (lambda x: x.masked_fill(x > 2, torch.nan), "non-finite"),
    "infinite": (lambda x: x.masked_fill(x > 2, torch.inf), "non-finite"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("batch", [16, 120])
def test_an_undefined_layer_is_nan_with_its_reason_and_leaves_the_others_alone(bad, side, batch):
    spoil, reason = BAD[bad]
    good = dict(zip("xy", related(seed=3), strict=True))
    spoiled = {name: rows.clone() for name, rows in good.items()}
    spoiled[side][1] = spoil(spoiled[side][1])
    result = cka_of_moments(streamed(**spoiled, batch=batch), debiased=True)
    assert result.reason[0] == ""
    assert result.reason[1].startswith(side)
    assert reason in result.reason[1]
    assert bool(result.value[1].isnan())
    assert abs(float(result.value[0]) - layered_cka(good["x"], good["y"], True)[0]) < 1e-6
    with pytest.raises(UndefinedSimilarityError, match=f"layer 1: {side} .*{reason}"):
        linear_cka(**spoiled, debiased=True)


@pytest.mark.parametrize("d", [2, 9])
def test_fewer_than_four_examples_are_refused(d):
    x, y = related(n=3, d_x=d)
    with pytest.raises(UndefinedSimilarityError, match="3 examples, at least 4"):
        linear_cka(x, y, debiased=True)
    assert cka_of_moments(Moments.of(x, y), debiased=False).reason == ["3 examples, at least 4 are needed"] * 2


def test_rows_without_unbiased_structure_are_undefined():
    x = torch.eye(4)[None]
    with pytest.raises(UndefinedSimilarityError, match=r"HSIC of x with itself, .*, is not positive"):
        linear_cka(x, related(n=4, layers=1)[1], debiased=True)


def test_unequal_numbers_of_rows_are_refused():
    with pytest.raises(ValueError, match="same layers and examples"):
        linear_cka(torch.randn(6, 3), torch.randn(5, 3), debiased=True)


def test_integers_are_refused():
    with pytest.raises(ValueError, match=r"floating-point .* x is torch.int64"):
        linear_cka(torch.ones(6, 3, dtype=torch.int64), torch.randn(6, 3), debiased=True)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="first batch has no rows"):
        Moments.of(torch.zeros(0, 3), torch.zeros(0, 3))


def test_rows_of_another_width_are_refused():
    moments = Moments.of(*related(d_y=5))
    with pytest.raises(ValueError, match=r"what y held before has .layers, width. .2, 5., these have .2, 4."):
        moments.update(*related(d_y=4))


def test_states_of_different_widths_are_not_merged():
    with pytest.raises(ValueError, match="x of the first state has"):
        merged(Moments.of(*related(d_x=3)), Moments.of(*related(d_x=4)))


def test_states_with_and_without_the_base_are_not_merged():
    x, y = related()
    with pytest.raises(ValueError, match="start both the same way"):
        merged(Moments.of(x, y), Moments.of(x, y, Marginal.of(x)))


def test_the_base_of_other_rows_is_refused():
    x, y = related()
    for other in (x[:, :100], x * 1.1):
        base = Marginal.of(other)
        with pytest.raises(ValueError, match="compute them from the same rows"):
            cka_of_moments(Moments.of(x, y, base), debiased=True, base=base)


def test_every_row_counts_as_changed_where_the_sides_have_other_widths():
    moments = Moments.of(torch.zeros(2, 10, 3), torch.zeros(2, 10, 4))
    assert moments.n_changed.tolist() == [10, 10]


def test_the_base_is_summed_in_parts_of_its_rows_and_not_of_its_features():
    x = torch.randn(2, ROWS_AT_ONCE + 9, ROWS_AT_ONCE + 5, dtype=torch.float64) + 3
    base, centred = Marginal.of(x), x - x.mean(-2, keepdim=True)
    assert int(base.n) == len(x[0])
    torch.testing.assert_close(base.mean, x.mean(-2))
    for layer in range(2):
        side = centred_side(base, layer)
        torch.testing.assert_close(side.gram, centred[layer].mT @ centred[layer], rtol=1e-9, atol=1e-9)


def test_the_base_of_other_layers_is_refused():
    x, y = related()
    with pytest.raises(ValueError, match="the base has"):
        Moments.of(x, y, Marginal.of(x[:1]))


def test_moments_started_with_a_base_are_not_evaluated_without():
    x, y = related()
    with pytest.raises(
        ValueError, match="started with a known base, whose own sums they leave out; give the same base"
    ):
        cka_of_moments(Moments.of(x, y, Marginal.of(x)), debiased=True)


def test_example_ids_must_agree_one_by_one():
    check_same_examples([3, 1], (3, 1))
    with pytest.raises(ValueError, match="x has 2 example ids and y has 1"):
        check_same_examples([3, 1], [3])
    with pytest.raises(ValueError, match="row 1 is example 1 in x and 2 in y"):
        check_same_examples([3, 1], [3, 2])
