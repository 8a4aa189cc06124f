"""Jackknife, influence and null of CKA against brute force."""

import numpy as np
import pytest
import torch
from scipy import stats
from similarity_reference import cka, related

from xling.similarity import UndefinedSimilarityError, deletion, grams, jackknife_cka, linear_cka, shuffled_null

EQUAL = torch.arange(120) // 3
UNEQUAL = torch.cat([torch.arange(100) // 3, torch.full((20,), 77)])[torch.randperm(120)]


@pytest.fixture(scope="module")
def rows():
    x, y = related(layers=1, d_y=5, mean=3.0)
    return x[0], y[0]


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("groups", [EQUAL, UNEQUAL, torch.arange(120)], ids=["equal", "unequal", "rows"])
def test_influence_equals_recomputation_without_each_group(debiased, groups, rows):
    x, y = rows
    whole = cka(x, y, debiased)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-7)):
        found = jackknife_cka(x.to(dtype), y.to(dtype), groups, debiased=debiased)
        brute = [whole - cka(x[groups != group], y[groups != group], debiased) for group in found.groups]
        np.testing.assert_allclose(found.influence, brute, atol=tolerance)
        assert float(found.value) == pytest.approx(whole, abs=tolerance)


def test_few_rows_of_many_features_take_the_gram_route_with_the_same_result(monkeypatch):
    x, y = (side[0].double() for side in related(layers=1, d_x=90, d_y=70, mean=3.0))
    few = jackknife_cka(x, y, UNEQUAL, debiased=True)
    monkeypatch.setattr(deletion, "deleted_by_grams", lambda *_: pytest.fail("took the Gram route"))
    monkeypatch.setattr(grams, "GRAMS_BELOW", 1)
    many = jackknife_cka(x, y, UNEQUAL, debiased=True)
    np.testing.assert_allclose(few.influence, many.influence, atol=1e-12)


def test_standard_error_of_equal_groups_is_the_textbook_one(rows):
    x, y = rows
    found = jackknife_cka(x, y, EQUAL, debiased=True)
    deleted = found.value - found.influence
    expected = ((39 / 40) * (deleted - deleted.mean()).square().sum()).sqrt()
    assert float(found.standard_error) == pytest.approx(float(expected), rel=1e-9)


def test_standard_error_matches_the_spread_over_new_samples():
    generator = torch.Generator().manual_seed(0)
    values, errors = [], []
    for _ in range(100):
        shared = torch.randn(60, 1, 4, generator=generator)
        x, y = (shared + torch.randn(60, 3, 4, generator=generator) for _ in range(2))  # groups of three rows
        found = jackknife_cka(x.reshape(180, 4), y.reshape(180, 4), torch.arange(180) // 3, debiased=True)
        values.append(float(found.value))
        errors.append(float(found.standard_error))
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.25)


def test_interval_is_symmetric_and_grows_with_its_level(rows):
    narrow, wide = (jackknife_cka(*rows, EQUAL, debiased=True, level=level).interval for level in (0.5, 0.95))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert sum(wide) == pytest.approx(sum(narrow))


@pytest.mark.parametrize("over_groups", [False, True])
def test_interval_is_students_with_one_degree_of_freedom_less_than_groups(over_groups, rows):
    x, y = (side[:15] for side in rows)  # five groups: the degrees of freedom count
    found = jackknife_cka(x, y, EQUAL[:15], debiased=True, over_groups=over_groups, level=0.9)
    reach = stats.t.ppf(0.95, df=4) * float(found.standard_error)
    assert found.interval == pytest.approx((float(found.value) - reach, float(found.value) + reach), rel=1e-12)


def test_most_influential_group_is_the_planted_outlier(rows):
    x, y = rows[0].clone(), rows[1].clone()
    x[EQUAL == 17] += 40
    y[EQUAL == 17] += 40
    found = jackknife_cka(x, y, EQUAL, debiased=True)
    strongest, second = found.most_influential(2)
    assert strongest[0] == 17
    assert strongest[1] > 10 * abs(second[1])


def test_identical_rows_have_no_uncertainty(rows):
    found = jackknife_cka(rows[0], rows[0], EQUAL, debiased=True)
    assert abs(float(found.value) - 1) < 1e-7
    assert float(found.standard_error) < 1e-7


@pytest.mark.parametrize("debiased", [True, False])
def test_null_mean_is_exact_and_the_draws_agree(debiased, rows):
    null = shuffled_null(*rows, debiased=debiased, n_permutations=500)
    assert float(null.draws.mean()) == pytest.approx(float(null.mean), abs=5 * float(null.draws.std()) / 500**0.5)
    assert float(null.quantile) == pytest.approx(float(np.quantile(null.draws, 0.95)))
    assert float(null.value) == pytest.approx(cka(*rows, debiased), abs=1e-6)


def test_related_rows_leave_the_null_and_unrelated_ones_do_not(rows):
    assert shuffled_null(*rows, debiased=True).p_value == pytest.approx(1 / 101)
    x, y = torch.randn(2, 120, 5, generator=torch.Generator().manual_seed(4))
    assert shuffled_null(x, y, debiased=True).p_value > 0.05


def test_null_has_a_generator_of_its_own(rows):
    before = torch.random.get_rng_state()
    first, again, other = (shuffled_null(*rows, debiased=True, seed=seed).draws for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_shuffling_whole_groups_keeps_what_rows_of_a_group_share():
    generator = torch.Generator().manual_seed(0)
    within = torch.randn(3, 6, generator=generator) * 5  # a pattern by position within the group, equal in all groups
    x, y = (within.repeat(40, 1) + torch.randn(120, 6, generator=generator) for _ in range(2))
    by_group = shuffled_null(x, y, debiased=True, groups=EQUAL).draws.mean()
    by_row = shuffled_null(x, y, debiased=True).draws.mean()
    assert float(by_group) > 0.5
    assert abs(float(by_row)) < 0.1


def test_undefined_cka_is_refused(rows):
    with pytest.raises(UndefinedSimilarityError, match="y is constant"):
        jackknife_cka(rows[0], torch.ones(120, 3), EQUAL, debiased=True)
    with pytest.raises(UndefinedSimilarityError, match="x holds non-finite"):
        shuffled_null(rows[0] * torch.nan, rows[1], debiased=True)


def test_a_group_that_carries_all_structure_is_named():
    x = torch.cat([torch.eye(4), torch.full((2, 4), 9.0)])
    with pytest.raises(UndefinedSimilarityError, match="without group 5 the remaining rows have no structure"):
        jackknife_cka(x, 2 * x + 1, torch.tensor([1, 2, 3, 4, 5, 5]), debiased=True)


def test_ids_that_do_not_fit_the_rows_are_refused(rows):
    with pytest.raises(
        ValueError, match=r"needs a group id, an integer; got torch.int64 \(119,\) for 120 and 120 rows"
    ):
        jackknife_cka(*rows, EQUAL[1:], debiased=True)


def test_too_few_groups_are_refused(rows):
    with pytest.raises(ValueError, match="1 groups over 120 rows, the largest of 120"):
        jackknife_cka(*rows, torch.zeros(120, dtype=torch.int64), debiased=True)


def test_a_null_without_permutations_is_refused(rows):
    with pytest.raises(ValueError, match="at least one permutation"):
        shuffled_null(*rows, debiased=True, n_permutations=0)


def test_jackknife_value_is_linear_cka(rows):
    found = jackknife_cka(*rows, EQUAL, debiased=True)
    torch.testing.assert_close(found.value, linear_cka(*rows, debiased=True), atol=1e-6, rtol=0)
