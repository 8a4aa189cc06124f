"""Computes standard errors for pairs that share languages: dyadic cluster-robust variance.

Residuals of two pairs may be related in any way where the pairs have a language in common, as source or as target, and are taken
for unrelated where they have none. The middle of the sandwich sums over all such pairs of pairs:
``sum_i s_i s_i' - sum_{i<j} s_ij s_ij' `` with s_i the sum of ``x e`` over the pairs that language i is in and s_ij over the two
directions of one pair of languages, which the first sum counts twice.

With some fifteen languages that sum is often far too small by chance, and p-values from it fall below .05 in .15 to .33 of null
studies. Residuals are therefore divided by ``sqrt(1 - leverage)`` (HC2), and the variance is at least that of pairs that are all
unrelated; with both the rate is .03 to .08, also where residuals are related (docs/statistics.md).

References: Aronow, Samii & Assenova 2015, Political Analysis 23; Cameron & Miller 2014 (dyadic data); the correction
``n / (n - 1)`` for n languages and the t distribution with n - 1 degrees of freedom follow the latter. MacKinnon & White 1985,
Journal of Econometrics 29 (HC2).
"""

import numpy as np
from scipy import stats

_NOTHING = 1e-8
"""A pair with 1 - leverage up to this determines its own fitted value, so that its residual is rounding."""


def dyadic_errors(
    x: np.ndarray, residuals: np.ndarray, leverage: np.ndarray, sources: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the standard error of each coefficient of a regression whose predictors are given one by one.

    Args:
        x: float64 ``[n_x, n_pairs]``, each predictor freed of everything else in the model.
        residuals: float64 ``[n_pairs]``, of the whole model.
        leverage: float64 ``[n_pairs]``, 0..1, the diagonal of the projection on the whole model.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        Standard errors ``[n_x]``, and their degrees of freedom ``[n_x]``. A pair of leverage 1 has no residual and adds nothing.
    """
    languages, positions = np.unique([sources, targets], return_inverse=True)
    n = len(languages)
    of_source, of_target = positions.reshape(2, -1)
    spare = np.maximum(1 - leverage, 0)
    scores = x * np.divide(residuals, np.sqrt(spare), out=np.zeros_like(residuals), where=spare > _NOTHING)
    both = np.minimum(of_source, of_target) * n + np.maximum(of_source, of_target)
    variances = []
    for own, values in zip(scores, x, strict=True):
        per_language = np.bincount(of_source, own, n) + np.bincount(of_target, own, n)
        per_pair = np.bincount(both, own, n * n)
        related = ((per_language**2).sum() - (per_pair**2).sum()) * n / (n - 1)
        variances.append(max(related, (own**2).sum()) / (values @ values) ** 2)
    return np.sqrt(variances), np.full(len(x), n - 1.0)


def t_test(coefficients: np.ndarray, errors: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Compute two-sided p-values of coefficients by Student's t, NaN where there is no standard error.

    Args:
        coefficients: float64 ``[n_x]``.
        errors: their standard errors, ``[n_x]``.
        freedom: degrees of freedom of these errors, ``[n_x]``.
    """
    return 2 * stats.t.sf(np.abs(coefficients) / errors, freedom)
