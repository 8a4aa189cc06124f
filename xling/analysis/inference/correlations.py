"""Correlates many predictors with many outcomes over pairs of languages, with missing values.

Pearson's r is the cosine between residuals: after the mean is removed (plain), after source and target effects are
removed (two-way demeaned) or after controls are removed (partial). What is removed is a `design`; Spearman's rho is the
same on ranks.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats

_NOTHING_LEFT = 1e-10
"""A residual this small, relative to the values it comes from, is rounding: the row is constant given the design."""


def correlate(x: np.ndarray, y: np.ndarray, design: np.ndarray | None = None, ranked: bool = False) -> np.ndarray:
    """Correlate every row of `x` with every row of `y` over their complete cases.

    Args:
        x: float64 ``[n_x, n_pairs]``, NaN = missing.
        y: float64 ``[n_y, n_pairs]``, NaN = missing.
        design: float64 ``[n_pairs, p]``, removed from both sides by least squares; its columns must span the constant.
            None = the constant alone.
        ranked: rank first (ties averaged), among the complete cases of each pair of rows.

    Returns:
        float64 ``[n_x, n_y]`` in -1..1; NaN where either side is constant given the design or fewer than two dimensions
        remain after it (fewer than 3 pairs without a design).

    >>> correlate(np.array([[1.0, 2, 3]]), np.array([[1.0, 2, 4], [1, 1, 1]])).round(3)
    array([[0.982,   nan]])
    """
    design = np.ones((x.shape[1], 1)) if design is None else design
    result = np.full((len(x), len(y)), np.nan)
    for rows_y, observed_y in missing_patterns(y):
        for rows_x, observed_x in missing_patterns(x[:, observed_y]):
            columns = observed_y[observed_x]
            block = _correlate_complete(x[np.ix_(rows_x, columns)], y[np.ix_(rows_y, columns)], design[columns], ranked)
            result[np.ix_(rows_x, rows_y)] = block
    return result


def missing_patterns(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Group the rows of `values` by which entries are missing, so that each group is a complete array.

    Args:
        values: float ``[n_rows, n_columns]``.

    Yields:
        ``(rows, columns)``: indices of the rows that share a pattern, and of their finite columns.
    """
    finite = np.isfinite(values)
    if finite.all():
        yield np.arange(len(values)), np.arange(values.shape[1])
        return
    patterns, group = np.unique(np.packbits(finite, axis=1), axis=0, return_inverse=True)
    for i in range(len(patterns)):
        rows = np.flatnonzero(group.ravel() == i)
        yield rows, np.flatnonzero(finite[rows[0]])


def _correlate_complete(x: np.ndarray, y: np.ndarray, design: np.ndarray, ranked: bool) -> np.ndarray:
    basis = orthonormal_basis(design)
    if basis.shape[0] - basis.shape[1] < 2:
        return np.full((len(x), len(y)), np.nan)
    if ranked:
        x, y = stats.rankdata(x, axis=1), stats.rankdata(y, axis=1)
    return np.clip(unit_residuals(x, basis) @ unit_residuals(y, basis).T, -1, 1)  # [n_x, n_y]


def orthonormal_basis(design: np.ndarray) -> np.ndarray:
    """Find an orthonormal basis of the columns' span, ``[n_pairs, rank]``; columns that are one already stay as they are."""
    # 1e-12: rounding of sums over hundreds of pairs; most designs are orthonormal already and need no decomposition
    if np.allclose(design.T @ design, np.eye(design.shape[1]), rtol=0, atol=1e-12):
        return design
    u, singular, _ = np.linalg.svd(design, full_matrices=False)
    return u[:, singular > 1e-10 * singular.max(initial=0.0)]  # smaller ones are rounding: a column that others make up


def unit_residuals(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Project rows off `basis` and scale them to length 1; NaN where nothing is left.

    Args:
        values: float64 ``[n_rows, n_pairs]``.
        basis: float64 ``[n_pairs, rank]``, orthonormal columns.
    """
    return scale_residuals(values, values - (values @ basis) @ basis.T)


def scale_residuals(values: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Scale rows of residuals to length 1; NaN where they are no more than rounding beside the values they come from."""
    length = np.linalg.norm(residuals, axis=1, keepdims=True)
    length[length <= _NOTHING_LEFT * np.linalg.norm(values, axis=1, keepdims=True)] = np.nan
    return residuals / length


def naive_tests(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Compute scipy's coefficients and p-values, which treat the pairs as independent observations.

    Args:
        x: float64 ``[n_pairs]``, NaN = missing.
        y: float64 ``[n_pairs]``, NaN = missing.

    Returns:
        ``pearson_r``, ``p_pearson``, ``spearman_rho``, ``p_spearman``; all NaN with fewer than 3 complete pairs or a
        constant side.
    """
    complete = np.isfinite(x) & np.isfinite(y)
    x, y = x[complete], y[complete]
    if is_constant(x) or is_constant(y) or len(x) < 3:
        return dict.fromkeys(("pearson_r", "p_pearson", "spearman_rho", "p_spearman"), np.nan)
    pearson, spearman = stats.pearsonr(x, y), stats.spearmanr(x, y)
    return {
        "pearson_r": float(pearson.statistic),
        "p_pearson": float(pearson.pvalue),
        "spearman_rho": float(spearman.statistic),
        "p_spearman": float(spearman.pvalue),
    }


def is_constant(values: np.ndarray) -> bool:
    """Say whether complete `values` differ by no more than rounding (true of an empty array)."""
    if len(values) == 0:
        return True
    return bool(np.linalg.norm(values - values.mean()) <= _NOTHING_LEFT * np.linalg.norm(values))
