"""Tests all distances and controls in one model: what each adds to the others.

Multiple regression over pairs with QAP by double semi-partialling (MRQAP-DSP; Dekker, Krackhardt & Snijders 2007): to test one
predictor, its residual on all others is relabelled, and the statistic is its partial correlation with the outcome. Source and
target effects are part of the model wherever the design leaves something then. R squared is split by commonality (Mood 1969): what
a predictor explains alone (`total`), what nothing else explains (`unique`), and their difference, which it shares with others.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.correlations import correlate, orthonormal_basis
from xling.analysis.inference.demeaned import leaves_pairs, two_way_basis
from xling.analysis.inference.dyadic import dyadic_errors, t_test
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import MIN_ARRANGEMENTS, Permutations, count_arrangements, draw_permutations
from xling.analysis.inference.qap import max_t_p, permutation_p
from xling.analysis.inputs.measurements import Resampling

MIN_SHARE = 0.5
"""A predictor that is missing for more than half of the pairs is left out: the model is taken over complete pairs."""

_COLLINEAR = 1e-8
"""A predictor of length 1 is a combination of the others where they leave no more than this of its square."""

JOINT = {
    "outcome": "impact or score",
    "layer_label": "'00', '01', ..., 'mean', or '' for the score",
    "predictor": "distance kind, or name of a control",
    "main": "'demeaned': source and target effects are in the model; 'pearson': the mean alone",
    "n_pairs": "ordered pairs S != T with all predictors",
    "beta": "standardised slope given all other predictors",
    "partial_r": "partial correlation with the outcome given all other predictors",
    "p_qap": "its two-sided permutation p-value (MRQAP, double semi-partialling)",
    "p_max_t": "family-wise over the predictors of the model",
    "se_dyadic": "dyadic cluster-robust standard error of beta (HC2, at least that of unrelated pairs)",
    "p_dyadic": "two-sided p-value of beta by it, t with n languages - 1 degrees of freedom",
    "total": "share of the outcome's variance that the predictor explains alone",
    "unique": "share that only it explains",
    "shared": "total - unique: what it explains together with others; negative = suppression",
    "r_squared": "share that all predictors of the model explain",
    "vif": "variance inflation factor: 1 = unrelated to the others; above 10 its slope says little",
    "reason": "why a number is NaN, else empty",
}
"""Columns of ``joint_models``. Shares are of the variance that source and target effects leave."""


def infer_joint(arrays: PairArrays, resampling: Resampling) -> pd.DataFrame:
    """Fit and test the model of every outcome.

    Args:
        arrays: predictors are distances; controls enter as predictors too.
        resampling: number of permutations and the seed.

    Returns:
        Columns of `JOINT`, a row per outcome and predictor; empty with fewer than two usable predictors.
    """
    matrices = np.concatenate([arrays.predictors, arrays.controls])
    names = [*(name for name, _ in arrays.predictor_labels), *arrays.control_labels]
    rows = []
    for (outcome, label), y in zip(arrays.outcome_labels, arrays.outcomes, strict=True):
        observed = np.isfinite(y)
        if not observed.any():
            continue
        known = np.isfinite(matrices[:, arrays.sources, arrays.targets][:, observed]).mean(axis=1)
        used = np.flatnonzero(known >= MIN_SHARE)
        key = {"outcome": outcome, "layer_label": label}
        rows += [
            key | {"predictor": names[k], "reason": f"missing for {1 - known[k]:.0%} of the pairs"}
            for k in np.flatnonzero(known < MIN_SHARE)
        ]
        if len(used) > 1:
            fitted = _fit(matrices[used], y, arrays, resampling)
            rows += [key | {"predictor": names[k]} | row for k, row in zip(used, fitted, strict=True)]
    return pd.DataFrame(rows, columns=list(JOINT))


def _fit(matrices: np.ndarray, y: np.ndarray, arrays: PairArrays, resampling: Resampling) -> Iterator[dict]:
    """Fit one outcome on all of `matrices` ``[n_predictors, n, n]``, over the pairs complete in all of them."""
    values = matrices[:, arrays.sources, arrays.targets]
    complete = np.isfinite(values).all(axis=0) & np.isfinite(y)
    cells = arrays.sources[complete], arrays.targets[complete]
    x, y = values[:, complete], y[complete]
    demeaned = leaves_pairs(*cells)
    effects = two_way_basis(*cells) if demeaned else np.full((len(y), 1), len(y) ** -0.5)
    shared = {"main": "demeaned" if demeaned else "pearson", "n_pairs": len(y)}
    left_x, left_y = (v - (v @ effects) @ effects.T for v in (x, y[None]))
    size, total = np.linalg.norm(left_x, axis=1), float((left_y**2).sum())
    # what is left within 1e-10 of the size (1e-20 of its square) is rounding
    usable = size > 1e-10 * np.linalg.norm(x, axis=1)
    if total <= 1e-20 * float((y**2).sum()) or usable.sum() < 1 or len(y) - effects.shape[1] - usable.sum() < 2:
        reason = "too few pairs, or a constant outcome, once source and target effects are removed"
        return iter([shared | {"reason": reason} for _ in matrices])
    unit_x = np.where(usable[:, None], left_x / np.where(usable, size, 1.0)[:, None], 0.0)
    unit_y = left_y[0] / np.sqrt(total)
    return _rows(unit_x, unit_y, usable, cells, effects, arrays, resampling, shared)


def _rows(unit_x, unit_y, usable, cells, effects, arrays, resampling, shared) -> Iterator[dict]:
    """Describe every predictor; `unit_x` and `unit_y` are residuals off `effects` of length 1."""
    permutations = draw_permutations(arrays.roles, resampling.permutations, resampling.seed)
    everything = orthonormal_basis(unit_x[usable].T)
    r_squared = float(((unit_y @ everything) ** 2).sum())
    residual = unit_y - everything @ (everything.T @ unit_y)
    leverage = (effects**2).sum(axis=1) + (everything**2).sum(axis=1)
    rows, observed, nulls = [], [], []
    for k in range(len(unit_x)):
        others = (
            orthonormal_basis(unit_x[usable & (np.arange(len(unit_x)) != k)].T) if usable.sum() > 1 else effects[:, :0]
        )
        own = unit_x[k] - others @ (others.T @ unit_x[k])
        left = float(own @ own)
        if not usable[k] or left <= _COLLINEAR:
            reason = "source and target effects leave nothing of it" if not usable[k] else "a combination of the others"
            rows.append(shared | {"r_squared": r_squared, "reason": reason})
            observed.append(np.nan)
            nulls.append(np.full(len(permutations), np.nan))
            continue
        beta = float(own @ unit_y) / left
        errors, freedom = dyadic_errors(own[None], residual, leverage, *cells)
        alone, unique = float(unit_x[k] @ unit_y) ** 2, float(own @ unit_y) ** 2 / left
        seen, null = _relabel(own, unit_y, others, cells, effects, arrays, permutations)
        observed.append(seen)
        nulls.append(null)
        rows.append(
            shared
            | {
                "beta": beta,
                "partial_r": seen,
                "se_dyadic": errors[0],
                "p_dyadic": t_test(np.array([beta]), errors, freedom)[0],
            }
            | {
                "total": alone,
                "unique": unique,
                "shared": alone - unique,
                "r_squared": r_squared,
                "vif": 1 / left,
                "reason": "",
            }
        )
    if count_arrangements(arrays.roles) < MIN_ARRANGEMENTS:
        return iter(rows)
    p_values = permutation_p(np.array(observed), np.stack(nulls, axis=1), permutations.exact)
    family = np.fmax(max_t_p(np.array(observed), np.stack(nulls, axis=1), permutations.exact), p_values)
    return (row | {"p_qap": p, "p_max_t": q} for row, p, q in zip(rows, p_values, family, strict=True))


def _relabel(
    own: np.ndarray,
    y: np.ndarray,
    others: np.ndarray,
    cells,
    effects: np.ndarray,
    arrays: PairArrays,
    permutations: Permutations,
) -> tuple[float, np.ndarray]:
    """Compute the partial correlation as observed, and with the predictor's residual relabelled, ``[n_permutations]``."""
    design = np.hstack([effects, others])
    square = np.full((len(arrays.languages),) * 2, np.nan)
    square[cells] = own
    observed = float(correlate(own[None], y[None], design)[0, 0])
    return observed, null_correlations(square, y[None], cells, permutations, design)[:, 0]
