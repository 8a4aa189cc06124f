"""Standard errors for pairs that share languages: dyadic cluster-robust variance.

Residuals of two pairs may be related in any way where the pairs have a language in common, as source or as target, and are taken
for unrelated where they have none. The middle of the sandwich sums over all such pairs of pairs:
``sum_i s_i s_i' - sum_{i<j} s_ij s_ij' `` with s_i the sum of ``x e`` over the pairs that language i is in and s_ij over the two
directions of one pair of languages, which the first sum counts twice.

References: Aronow, Samii & Assenova 2015, Political Analysis 23; Cameron & Miller 2014 (dyadic data); the correction
``n / (n - 1)`` for n languages and the t distribution with n - 1 degrees of freedom follow the latter.
"""

import numpy as np
from scipy import stats


def dyadic_errors(
    x: np.ndarray, residuals: np.ndarray, sources: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the standard error of each coefficient of a regression whose predictors are given one by one.

    Args:
        x: float64 ``[n_x, n_pairs]``, each predictor freed of everything else in the model.
        residuals: float64 ``[n_pairs]``, of the whole model.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        Standard errors ``[n_x]``, NaN where the variance is not positive, as it can be with few languages; and their degrees of
        freedom ``[n_x]``.
    """
    languages, positions = np.unique([sources, targets], return_inverse=True)
    n = len(languages)
    of_source, of_target = positions.reshape(2, -1)
    scores = x * residuals
    both = np.minimum(of_source, of_target) * n + np.maximum(of_source, of_target)
    variances = []
    for own, values in zip(scores, x, strict=True):
        per_language = np.bincount(of_source, own, n) + np.bincount(of_target, own, n)
        per_pair = np.bincount(both, own, n * n)
        variances.append(((per_language**2).sum() - (per_pair**2).sum()) * n / (n - 1) / (values @ values) ** 2)
    variance = np.array(variances)
    errors = np.sqrt(np.where(variance > 0, variance, np.nan))
    return errors, np.full(len(x), n - 1.0)


def t_test(coefficients: np.ndarray, errors: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Two-sided p-values, NaN where there is no error."""
    return 2 * stats.t.sf(np.abs(coefficients) / errors, freedom)
