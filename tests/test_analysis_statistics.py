import numpy as np
import pytest
from scipy import stats

from xling.analysis.inference.correlations import correlate, missing_patterns, naive_tests
from xling.analysis.inference.intervals import (
    defined_range,
    draw_languages,
    leave_one_out,
    percentile_interval,
    resampled_correlations,
)
from xling.analysis.inference.mixed_models import control_design, fit_mixed_model, remove_controls, two_way_design

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
    found = correlate(x.reshape(1, -1), y.reshape(1, -1), two_way_design(sources, targets))
    assert found.item() == pytest.approx(np.corrcoef(x_left.ravel(), y_left.ravel())[0, 1])


def test_demeaning_ignores_source_and_target_effects():
    x, y, design = make_values(1), make_values(1, seed=1), two_way_design(*CELLS)
    effects = np.random.default_rng(2).normal(size=(2, N)) * 100
    shifted = y + effects[0][CELLS[0]] + effects[1][CELLS[1]]
    np.testing.assert_allclose(correlate(x, shifted, design), correlate(x, y, design))
    assert not np.allclose(correlate(x, shifted), correlate(x, y), atol=0.01)


def test_one_source_leaves_nothing_after_demeaning():
    sources, targets = np.zeros(6, dtype=int), np.arange(1, 7)
    x, y = np.random.default_rng(0).normal(size=(2, 1, 6))
    assert np.isnan(correlate(x, y, two_way_design(sources, targets))).all()


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


def test_resampling_equals_repeating_the_cells():
    x, y = make_values(2, n_missing=4), make_values(2, seed=1)
    counts = draw_languages(*CELLS, 20, seed=0)
    found = resampled_correlations(x, y, *CELLS, counts)
    for i, count in enumerate(counts):
        times = count[CELLS[0]] * count[CELLS[1]]
        for k, m in np.ndindex(2, 2):
            known = np.isfinite(x[k]) & np.isfinite(y[m])
            a, b = (np.repeat(v[known], times[known]) for v in (x[k], y[m]))
            assert found[i, k, m] == pytest.approx(np.corrcoef(a, b)[0, 1])


def test_bootstrap_keeps_the_numbers_of_sources_and_of_other_targets():
    counts = draw_languages(*CELLS, 50, seed=0)
    assert (counts[:, :5].sum(axis=1) == 5).all()
    assert (counts[:, 5:].sum(axis=1) == 3).all()
    assert counts.max() > 1


def test_leaving_one_out_drops_its_cells_on_both_sides():
    x, y = make_values(1), make_values(1, seed=1)
    found = resampled_correlations(x, y, *CELLS, leave_one_out(*CELLS)).ravel()
    for language in range(N):
        left = (CELLS[0] != language) & (CELLS[1] != language)
        assert found[language] == pytest.approx(np.corrcoef(x[0, left], y[0, left])[0, 1])
    assert defined_range(found) == (found.min(), found.max())


def test_intervals_need_half_of_the_draws():
    resampled = np.full((100, 2), np.nan)
    resampled[:, 0] = np.arange(100)
    resampled[:49, 1] = 0.5
    low, high = percentile_interval(resampled)
    assert (low[0], high[0]) == pytest.approx((2.475, 96.525))
    assert np.isnan([low[1], high[1]]).all()
    assert np.isnan(defined_range(np.full((3, 1), np.nan))).all()


def test_a_replicate_with_one_value_is_undefined():
    counts = np.zeros((1, N), dtype=int)
    counts[0, :2] = 4  # two cells, many times each
    assert np.isnan(resampled_correlations(make_values(1), make_values(1, seed=1), *CELLS, counts)).all()


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


def test_mixed_model_with_a_singular_likelihood_is_a_reason_not_a_crash():
    """Two sources, four targets each: rows of a real freezing study at which statsmodels meets a singular matrix."""
    x = np.array([-0.2658, -0.9506, -1.0490, 1.1717, -0.1848, -0.9506, 0.8590, 1.3700])
    y = np.array([1.9791, 0.1993, -0.5898, -0.5028, 0.8328, -0.6545, -1.1428, -0.1213])
    sources, targets = np.array([1, 1, 1, 1, 2, 2, 2, 2]), np.array([0, 2, 3, 4, 0, 1, 3, 4])
    singular = fit_mixed_model(x, y, sources, targets)
    assert np.isnan(singular["slope"])
    assert "singular likelihood: 8 pairs" in singular["reason"]
