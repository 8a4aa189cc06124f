"""Estimates what source and target languages contribute by themselves, and what controls explain.

Every pair of one source shares that source's model and data, every pair of one target shares that target's test set and
pre-training. Three views of the same question: remove both effects (two-way demeaning), model them as random
(crossed random effects), or remove measured controls (partial correlation).
"""

import numpy as np
from scipy import stats

from xling.analysis.inference.correlations import is_constant, orthonormal_basis
from xling.analysis.inference.crossed_effects import CrossedEffects


def control_design(controls: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Build the constant and the controls' values over the observed cells.

    Args:
        controls: float64 ``[n_controls, n, n]``.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        float64 ``[n_pairs, 1 + n_controls]``.
    """
    return np.column_stack([np.ones(len(sources)), *controls[:, sources, targets]])


def remove_controls(matrix: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Regress a square matrix on control matrices over all ordered pairs S != T and return the residual matrix.

    Permuting the residual instead of the matrix keeps predictor and controls unrelated in the null (double
    semi-partialling).

    Args:
        matrix: float64 ``[n, n]``, NaN = missing.
        controls: float64 ``[n_controls, n, n]``, NaN = missing.

    Returns:
        float64 ``[n, n]``, NaN on the diagonal and where anything is missing; all NaN where the controls explain the
        matrix entirely.

    References: Dekker, Krackhardt & Snijders 2007, Psychometrika 72.
    """
    usable = np.isfinite(matrix) & np.isfinite(controls).all(axis=0) & ~np.eye(len(matrix), dtype=bool)
    basis = orthonormal_basis(control_design(controls, *np.nonzero(usable)))
    left = matrix[usable] - basis @ (basis.T @ matrix[usable])
    residual = np.full(matrix.shape, np.nan)
    if np.linalg.norm(left) > 1e-10 * np.linalg.norm(matrix[usable]):  # otherwise all that is left is rounding
        residual[usable] = left
    return residual


def fit_mixed_model(x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> dict:
    """Fit ``y ~ x + (1 | source) + (1 | target)`` by REML, both sides standardised.

    Args:
        x: float64 ``[n_pairs]``, NaN = missing.
        y: float64 ``[n_pairs]``, NaN = missing.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        The columns of :data:`xling.analysis.schema.MIXED_MODELS` from `n_pairs` on. The p-value is a Wald test
        against t with the degrees of freedom that source and target effects leave; QAP is the one to report.
    """
    complete = np.isfinite(x) & np.isfinite(y)
    x, y, sources, targets = (values[complete] for values in (x, y, sources, targets))
    reason = _why_no_model(x, y, sources, targets)
    try:
        fitted = _no_model(reason) if reason else _fit(_standardise(x), _standardise(y), sources, targets)
    except np.linalg.LinAlgError:
        fitted = _no_model(f"slope and effects leave no residual variance of {len(x)} pairs")
    return {"n_pairs": len(x)} | fitted


def _no_model(reason: str) -> dict:
    empty = dict.fromkeys(("slope", "slope_se", "p_value", "sd_source", "sd_target", "sd_residual"), np.nan)
    return empty | {"converged": False, "reason": reason}


def _why_no_model(x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> str:
    if len(np.unique(sources)) < 2 or len(np.unique(targets)) < 2:
        return "crossed effects need at least two sources and two targets"
    if is_constant(x) or is_constant(y):
        return "a constant side has no slope"
    if _freedom(sources, targets) < 1:
        return f"{len(x)} pairs do not suffice for {_n_effects(sources, targets)} source and target effects"
    return ""


def _n_effects(sources: np.ndarray, targets: np.ndarray) -> int:
    return len(np.unique(sources)) + len(np.unique(targets)) - 1


def _freedom(sources: np.ndarray, targets: np.ndarray) -> int:
    """Count the degrees of freedom that source and target effects and a slope leave, for a slope within sources and targets."""
    return len(sources) - _n_effects(sources, targets) - 1


def _standardise(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std(ddof=1)


def _fit(x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> dict:
    fitted = CrossedEffects(x, y, *(np.unique(side, return_inverse=True)[1] for side in (sources, targets))).fit()
    sd_source, sd_target = fitted.sd_effects.tolist()
    return {
        "slope": fitted.slope,
        "slope_se": fitted.slope_se,
        "p_value": float(2 * stats.t.sf(abs(fitted.slope / fitted.slope_se), _freedom(sources, targets))),
        "sd_source": sd_source,
        "sd_target": sd_target,
        "sd_residual": fitted.sd_residual,
        "converged": fitted.converged,
        "reason": "",
    }
