"""Coefficients of the analysis against scipy and plain code: correlations, effects removed, tests and intervals."""

import numpy as np
import pytest
from scipy import stats

from xling.analysis.inference.correlations import correlate, missing_patterns, naive_tests, orthonormal_basis
from xling.analysis.inference.demeaned import (
    correlate_demeaned,
    leaves_pairs,
    remove_effects,
    two_way_basis,
    variance_shares,
)
from xling.analysis.inference.influence import defined_range, leave_one_out, name_carriers
from xling.analysis.inference.intervals import draw_languages, percentile_interval
from xling.analysis.inference.inversion import invert_test
from xling.analysis.inference.mixed_models import control_design, fit_mixed_model, remove_controls
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import draw_permutations, language_roles
from xling.analysis.inference.power import SimulatedStudies, simulate_studies
from xling.analysis.inference.qap import permutation_p

N = 8
CELLS = np.nonzero(~np.eye(N, dtype=bool)[:5])


def make_values(n_rows, n_missing=0, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_rows, len(CELLS[0]))).round(1)
    values[rng.integers(n_rows, size=n_missing), rng.integers(values.shape[1], size=n_missing)] = np.nan
    return values


@pytest.mark.parametrize("n_missing", [0, 12])
@pytest.mark.parametrize(("ranked", "reference"), [(False, stats.pearsonr), (True, stats.spearmanr)])
def test_scipy_agrees_with_every_coefficient(n_missing, ranked, reference):
    x, y = make_values(3, n_missing), make_values(4, n_missing, seed=1)
    found = correlate(x, y, ranked=ranked)
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            known = np.isfinite(a) & np.isfinite(b)
            assert found[i, j] == pytest.approx(reference(a[known], b[known]).statistic, abs=1e-12)
            tests = naive_tests(a, b)
            assert tests["p_spearman" if ranked else "p_pearson"] == pytest.approx(reference(a[known], b[known]).pvalue)


def test_correlation_survives_a_large_offset():
    x, y = make_values(1), make_values(1, seed=1)
    np.testing.assert_allclose(correlate(x * 1e-4 + 1e3, y), correlate(x, y), atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_constant_side_has_no_correlation(constant):
    x, y = np.full((1, len(CELLS[0])), constant), make_values(1)
    assert np.isnan(correlate(x, y)).all()
    assert np.isnan(correlate(y, x, ranked=True)).all()
    assert np.isnan(list(naive_tests(x[0], y[0]).values())).all()


def test_two_pairs_have_no_correlation():
    assert np.isnan(correlate(np.array([[1.0, 2, np.nan]]), np.array([[3.0, 5, 6]]))).all()


def test_rows_are_grouped_by_what_is_missing():
    values = np.array([[1, np.nan, 3], [1, 2, 3], [4, np.nan, 6]])
    groups = {tuple(rows): columns.tolist() for rows, columns in missing_patterns(values)}
    assert groups == {(0, 2): [0, 2], (1,): [0, 1, 2]}


def test_demeaning_a_rectangle_subtracts_row_and_column_means():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4, 6))
    sources, targets = np.indices((4, 6)).reshape(2, -1)
    x_left, y_left = (v - v.mean(0) - v.mean(1, keepdims=True) + v.mean() for v in (x, y))
    found = correlate(x.reshape(1, -1), y.reshape(1, -1), two_way_basis(sources, targets))
    assert found.item() == pytest.approx(np.corrcoef(x_left.ravel(), y_left.ravel())[0, 1])


def test_demeaning_ignores_source_and_target_effects():
    x, y, design = make_values(1), make_values(1, seed=1), two_way_basis(*CELLS)
    effects = np.random.default_rng(2).normal(size=(2, N)) * 100
    shifted = y + effects[0][CELLS[0]] + effects[1][CELLS[1]]
    np.testing.assert_allclose(correlate(x, shifted, design), correlate(x, y, design))
    assert not np.allclose(correlate(x, shifted), correlate(x, y), atol=0.01)


def test_one_source_leaves_nothing_after_demeaning():
    sources, targets = np.zeros(6, dtype=int), np.arange(1, 7)
    x, y = np.random.default_rng(0).normal(size=(2, 1, 6))
    assert np.isnan(correlate(x, y, two_way_basis(sources, targets))).all()


def test_partial_correlation_agrees_with_the_textbook_formula():
    x, y, z = make_values(3)
    r = np.corrcoef([x, y, z])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    found = correlate(x[None], y[None], np.column_stack([np.ones_like(z), z]))
    assert found.item() == pytest.approx(expected)


def test_controls_removed_over_the_square_change_no_partial_correlation():
    rng = np.random.default_rng(0)
    matrix, controls, y = rng.random((N, N)), rng.random((2, N, N)), make_values(1)
    design = control_design(controls, *CELLS)
    residual = remove_controls(matrix, controls)
    np.testing.assert_allclose(correlate(residual[CELLS][None], y, design), correlate(matrix[CELLS][None], y, design))
    off_diagonal = ~np.eye(N, dtype=bool)
    assert abs(np.corrcoef(residual[off_diagonal], controls[0][off_diagonal])[0, 1]) < 1e-12


def test_bootstrap_keeps_the_numbers_of_sources_and_of_other_targets():
    counts = draw_languages(*CELLS, 50, seed=0)
    assert (counts[:, :5].sum(axis=1) == 5).all()
    assert (counts[:, 5:].sum(axis=1) == 3).all()
    assert counts.max() > 1


@pytest.mark.parametrize("n_missing", [0, 12])
def test_demeaning_by_sums_equals_least_squares_on_indicators(n_missing):
    x, y = make_values(3, n_missing), make_values(4, n_missing, seed=1)
    np.testing.assert_allclose(correlate_demeaned(x, y, *CELLS), correlate(x, y, two_way_basis(*CELLS)), atol=1e-12)


DISCONNECTED = (np.repeat([0, 1, 2, 3], 3), np.array([4, 5, 6] * 2 + [7, 8, 9] * 2))
RAGGED = (np.array([0, 0, 0, 1, 1, 2, 2, 2, 3]), np.array([1, 2, 3, 2, 3, 0, 1, 3, 0]))


@pytest.mark.parametrize("cells", [CELLS, DISCONNECTED, RAGGED, (np.zeros(5, dtype=int), np.arange(1, 6))])
def test_effects_are_those_of_least_squares_on_indicators(cells):
    indicators = np.hstack([np.equal.outer(side, np.unique(side)).astype(float) for side in cells])
    values = np.random.default_rng(0).normal(size=(3, len(cells[0])))
    expected = values - (indicators @ np.linalg.lstsq(indicators, values.T)[0]).T
    np.testing.assert_allclose(remove_effects(values, *cells), expected, atol=1e-12)
    basis = two_way_basis(*cells)
    np.testing.assert_allclose(basis.T @ basis, np.eye(np.linalg.matrix_rank(indicators)), atol=1e-12)
    np.testing.assert_allclose(values - (values @ basis) @ basis.T, expected, atol=1e-12)
    assert leaves_pairs(*cells) == (len(cells[0]) - np.linalg.matrix_rank(indicators) >= 2)


def test_pairs_of_one_source_or_target_leave_nothing():
    assert not leaves_pairs(np.zeros(6, dtype=int), np.arange(1, 7))
    assert not leaves_pairs(np.arange(1, 7), np.zeros(6, dtype=int))
    assert not leaves_pairs(np.array([0, 1]), np.array([1, 0]))
    assert leaves_pairs(np.array([0] * 4 + [1] * 4), np.array([1, 2, 3, 4, 0, 2, 3, 4]))
    assert np.isnan(correlate_demeaned(*make_values(2)[:, None, :5], np.zeros(5, dtype=int), np.arange(1, 6))).all()


def test_shares_of_variance_over_a_rectangle_are_those_of_the_analysis_of_variance():
    values = np.random.default_rng(0).normal(size=(4, 6)) + np.arange(4)[:, None]
    total = values.var()
    expected = values.mean(axis=1).var() / total, values.mean(axis=0).var() / total
    source, target, rest = variance_shares(values.ravel(), *np.indices((4, 6)).reshape(2, -1))
    assert (source, target) == pytest.approx(expected)
    assert source + target + rest == pytest.approx(1)


def test_shares_of_variance_leave_gaps_out_and_need_variance():
    values = make_values(1)[0]
    gappy = np.append(values, np.nan)
    cells = [np.append(side, 0) for side in CELLS]
    assert variance_shares(gappy, *cells) == pytest.approx(variance_shares(values, *CELLS))
    assert np.isnan(variance_shares(np.full(len(values), 0.1), *CELLS)).all()
    assert np.isnan(variance_shares(np.empty(0), np.empty(0, int), np.empty(0, int))).all()


@pytest.mark.parametrize("demeaned", [False, True])
def test_leaving_one_out_drops_the_cells_of_one_role(demeaned):
    x, y = make_values(2), make_values(3, seed=1)
    left_out, found = leave_one_out(x, y, *CELLS, demeaned)
    assert len(left_out) == 5 + 8
    for (language, role), r in zip(left_out, found, strict=True):
        kept = CELLS[0 if role == "source" else 1] != language
        cells = tuple(side[kept] for side in CELLS)
        np.testing.assert_allclose(r, correlate(x[:, kept], y[:, kept], two_way_basis(*cells) if demeaned else None))
    assert defined_range(found)[0] == pytest.approx(found.min(axis=0))


def test_a_language_that_carries_a_coefficient_is_named():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1, len(CELLS[0])))
    y[0, CELLS[0] == 3] += 20 * x[0, CELLS[0] == 3]
    left_out, without = leave_one_out(x, y, *CELLS, demeaned=False)
    names = name_carriers(correlate(x, y), left_out, without, tuple("abcdefgh"))
    assert names.tolist() == [["d as source"]]
    shared = name_carriers(correlate(x, x + y / 100), *leave_one_out(x, x + y / 100, *CELLS, False), tuple("abcdefgh"))
    assert shared.tolist() == [[""]]


@pytest.mark.parametrize("n_draws", [47, 100_000])
def test_an_interval_holds_the_effects_that_the_test_does_not_reject(n_draws):
    """By trying effects on a grid: relabel x, correlate with y - b x, and count."""
    matrix = np.random.default_rng(3).random((6, 6))
    cells = np.nonzero(~np.eye(6, dtype=bool)[:4])
    x = matrix[cells]
    y = np.random.default_rng(4).normal(size=len(x)) - 3 * x
    permutations = draw_permutations(language_roles(*cells, 6), n_draws, 0)
    assert permutations.exact == (n_draws > 47)
    x_unit, y_unit = ((v - v.mean()) / np.linalg.norm(v - v.mean()) for v in (x, y))
    moved = matrix[permutations.labels[:, cells[0]], permutations.labels[:, cells[1]]]
    grid = np.linspace(-1, 1, 401)

    def p_value(b):
        left = y_unit - b * x_unit
        observed, null = (correlate(v, left[None])[:, 0] for v in (x[None], moved))
        return permutation_p(observed, null[:, None], permutations.exact).item()

    kept = grid[[p_value(b) > 0.05 for b in grid]]
    null = null_correlations(matrix, np.stack([y, x]), cells, permutations)
    low, high = invert_test(correlate(x[None], y[None])[0], null[:, :1], null[:, 1:], permutations.exact)
    assert (low[0], high[0]) == pytest.approx((kept.min(), kept.max()), abs=0.006)
    is_significant = permutation_p(correlate(x[None], y[None])[0], null[:, :1], permutations.exact)[0] <= 0.05
    assert is_significant == (low[0] > 0 or high[0] < 0)


def test_an_undefined_coefficient_has_no_interval():
    low, high = invert_test(np.array([np.nan, 0.5]), np.full((50, 2), np.nan), np.full((50, 1), 0.1), exact=False)
    assert np.isnan([low, high]).all()


def test_intervals_from_three_given_sources_cover_at_their_level():
    """The bootstrap of languages that this replaces covers .72 to .81 there."""
    rng = np.random.default_rng(0)
    matrix = make_places(12)
    cells = np.nonzero(~np.eye(12, dtype=bool)[:3])
    x, true = matrix[cells], -0.5
    permutations = draw_permutations(language_roles(*cells, 12), 199, 0)
    covered, n_sets = 0, 200
    for _ in range(n_sets):
        y = true * x / x.std() + rng.normal(size=12)[cells[0]] + rng.normal(size=12)[cells[1]] + rng.normal(size=len(x))
        null = null_correlations(matrix, np.stack([y, x]), cells, permutations)
        low, high = invert_test(correlate(x[None], y[None])[0], null[:, :1], null[:, 1:], exact=False)
        covered += low[0] <= true / y.std() <= high[0]
    assert covered >= 0.91 * n_sets  # 190 expected; below 182 has probability .01


def make_places(n, seed=0):
    at = np.random.default_rng(seed).random((n, 2))
    return np.linalg.norm(at[:, None] - at[None], axis=-1)


@pytest.mark.parametrize(("n_sources", "demeaned"), [(10, True), (3, True), (1, False)])
def test_a_planted_effect_of_detectable_size_is_found_in_four_of_five_studies(n_sources, demeaned):
    rng = np.random.default_rng(1)
    matrix, cells = make_places(10), np.nonzero(~np.eye(10, dtype=bool)[:n_sources])
    roles = language_roles(*cells, 10)
    rho = SimulatedStudies(matrix, cells, roles, demeaned).detectable()
    assert 0.1 < rho < 0.95
    design = two_way_basis(*cells) if demeaned else None
    permutations = draw_permutations(roles, 199, 5)
    x = matrix[cells]
    x_left = x - orthonormal_basis(np.ones((len(x), 1)) if design is None else design) @ (
        orthonormal_basis(np.ones((len(x), 1)) if design is None else design).T @ x
    )
    spare = len(x) - (np.linalg.matrix_rank(design) if demeaned else 1)
    size = rho / np.sqrt(1 - rho**2) * np.sqrt(spare) / np.linalg.norm(x_left)
    outcomes = size * x + rng.normal(size=(300, len(x)))
    if demeaned:
        outcomes += rng.normal(size=(300, 10))[:, cells[0]] + rng.normal(size=(300, 10))[:, cells[1]]
    null = null_correlations(matrix, outcomes, cells, permutations, design, follows_labels=True)
    observed = correlate(x[None], outcomes, design)[0]
    assert (permutation_p(observed, null, permutations.exact) <= 0.05).mean() == pytest.approx(0.8, abs=0.075)


def test_a_stricter_test_detects_only_larger_effects_and_a_constant_none():
    cells = np.nonzero(~np.eye(8, dtype=bool))
    studies = SimulatedStudies(make_places(8), cells, np.zeros(8, dtype=int), demeaned=True)
    assert studies.detectable(0.5) > studies.detectable() + 0.05
    assert studies.power(0.0) == pytest.approx(0.05, abs=0.03)
    constant = SimulatedStudies(np.ones((8, 8)), cells, np.zeros(8, dtype=int), demeaned=True)
    assert np.isnan(constant.detectable())


def test_intervals_need_half_of_the_draws():
    resampled = np.full((100, 2), np.nan)
    resampled[:, 0] = np.arange(100)
    resampled[:49, 1] = 0.5
    low, high = percentile_interval(resampled)
    assert (low[0], high[0]) == pytest.approx((2.475, 96.525))
    assert np.isnan([low[1], high[1]]).all()
    assert np.isnan(defined_range(np.full((3, 1), np.nan))).all()


def test_mixed_model_finds_planted_slope_and_effects():
    rng = np.random.default_rng(0)
    sources, targets = np.nonzero(~np.eye(20, dtype=bool))
    x = rng.normal(size=len(sources))
    of_source, of_target = rng.normal(size=20), 0.5 * rng.normal(size=20)
    y = -0.5 * x + of_source[sources] + of_target[targets] + 0.3 * rng.normal(size=len(x))
    found = fit_mixed_model(x, y, sources, targets)
    scale = y.std(ddof=1)
    assert found["converged"]
    assert found["slope"] == pytest.approx(-0.5 * x.std(ddof=1) / scale, abs=0.03)
    assert found["sd_source"] == pytest.approx(of_source.std() / scale, abs=0.1)
    assert found["sd_target"] == pytest.approx(of_target.std() / scale, abs=0.1)
    assert found["sd_residual"] == pytest.approx(0.3 / scale, abs=0.03)
    assert found["p_value"] < 1e-6


def test_the_p_value_of_a_mixed_model_counts_what_source_and_target_effects_leave():
    sources, targets = (side.ravel() for side in np.mgrid[:3, :5])
    rng = np.random.default_rng(1)
    found = fit_mixed_model(rng.normal(size=15), rng.normal(size=15), sources, targets)
    expected = 2 * stats.t.sf(abs(found["slope"] / found["slope_se"]), 15 - (3 + 5 - 1) - 1)
    assert found["p_value"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cells", "constant", "reason"),
    [
        (([0] * 5, range(1, 6)), False, "at least two sources"),
        (CELLS, True, "constant side"),
        (([0, 0, 1, 1], [2, 3, 2, 3]), False, "4 pairs do not suffice for 3"),
    ],
)
def test_mixed_model_says_why_there_is_none(cells, constant, reason):
    sources, targets = map(np.array, cells)
    x, y = np.random.default_rng(0).normal(size=(2, len(sources)))
    found = fit_mixed_model(np.ones_like(x) if constant else x, y, sources, targets)
    assert np.isnan(found["slope"])
    assert reason in found["reason"]


def test_mixed_model_of_which_nothing_is_left_is_a_reason_not_a_crash():
    """Two sources, four targets each: rows of a real freezing study at which statsmodels met a singular matrix."""
    x = np.array([-0.2658, -0.9506, -1.0490, 1.1717, -0.1848, -0.9506, 0.8590, 1.3700])
    y = np.array([1.9791, 0.1993, -0.5898, -0.5028, 0.8328, -0.6545, -1.1428, -0.1213])
    sources, targets = np.array([1, 1, 1, 1, 2, 2, 2, 2]), np.array([0, 2, 3, 4, 0, 1, 3, 4])
    found = fit_mixed_model(x, y, sources, targets)
    assert found["converged"]
    assert found["sd_source"] == 0
    for outcome in (0.3 * x, 0.3 * x + np.array([0, 1.0, -1])[sources] + np.arange(5.0)[targets] ** 2):
        nothing = fit_mixed_model(x, outcome, sources, targets)
        assert np.isnan(nothing["slope"])
        assert "leave no residual variance of 8 pairs" in nothing["reason"]


def test_studies_simulated_once_are_those_simulated_anew():
    cells = np.nonzero(~np.eye(7, dtype=bool)[:4])
    roles = language_roles(*cells, 7)
    for matrix in (make_places(7), make_places(7, seed=1)):
        for demeaned in (True, False):
            for seed in (0, 1):
                anew = SimulatedStudies(matrix, cells, roles, demeaned, seed)
                kept = [simulate_studies(matrix, cells, roles, demeaned, seed) for _ in range(2)]
                assert kept[0] is kept[1]
                np.testing.assert_array_equal(kept[0].chance, anew.chance)
                assert kept[0].detectable() == anew.detectable()
