import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from xling.analysis.inference import qap
from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.qap import (
    benjamini_hochberg,
    draw_permutations,
    fix_labels,
    has_data,
    largest_complete_square,
    max_t_p,
    null_correlations,
    permutation_p,
)


def make_case(n, n_sources, seed=0, n_outcomes=2):
    rng = np.random.default_rng(seed)
    cells = np.nonzero(~np.eye(n, dtype=bool)[:n_sources])
    return rng.random((n, n)).round(1), rng.normal(size=(n_outcomes, len(cells[0]))), cells


def rank(values):
    return [sum(other < v for other in values) + (sum(other == v for other in values) + 1) / 2 for v in values]


def correlate_plainly(x, y, ranked):
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if not (math.isnan(a) or math.isnan(b))]
    if len(pairs) < 3:
        return None
    x, y = map(list, zip(*pairs, strict=True))
    if ranked:
        x, y = rank(x), rank(y)
    return None if len(set(x)) == 1 or len(set(y)) == 1 else statistics.correlation(x, y)


def count_plainly(matrix, outcome, cells, labels, ranked):
    """Permutations at least as extreme, and permutations with a correlation, by a loop over cells."""
    cells = list(zip(*cells, strict=True))
    observed = correlate_plainly([matrix[s][t] for s, t in cells], outcome, ranked)
    null = [correlate_plainly([matrix[p[s]][p[t]] for s, t in cells], outcome, ranked) for p in labels]
    return sum(r is not None and abs(r) >= abs(observed) - 1e-9 for r in null), sum(r is not None for r in null)


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("n_draws", [10_000, 60])
@pytest.mark.parametrize(("n", "n_sources"), [(5, 5), (5, 2), (5, 1)])
@pytest.mark.parametrize("gap", ["none", "pair", "outcome", "constant from one language"])
def test_batched_counts_equal_plain_python(n, n_sources, n_draws, ranked, gap):
    matrix, outcomes, cells = make_case(n, n_sources, seed=n_sources)
    if gap == "pair":
        matrix[0, 2] = np.nan
    if gap == "outcome":
        outcomes[1, 1] = np.nan
    if gap == "constant from one language":
        matrix[n - 1] = matrix[:, n - 1] = 1.0
    permutations = draw_permutations(n, n_draws, seed=3)
    null = null_correlations(matrix, outcomes, cells, permutations, ranked=ranked)
    observed = correlate(matrix[cells][None], outcomes, ranked=ranked)[0]
    for m, outcome in enumerate(outcomes):
        count, n_defined = count_plainly(matrix.tolist(), outcome.tolist(), cells, permutations.labels, ranked)
        p = count / n_defined if permutations.exact else (1 + count) / (1 + n_defined)
        assert permutation_p(observed[m], null[:, m], permutations.exact) == pytest.approx(p, abs=1e-15)


def test_a_language_without_data_keeps_its_place():
    matrix, outcomes, cells = make_case(5, 5)
    matrix[4] = matrix[:, 4] = np.nan
    inside = (cells[0] < 4) & (cells[1] < 4)
    without = (matrix[:4, :4], outcomes[:, inside], (cells[0][inside], cells[1][inside]))
    observed = correlate(matrix[cells][None], outcomes)[0]
    p_with = permutation_p(observed, null_correlations(matrix, outcomes, cells, draw_permutations(5, 1_000, 0)), True)
    p_without = permutation_p(observed, null_correlations(*without, draw_permutations(4, 1_000, 0)), True)
    np.testing.assert_allclose(p_with, p_without)


def test_fixed_labels_leave_a_uniform_permutation_of_the_rest():
    labels = fix_labels(draw_permutations(5, 1_000, 0).labels, np.array([False, True, False, False, True]))
    assert (labels[:, [1, 4]] == [1, 4]).all()
    _, counts = np.unique(labels, axis=0, return_counts=True)
    assert counts.tolist() == [math.factorial(5) // math.factorial(3)] * math.factorial(3)


def test_small_studies_are_enumerated_and_large_ones_drawn():
    assert draw_permutations(7, 10_000, 0).exact
    assert len(draw_permutations(7, 10_000, 0)) == math.factorial(7)
    sampled = draw_permutations(8, 10_000, 0)
    assert not sampled.exact
    assert (np.sort(sampled.labels, axis=1) == np.arange(8)).all()


def test_draws_depend_on_the_seed_alone():
    np.testing.assert_array_equal(draw_permutations(9, 50, 7).labels, draw_permutations(9, 50, 7).labels)
    assert (draw_permutations(9, 50, 7).labels != draw_permutations(9, 50, 8).labels).any()


def test_chunks_do_not_change_the_null(monkeypatch):
    matrix, outcomes, cells = make_case(8, 3)
    matrix[0, 1] = np.nan
    permutations = draw_permutations(8, 200, 0)
    whole = null_correlations(matrix, outcomes, cells, permutations, ranked=True)
    monkeypatch.setattr(qap, "_CHUNK_ENTRIES", 7 * len(cells[0]))
    np.testing.assert_allclose(null_correlations(matrix, outcomes, cells, permutations, ranked=True), whole)


def test_p_value_ignores_units_and_names_but_not_direction():
    matrix, outcomes, cells = make_case(5, 5)
    permutations = draw_permutations(5, 1_000, 0)

    def p_value(matrix, outcomes):
        return permutation_p(
            correlate(matrix[cells][None], outcomes)[0], null_correlations(matrix, outcomes, cells, permutations), True
        )

    renamed = np.array([3, 0, 4, 1, 2])
    square = np.full((2, 5, 5), np.nan)
    square[:, cells[0], cells[1]] = outcomes
    moved = square[:, renamed][:, :, renamed][:, cells[0], cells[1]]
    np.testing.assert_allclose(p_value(7 - 3 * matrix, outcomes), p_value(matrix, outcomes))
    np.testing.assert_allclose(p_value(matrix[np.ix_(renamed, renamed)], moved), p_value(matrix, outcomes))
    assert not np.allclose(p_value(matrix.T, outcomes), p_value(matrix, outcomes))


def test_no_p_value_is_zero():
    assert permutation_p(np.array(0.9), np.zeros(99), exact=False) == pytest.approx(0.01)
    assert np.isnan(permutation_p(np.array(np.nan), np.zeros(99), exact=False))


def test_undefined_permutations_count_on_neither_side():
    null = np.array([0.9, 0.1, np.nan, np.nan])
    assert permutation_p(np.array(0.5), null, exact=True) == pytest.approx(1 / 2)
    assert permutation_p(np.array(0.5), null, exact=False) == pytest.approx(2 / 3)


def test_max_t_compares_with_the_largest_of_the_family():
    rng = np.random.default_rng(0)
    observed, null = np.array([0.5, -0.9, np.nan]), rng.uniform(-1, 1, size=(200, 3))
    expected = [
        (1 + sum(max(abs(a), abs(b)) >= abs(r) for a, b, _ in null)) / 201 if r == r else np.nan for r in observed
    ]
    np.testing.assert_allclose(max_t_p(observed, null, exact=False), expected)
    assert np.isnan(max_t_p(np.array([np.nan]), null[:, :1], exact=False)).all()


def test_benjamini_hochberg_agrees_with_scipy():
    p_values = np.random.default_rng(0).random(30) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p_values), stats.false_discovery_control(p_values))


def test_largest_square_agrees_with_trying_all_subsets():
    rng = np.random.default_rng(0)
    for _ in range(30):
        observed = rng.random((7, 7)) < 0.75
        complete = [
            subset
            for size in range(1, 8)
            for subset in itertools.combinations(range(7), size)
            if all(observed[i, j] for i, j in itertools.permutations(subset, 2))
        ]
        found = largest_complete_square(observed)
        assert len(found) == max(map(len, complete))
        assert tuple(found) in complete


def test_languages_with_a_single_value_have_data():
    matrix = np.full((4, 4), np.nan)
    np.fill_diagonal(matrix, 0)
    matrix[1, 2] = 0.5
    assert has_data(matrix).tolist() == [False, True, True, False]
