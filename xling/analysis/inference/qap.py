"""Makes p-values for pairs of languages by permuting the languages (quadratic assignment procedure, QAP).

Pairs that share a language are dependent, so the pairs are not what is shuffled: the *labels* of the square distance
matrix are. Under draw ``pi`` the predictor of cell ``(S, T)`` is ``D[pi(S), pi(T)]``, which keeps the dependence within
rows and columns. The statistic is taken over the observed cells only, so the sources may be fewer than the targets;
:mod:`~xling.analysis.inference.permutations` says which languages are exchanged,
:mod:`~xling.analysis.inference.null_correlations` computes the null distributions, and this module turns them into p-values.

References: Mantel 1967, Cancer Research 27; Hubert & Schultz 1976, BJMSP 29; Krackhardt 1988, Social Networks 10;
Westfall & Young 1993 (max-T); Benjamini & Hochberg 1995, JRSS-B 57.
"""

import numpy as np

_TIE = 1e-9
"""Permutations that give the same correlation up to rounding count as equal, whatever the order of summation."""


def permutation_p(observed: np.ndarray, null: np.ndarray, exact: bool) -> np.ndarray:
    """Compute two-sided p-values: how often a relabelling correlates at least as strongly, in absolute value.

    ``p = (1 + count) / (1 + n)`` for n random draws (the observed labelling counts as one), ``count / n`` for all n.
    Permutations that leave the statistic undefined count on neither side: a p-value is only given where the observed
    one is defined, so the others are what it compares with. (Taking them for 0 would make p too small: genetic distance
    is constant from six of the fifteen XNLI languages.)

    Args:
        observed: float64 ``[...]``, NaN = undefined.
        null: float64 ``[n_permutations, ...]``, NaN = undefined.
        exact: all permutations are there.

    Returns:
        float64 ``[...]`` in 0..1 (never 0), NaN where `observed` is.

    >>> permutation_p(np.array(0.5), np.array([0.5, -0.5, 0.1, 0.0]), exact=True).item()
    0.5
    """
    count = (np.abs(null) >= np.abs(observed) - _TIE).sum(axis=0)
    n = np.isfinite(null).sum(axis=0)
    p = count / np.maximum(n, 1) if exact else (1 + count) / (1 + n)
    return np.where(np.isfinite(observed), p, np.nan)


def max_t_p(observed: np.ndarray, null: np.ndarray, exact: bool) -> np.ndarray:
    """Compute family-wise p-values: each observed |r| against the largest |r| of the family in each permutation.

    Single-step max-T (Westfall & Young 1993): controls the chance of any false finding in the family. It counts the
    permutations in which every test of the family is defined.

    Args:
        observed: float64 ``[n_tests]``, NaN = not part of the family.
        null: float64 ``[n_permutations, n_tests]``, the same permutations for all tests.
        exact: all permutations are there.

    Returns:
        float64 ``[n_tests]``, NaN where `observed` is.
    """
    member = np.isfinite(observed)
    if not member.any():
        return np.full(observed.shape, np.nan)
    largest = np.abs(null[:, member]).max(axis=1, keepdims=True)  # NaN where any is
    return permutation_p(observed, largest, exact)


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values so that rejecting below q keeps the expected fraction of false ones among all findings below q.

    >>> benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    adjusted = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known])]
    stepped = p_values[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1].clip(max=1)
    return adjusted
