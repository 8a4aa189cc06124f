"""Permutation tests of pairs of languages: every fast way to the null distribution against plain Python."""

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from xling.analysis.inference import gaps, relabelled
from xling.analysis.inference.complete_design import largest_complete_part
from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.demeaned import two_way_basis
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import (
    Permutations,
    draw_permutations,
    is_kept,
    keep_in_place,
    keep_unknown_in_place,
    language_roles,
)
from xling.analysis.inference.qap import benjamini_hochberg, max_t_p, permutation_p


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
    fixed = np.array([False, True, False, False, True])
    labels = keep_in_place(draw_permutations(5, 1_000, 0), fixed).labels
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
    for module in (relabelled, gaps):
        monkeypatch.setattr(module, "CHUNK_ENTRIES", 7 * len(cells[0]))
    np.testing.assert_allclose(null_correlations(matrix, outcomes, cells, permutations, ranked=True), whole)


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("effects", [False, True])
@pytest.mark.parametrize("shape", ["distances", "with directions", "few sources"])
def test_null_of_a_complete_design_is_that_of_every_draw_by_itself(shape, effects, ranked):
    matrix, outcomes, cells = make_case(9, 3 if shape == "few sources" else 9)
    if shape == "distances":
        matrix = matrix + matrix.T  # the same in both directions, so that the two cells of a pair are joined
    permutations = draw_permutations(language_roles(*cells, 9), 50, seed=0)
    design = two_way_basis(*cells) if effects else None
    null = null_correlations(matrix, outcomes, cells, permutations, design, ranked, follows_labels=True)
    for draw, labels in zip(null, permutations.labels, strict=True):
        relabelled_x = matrix[labels[cells[0]], labels[cells[1]]]
        np.testing.assert_allclose(draw, correlate(relabelled_x[None], outcomes, design, ranked)[0], atol=1e-13)


def test_the_cells_of_a_pair_are_joined_only_where_no_relabelled_sum_changes():
    matrix, outcomes, cells = make_case(6, 6)
    labels = draw_permutations(6, 1_000, 0).labels

    def sums(matrix, cells, outcomes):
        return np.vstack([moved @ outcomes.T for _, moved in relabelled.gather_relabelled(matrix, cells, labels)])

    for square, n_cells in ((matrix + matrix.T, 15), (matrix, 30)):
        folded, joined = relabelled.fold(square, cells, outcomes)
        assert len(folded[0]) == n_cells == joined.shape[1]
        np.testing.assert_allclose(sums(square, folded, joined), sums(square, cells, outcomes), atol=1e-13)
    one_way = cells[0] < cells[1]
    some = (cells[0][one_way], cells[1][one_way])
    assert len(relabelled.fold(matrix + matrix.T, some, outcomes[:, one_way])[0][0]) == one_way.sum()


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


def test_largest_complete_part_agrees_with_trying_all_subsets():
    rng = np.random.default_rng(0)
    for _ in range(30):
        observed = rng.random((6, 6)) < 0.7
        subsets = [np.array(s) for k in range(1, 7) for s in itertools.combinations(range(6), k)]
        best = max(
            len(rows) * len(columns) - len(np.intersect1d(rows, columns))
            for rows, columns in itertools.product(subsets, repeat=2)
            if (observed | np.eye(6, dtype=bool))[np.ix_(rows, columns)].all()
        )
        rows, columns = largest_complete_part(observed)
        assert (observed | np.eye(6, dtype=bool))[np.ix_(rows, columns)].all()
        assert len(rows) * len(columns) - len(np.intersect1d(rows, columns)) == best


def test_the_search_for_a_complete_part_ends():
    observed = np.random.default_rng(0).random((92, 92)) < 0.99
    rows, columns = largest_complete_part(observed)
    assert (observed | np.eye(92, dtype=bool))[np.ix_(rows, columns)].all()
    assert len(rows) * len(columns) > 92 * 92 / 2
    assert [len(part) for part in largest_complete_part(np.zeros((3, 3), dtype=bool))] == [0, 0]


def test_languages_change_places_within_their_role_alone():
    roles = language_roles(np.array([0, 0, 0, 1, 1, 1]), np.array([1, 2, 3, 0, 2, 3]), 4)
    assert roles.tolist() == [3, 3, 1, 1]
    drawn = draw_permutations(roles, 100, 0)
    assert drawn.exact
    assert sorted(map(tuple, drawn.labels)) == [(0, 1, 2, 3), (0, 1, 3, 2), (1, 0, 2, 3), (1, 0, 3, 2)]
    sampled = draw_permutations(np.repeat([0, 1], [3, 12]), 50, 0)
    assert not sampled.exact
    assert (np.sort(sampled.labels[:, :3], axis=1) == np.arange(3)).all()
    assert (np.sort(sampled.labels[:, 3:], axis=1) == np.arange(3, 15)).all()


def test_random_draws_within_groups_are_uniform():
    drawn = draw_permutations(np.repeat([0, 1], [2, 3]), 11, 0)
    assert not drawn.exact
    many = draw_permutations(np.repeat([0, 1], [8, 3]), 12_000, 0).labels[:, 8:]
    counts = np.unique(many, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert counts == pytest.approx(2_000, abs=200)


def test_cells_are_kept_where_every_relabelling_maps_them_to_themselves():
    cells = np.zeros((4, 4), dtype=bool)
    cells[:2] = True
    assert is_kept(cells, np.array([0, 0, 1, 1]))
    assert not is_kept(cells, np.zeros(4, dtype=int))
    cells[0, 2] = False
    assert not is_kept(cells, np.array([0, 0, 1, 1]))


GAPS = ("none", "language", "pair", "many pairs", "outcome", "a whole source")


def make_gaps(matrix, outcomes, cells, gap):
    rng = np.random.default_rng(9)
    if gap == "language":
        matrix[4] = matrix[:, 4] = np.nan
    if gap == "pair":
        matrix[0, 2] = np.nan
    if gap == "many pairs":
        matrix[rng.random(matrix.shape) < 0.2] = np.nan
    if gap == "outcome":
        outcomes[1, [1, 7]] = np.nan
    if gap == "a whole source":
        matrix[1, [0, 2, 3, 4, 5]] = np.nan


@pytest.mark.parametrize("what", ["raw", "ranked", "demeaned", "controlled"])
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("n_sources", [9, 3])
def test_every_way_to_the_null_equals_the_plain_one(n_sources, gap, what):
    """Fast: moved values, sums with a downdate; plain: each draw's complete cases are residualised by themselves."""
    matrix, outcomes, cells = make_case(9, n_sources, seed=1)
    make_gaps(matrix, outcomes, cells, gap)
    roles = language_roles(*cells, 9)
    permutations = keep_unknown_in_place(draw_permutations(roles, 60, seed=3), matrix, cells)
    control = np.column_stack([np.ones(len(cells[0])), np.random.default_rng(2).random(len(cells[0]))])
    design = {"demeaned": two_way_basis(*cells), "controlled": control}.get(what)
    ranked = what == "ranked"
    fast = null_correlations(matrix, outcomes, cells, permutations, design, ranked, follows_labels=what == "demeaned")
    for labels, row in zip(permutations.labels, fast, strict=True):
        plain = correlate(matrix[labels][:, labels][cells][None], outcomes, design, ranked)[0]
        np.testing.assert_allclose(row, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("missing", [[3], [0, 5, 6, 17], list(range(8))])
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("n_sources", [9, 3])
def test_cells_whose_control_is_unknown_count_in_no_permutation(n_sources, gap, missing):
    matrix, outcomes, cells = make_case(9, n_sources, seed=1)
    make_gaps(matrix, outcomes, cells, gap)
    permutations = keep_unknown_in_place(draw_permutations(language_roles(*cells, 9), 60, seed=3), matrix, cells)
    design = np.column_stack([np.ones(len(cells[0])), np.random.default_rng(2).random(len(cells[0]))])
    design[missing, 1] = np.nan
    fast = null_correlations(matrix, outcomes, cells, permutations, design)
    for labels, row in zip(permutations.labels, fast, strict=True):
        known = matrix[labels][:, labels][cells].copy()
        known[missing] = np.nan
        np.testing.assert_allclose(row, correlate(known[None], outcomes, design)[0], rtol=0, atol=1e-12)


def test_nothing_is_correlated_where_no_control_is_known():
    matrix, outcomes, cells = make_case(5, 5)
    design = np.column_stack([np.ones(len(cells[0])), np.full(len(cells[0]), np.nan)])
    assert np.isnan(null_correlations(matrix, outcomes, cells, draw_permutations(5, 60, 0), design)).all()


def test_a_draw_of_which_the_design_leaves_next_to_nothing_keeps_its_digits():
    matrix, outcomes, cells = make_case(8, 8)
    control = make_case(8, 8, seed=5)[0]
    matrix = 3 * control + 1e-5 * matrix
    design = np.column_stack([np.ones(len(cells[0])), control[cells]])
    permutations = draw_permutations(8, 30, 0)
    labels = np.vstack([np.arange(8), permutations.labels])
    permutations = Permutations(labels, permutations.groups, exact=False)
    null = null_correlations(matrix, outcomes, cells, permutations, design)
    np.testing.assert_allclose(null[0], correlate(matrix[cells][None], outcomes, design)[0], atol=1e-9)


def kept(matrix, cells, roles):
    permutations = draw_permutations(roles, 10_000, seed=0)
    labels = keep_unknown_in_place(permutations, matrix, cells).labels
    return [bool((labels[:, i] == i).all()) for i in range(len(matrix))]


def test_languages_with_a_single_value_change_places():
    matrix = np.full((4, 4), np.nan)
    np.fill_diagonal(matrix, 0)
    matrix[1, 2] = 0.5
    cells = np.nonzero(~np.eye(4, dtype=bool))
    assert kept(matrix, cells, np.zeros(4, dtype=int)) == [True, False, False, True]


def test_a_target_unknown_from_every_source_keeps_its_place_whatever_is_known_of_it_and_other_targets():
    matrix = np.random.default_rng(0).random((6, 6))
    matrix[:2, 4] = matrix[4, :2] = np.nan
    cells = np.nonzero(~np.eye(6, dtype=bool)[:2])
    roles = language_roles(*cells, 6)
    assert kept(matrix, cells, roles) == [False, False, False, False, True, False]
    assert not any(kept(matrix, cells, np.zeros(6, dtype=int)))  # where it could become a source


@pytest.mark.parametrize(("n", "is_defined"), [(3, False), (4, True)])
def test_nothing_is_correlated_where_effects_leave_a_single_degree_of_freedom(n, is_defined):
    matrix = np.random.default_rng(0).random((n, n))
    cells = np.nonzero(
        ~np.eye(n, dtype=bool)
    )  # 3 languages: 6 pairs, of which source and target effects span 5 dimensions
    permutations = draw_permutations(np.zeros(n, dtype=int), 100, seed=0)
    null = null_correlations(
        matrix, matrix.T[cells][None], cells, permutations, two_way_basis(*cells), follows_labels=True
    )
    assert np.isfinite(null).any() == is_defined


@pytest.mark.parametrize(("n_controls", "is_defined"), [(8, True), (9, False), (10, False)])
def test_a_draw_is_correlated_where_design_and_gap_leave_two_dimensions(n_controls, is_defined):
    """Of 4 languages' 12 pairs a draw loses one to the gap, and the design takes one more than it has controls."""
    matrix, outcomes, cells = make_case(4, 4)
    matrix[0, 2] = np.nan
    design = np.column_stack([np.ones(12), np.random.default_rng(6).normal(size=(12, n_controls))])
    permutations = draw_permutations(4, 100, seed=0)
    null = null_correlations(matrix, outcomes, cells, permutations, design)
    assert np.isfinite(null).all() == is_defined
    assert np.isfinite(null).any() == is_defined
    for labels, row in zip(permutations.labels, null, strict=True):
        plain = correlate(matrix[labels][:, labels][cells][None], outcomes, design)[0]
        np.testing.assert_allclose(row, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", [{"ranked": True}, {"follows_labels": True}, {}])
def test_nothing_is_correlated_where_no_distance_is_known(form):
    _, outcomes, cells = make_case(6, 3)
    null = null_correlations(np.full((6, 6), np.nan), outcomes, cells, draw_permutations(6, 60, 0), **form)
    assert np.isnan(null).all()


def test_an_outcome_that_lies_in_one_pair_keeps_its_digits_where_that_pair_falls_into_a_gap():
    matrix, outcomes, cells = make_case(6, 6)
    matrix[0, 1] = np.nan
    outcomes[0, 7] = 1e5
    permutations = draw_permutations(6, 10_000, seed=0)
    null = null_correlations(matrix, outcomes, cells, permutations, two_way_basis(*cells), follows_labels=True)
    for labels, row in zip(permutations.labels, null, strict=True):
        plain = correlate(matrix[labels][:, labels][cells][None], outcomes, two_way_basis(*cells))[0]
        np.testing.assert_allclose(row, plain, rtol=0, atol=1e-8)


def test_gaps_of_two_sources_take_all_of_a_target_from_the_design():
    matrix, outcomes, cells = make_case(8, 3)
    matrix[0, 5] = matrix[1, 5] = matrix[2, 6] = matrix[0, 1] = np.nan
    permutations = draw_permutations(language_roles(*cells, 8), 200, seed=0)
    design = two_way_basis(*cells)
    null = null_correlations(matrix, outcomes, cells, permutations, design, follows_labels=True)
    for labels, row in zip(permutations.labels, null, strict=True):
        plain = correlate(matrix[labels][:, labels][cells][None], outcomes, design)[0]
        np.testing.assert_allclose(row, plain, rtol=0, atol=1e-12)
