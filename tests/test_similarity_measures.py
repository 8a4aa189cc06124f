"""Every registered measure: what it ignores and what it must not, and an independent reference."""

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.stats
import torch
from similarity_reference import gram_hsic, related

from xling.similarity import MAPS, MEASURES, GroupedMoments, Marginal, Moments, get_measure, linear_cka
from xling.similarity.pairwise import BLOCK, average_ranks, mutual_knn, rbf_cka

N, D = 150, 12


@pytest.fixture(scope="module")
def rows():
    return related(n=N, d_x=D, layers=1, noise=0.5)


def transform(name, rows, generator):
    d = rows.shape[-1]
    normal = torch.randn(d, d, generator=generator)
    rotation = torch.linalg.qr(normal).Q
    if name == "translation":
        return rows + 5 * normal[0]
    if name == "isotropic_scaling":
        return rows * 3.7
    if name == "feature_scaling":
        return rows * normal[0].sign() * torch.logspace(-1, 1, d)[torch.randperm(d, generator=generator)]
    if name == "feature_permutation":
        return rows[..., torch.randperm(d, generator=generator)]
    if name == "orthogonal":
        return rows @ rotation
    if name == "invertible_linear":
        return rows @ rotation @ torch.diag(torch.logspace(-1, 1, d)) @ torch.linalg.qr(normal.T).Q
    return rows[:, torch.randperm(rows.shape[-2], generator=generator)]


def transformed(name, x, y):
    generator = torch.Generator().manual_seed(5)
    if name == "row_permutation":
        return x, transform(name, y, generator)
    if name == "joint_row_permutation":
        order = torch.randperm(x.shape[-2], generator=generator)
        return x[:, order], y[:, order]
    return transform(name, x, generator), transform(name, y, generator)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("change", MAPS)
def test_a_measure_ignores_exactly_the_maps_it_declares(name, change, rows):
    measure = get_measure(name)
    before, after = measure.of_rows(*rows).defined(), measure.of_rows(*transformed(change, *rows)).defined()
    difference = abs(float(after - before))
    assert (difference < 1e-4) if change in measure.ignores else (difference > 1e-3)


@pytest.mark.parametrize("name", MEASURES)
def test_declared_maps_exist(name):
    assert get_measure(name).ignores <= MAPS.keys()


@pytest.mark.parametrize("name", MEASURES)
def test_identical_rows_give_exactly_one(name, rows):
    assert float(get_measure(name).of_rows(rows[0], rows[0].clone()).defined()) == 1


@pytest.mark.parametrize("name", MEASURES)
def test_related_rows_lie_strictly_between_nothing_and_one(name, rows):
    assert 0.1 < float(get_measure(name).of_rows(*rows).defined()) < 0.999


@pytest.mark.parametrize("name", [name for name, m in MEASURES.items() if not m.needs_rows and not m.knows_groups])
def test_moments_streamed_against_a_known_base_give_the_same(name, rows):
    x, y = rows
    base = Marginal.of(x)
    moments = Moments.start(x[:, :20], y[:, :20], base)
    for start in range(0, N, 20):
        moments.update(x[:, start : start + 20], y[:, start : start + 20])
    streamed = get_measure(name).of_moments(moments, base).value
    torch.testing.assert_close(streamed, get_measure(name).of_rows(x, y).value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(("spoil", "reason"), [(torch.zeros_like, "constant"), (lambda x: x / 0, "non-finite")])
def test_an_undefined_layer_is_nan_with_its_reason(name, spoil, reason, rows):
    x = torch.cat([rows[0], spoil(rows[0])])
    y = torch.cat([rows[1], rows[1]])
    result = get_measure(name).of_rows(x, y)
    assert result.value.isnan().tolist() == [False, True]
    assert result.reason[0] == ""
    assert reason in result.reason[1]


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("n", [0, 3])
def test_too_few_examples_are_nan_with_their_reason(name, n):
    result = get_measure(name).of_rows(torch.randn(2, n, 3), torch.randn(2, n, 3))
    assert result.value.isnan().all()
    counted = "groups" if get_measure(name).knows_groups else "examples"
    assert result.reason == [f"{n} {counted}, at least 4 are needed"] * 2


def test_cka_names_agree_with_linear_cka(rows):
    for debiased, name in ((True, "cka_debiased"), (False, "cka_biased")):
        found, expected = get_measure(name).of_rows(*rows).value, linear_cka(*rows, debiased=debiased)
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def test_anc_equals_numpy_correlations(rows):
    x, y = (side[0].double().numpy() for side in rows)
    expected = np.mean([abs(np.corrcoef(x[:, j], y[:, j])[0, 1]) for j in range(D)])
    assert float(get_measure("anc").of_rows(*rows).value) == pytest.approx(expected, abs=1e-6)


def test_anc_names_constant_features_and_unequal_widths(rows):
    x, y = rows
    dead = x.clone()
    dead[..., 4] = 7.0
    assert get_measure("anc").of_rows(dead, y).reason == ["1 features of x are constant, the first is 4"]
    assert "needs equal widths" in get_measure("anc").of_rows(x, y[..., :-1]).reason[0]


def canonical_correlations(x, y):
    x, y = (np.linalg.qr(rows - rows.mean(0))[0] for rows in (x, y))
    return np.linalg.svd(x.T @ y, compute_uv=False)


def test_mean_cca_equals_qr_and_svd(rows):
    x, y = (side[0].double().numpy() for side in rows)
    for width in (D, 5):
        value = get_measure("mean_cca").of_rows(rows[0], rows[1][..., :width]).value
        assert float(value) == pytest.approx(canonical_correlations(x, y[:, :width]).mean(), abs=1e-5)


def test_mean_cca_counts_only_dimensions_that_exist(rows):
    x, y = rows
    doubled = torch.cat([x, x[..., :3], torch.full_like(x[..., :1], 5.0)], -1)
    value = get_measure("mean_cca").of_rows(doubled, y).value
    torch.testing.assert_close(value, get_measure("mean_cca").of_rows(x, y).value, atol=1e-5, rtol=0)


def test_pwcca_equals_its_definition(rows):
    x, y = (side[0].double().numpy() for side in rows)
    x, y = x - x.mean(0), y - y.mean(0)
    (q_x, _), (q_y, _) = np.linalg.qr(x), np.linalg.qr(y)
    u, rho, _ = np.linalg.svd(q_x.T @ q_y)
    weights = np.abs((q_x @ u).T @ x).sum(1)
    expected = (weights * rho).sum() / weights.sum()
    assert float(get_measure("pwcca").of_rows(*rows).value) == pytest.approx(expected, abs=1e-5)


def test_svcca_equals_truncated_svd_then_cca(rows):
    kept, scales = [], torch.logspace(-1.5, 0, D)
    for side in rows:
        x = side[0].double().numpy() * scales.numpy()
        u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
        k = int((np.cumsum(s**2) / (s**2).sum() < 0.99).sum()) + 1
        kept.append(u[:, :k] * s[:k])
    assert min(side.shape[1] for side in kept) < D
    expected = canonical_correlations(*kept).mean()
    assert float(get_measure("svcca").of_rows(*(side * scales for side in rows)).value) == pytest.approx(
        expected, abs=1e-5
    )


def test_cca_leaves_out_directions_below_the_rounding_of_the_largest():
    generator = torch.Generator().manual_seed(0)
    a, b, c, *others = torch.randn(5, 200, generator=generator, dtype=torch.float64)
    y = torch.stack([c, *others], 1)
    x = torch.stack([a, a + 1e-2 * b, a + 1e-5 * c], 1)  # the third direction is below float32's rounding of the first
    mean_cca = get_measure("mean_cca")
    resolved = float(mean_cca.of_rows(x[:, :2], y).value)
    assert float(mean_cca.of_rows(x, y).value) == pytest.approx(resolved, abs=1e-3)
    assert float(mean_cca.of_rows(torch.stack([a, b, c], 1), y).value) > resolved + 0.1


@pytest.mark.parametrize("name", ["svcca", "pwcca", "mean_cca"])
def test_canonical_correlations_of_too_few_examples_are_undefined(name):
    result = get_measure(name).of_rows(*related(n=10, d_x=20, layers=1))
    assert "canonical correlations are 1 for any data" in result.reason[0]


def test_procrustes_equals_scipy(rows):
    x, y = (side[0].double().numpy() for side in rows)
    _, _, disparity = scipy.spatial.procrustes(x, y)
    value = float(get_measure("procrustes").of_rows(*rows).value)
    assert 1 - value**2 == pytest.approx(disparity, abs=1e-6)
    x, y = x - x.mean(0), y - y.mean(0)
    _, nuclear = scipy.linalg.orthogonal_procrustes(x, y)
    assert value == pytest.approx(nuclear / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-6)


def test_rsa_equals_scipy_spearman_of_distances(rows):
    x, y = (side[0].double().numpy() for side in rows)
    distances = [scipy.spatial.distance.pdist(side) for side in (x, y)]
    value = get_measure("rsa").of_rows(torch.from_numpy(x), torch.from_numpy(y)).value
    assert float(value) == pytest.approx(scipy.stats.spearmanr(*distances).statistic, abs=1e-6)


def test_tied_distances_share_their_mean_rank():
    values = np.array([3.0, 1.0, 3.0, 2.0, 1.0, 3.0])
    np.testing.assert_array_equal(average_ranks(torch.from_numpy(values)), scipy.stats.rankdata(values))


def test_rsa_needs_distances_that_differ():
    corners = torch.eye(4)
    assert "all distances of a side are equal" in get_measure("rsa").of_rows(corners, torch.randn(4, 4)).reason[0]


@pytest.mark.parametrize("debiased", [True, False])
def test_rbf_cka_equals_full_kernels(rows, debiased):
    kernels = []
    for side in rows:
        distances = scipy.spatial.distance.pdist(side[0].double().numpy())
        median = np.sort(distances)[(len(distances) - 1) // 2]
        kernels.append(
            scipy.spatial.distance.squareform(np.exp(-(distances**2) / (2 * (0.5 * median) ** 2))) + np.eye(N)
        )
    halves = [np.linalg.cholesky(kernel) for kernel in kernels]
    xx, yy, xy = (gram_hsic(halves[i], halves[j], debiased) for i, j in ((0, 0), (1, 1), (0, 1)))
    value = rbf_cka(*(side[0] - side[0].mean(0) for side in rows), debiased=debiased, bandwidth=0.5)
    assert float(value) == pytest.approx(xy / np.sqrt(xx * yy), abs=1e-5)


def test_rbf_cka_needs_a_positive_median_distance():
    x = torch.zeros(10, 2)
    x[0] = 1
    assert "median distance is 0" in get_measure("rbf_cka").of_rows(x, torch.randn(10, 2)).reason[0]


def test_rbf_cka_needs_kernels_with_structure():
    corners = torch.eye(4)
    assert "not positive" in get_measure("rbf_cka").of_rows(corners, torch.randn(4, 4)).reason[0]


def test_mutual_knn_equals_sorted_distances(rows):
    x, y = (scipy.spatial.distance.cdist(side[0], side[0]) for side in rows)
    near_x, near_y = (np.argsort(side, axis=1)[:, 1:6] for side in (x, y))
    expected = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(near_x, near_y, strict=True)])
    assert float(mutual_knn(rows[0][0], rows[1][0], k=5)) == pytest.approx(expected, abs=1e-9)


def test_mutual_knn_needs_more_examples_than_neighbours():
    assert "have no 10 nearest neighbours" in get_measure("mutual_knn").of_rows(*related(n=10, layers=1)).reason[0]


@pytest.mark.parametrize("name", ["rbf_cka", "rsa", "mutual_knn"])
def test_blocks_of_rows_do_not_change_the_value(name, rows, monkeypatch):
    whole = get_measure(name).of_rows(*rows).value
    assert BLOCK > N
    monkeypatch.setattr("xling.similarity.pairwise.BLOCK", 64)
    torch.testing.assert_close(get_measure(name).of_rows(*rows).value, whole, atol=1e-7, rtol=0)


def test_unknown_measures_are_refused_with_the_close_ones():
    with pytest.raises(ValueError, match="unknown similarity measure 'svca'; did you mean 'svcca'"):
        get_measure("svca")


def test_measures_of_rows_refuse_moments(rows):
    with pytest.raises(ValueError, match="rsa needs the rows"):
        get_measure("rsa").of_moments(Moments.of(*rows))


@pytest.mark.parametrize(("name", "wrong"), [("cka_grouped", "Moments"), ("procrustes", "GroupedMoments")])
def test_sums_of_the_other_kind_are_refused(name, wrong, rows):
    sums = Moments.of(*rows) if wrong == "Moments" else GroupedMoments.of(*rows, None)
    with pytest.raises(ValueError, match=f"{name} is computed from .*Moments, got {wrong}; sum the rows"):
        get_measure(name).of_moments(sums)
