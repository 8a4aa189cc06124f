"""Permutation inference for pairs of languages (quadratic assignment procedure, QAP).

Pairs that share a language are dependent, so the pairs are not what is shuffled: the *labels* of the square distance
matrix are. Under draw ``pi`` the predictor of cell ``(S, T)`` is ``D[pi(S), pi(T)]``, which keeps the dependence within
rows and columns. The statistic is taken over the observed cells only, so the sources may be fewer than the targets.

References: Mantel 1967, Cancer Research 27; Hubert & Schultz 1976, BJMSP 29; Krackhardt 1988, Social Networks 10;
Westfall & Young 1993 (max-T); Benjamini & Hochberg 1995, JRSS-B 57.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from xling.analysis.inference.correlations import correlate

MIN_LANGUAGES = 4
"""Below this, the smallest possible p-value (1/3! = .17) can never reach a usual level."""

_TIE = 1e-9
"""Permutations that give the same correlation up to rounding count as equal, whatever the order of summation."""

_CHUNK_ENTRIES = 1_000_000
"""Permuted values held at once: 8 MB, and a handful of temporary arrays of that size."""


@dataclass(frozen=True)
class Permutations:
    """Relabellings of `n` languages.

    Attributes:
        labels: int ``[n_permutations, n]``; row ``pi`` sends position i to ``pi[i]``.
        exact: all ``n!`` are there (the identity among them), otherwise they are independent uniform draws.
    """

    labels: np.ndarray
    exact: bool

    def __len__(self) -> int:
        return len(self.labels)


def draw_permutations(n: int, n_draws: int, seed: int) -> Permutations:
    """Enumerate all permutations of `n` labels where that takes no more than `n_draws`, else draw that many.

    >>> draw_permutations(3, 10, seed=0).labels.tolist()
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    """
    if math.factorial(n) <= n_draws:
        return Permutations(np.array(list(itertools.permutations(range(n))), dtype=np.intp).reshape(-1, n), exact=True)
    generator = np.random.default_rng(seed)
    labels = generator.permuted(np.broadcast_to(np.arange(n), (n_draws, n)), axis=1)
    return Permutations(labels, exact=False)


def fix_labels(labels: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Take labels out of permutations: each removed label maps to itself, its cycle closes over it.

    A uniform permutation of n labels becomes a uniform one of the rest (each of the (n-1)! arises from n of the n!),
    and stays as close to the original as it can, so predictors with different gaps remain jointly permuted.

    Args:
        labels: int ``[n_permutations, n]``.
        fixed: bool ``[n]``, True = keep in place.

    Returns:
        int ``[n_permutations, n]``.

    >>> fix_labels(np.array([[1, 2, 0]]), np.array([False, False, True])).tolist()
    [[1, 0, 2]]
    """
    labels = labels.copy()
    for i in np.flatnonzero(fixed):
        to_i = labels == i  # one True per row
        np.copyto(labels, labels[:, [i]], where=to_i)
        labels[:, i] = i
    return labels


def has_data(matrix: np.ndarray) -> np.ndarray:
    """Say which languages have a finite value with any other language, bool ``[n]``."""
    finite = np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)
    return finite.any(axis=0) | finite.any(axis=1)


def null_correlations(
    matrix: np.ndarray,
    outcomes: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray],
    permutations: Permutations,
    design: np.ndarray | None = None,
    ranked: bool = False,
) -> np.ndarray:
    """Correlate the relabelled predictor with every outcome, in every permutation.

    Languages without any value in `matrix` keep their place (:func:`fix_labels`). A single missing value travels with
    its labels, and each permutation uses its own complete cases, as the observed statistic does; ranks are taken anew
    each time. Cost: chunks of a million values; permutations with equal gaps are computed together, so gaps of single
    pairs (not of whole languages) are slow, about 10 s for 10,000 permutations of 210 cells.

    Args:
        matrix: float64 ``[n, n]``, the predictor for every ordered pair; NaN = missing; the diagonal is never used.
        outcomes: float64 ``[n_outcomes, n_cells]``, NaN = missing.
        cells: positions ``(sources, targets)`` of the observed cells, int ``[n_cells]`` each, S != T.
        permutations: of n labels.
        design: as in :func:`~xling.analysis.inference.correlations.correlate`; it stays with the cells.
        ranked: Spearman instead of Pearson.

    Returns:
        float64 ``[n_permutations, n_outcomes]``; NaN where a permutation leaves no correlation to compute (the
        predictor is constant over the observed cells).
    """
    labels = fix_labels(permutations.labels, ~has_data(matrix))
    sources, targets = cells
    step = max(1, _CHUNK_ENTRIES // max(1, len(sources)))
    null = np.full((len(labels), len(outcomes)), np.nan)
    for start in range(0, len(labels), step):
        chunk = labels[start : start + step]
        permuted = matrix[chunk[:, sources], chunk[:, targets]]  # [step, n_cells]
        null[start : start + step] = correlate(permuted, outcomes, design, ranked)
    return null


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
    """Adjust p-values so that rejecting below q keeps the expected share of false findings below q.

    >>> benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    adjusted = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known])]
    stepped = p_values[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1].clip(max=1)
    return adjusted


def largest_complete_square(observed: np.ndarray) -> np.ndarray:
    """Find the largest set of languages in which every ordered pair S != T is observed.

    Args:
        observed: bool ``[n, n]``, rows sources, columns targets.

    Returns:
        int positions, ascending; the first in lexicographic order among equally large ones.

    >>> largest_complete_square(np.array([[1, 1, 1, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]], dtype=bool)).tolist()
    [0, 1, 3]
    """
    mutual = observed & observed.T
    best: list[int] = []

    def extend(clique: list[int], candidates: list[int]) -> None:
        nonlocal best
        if len(clique) > len(best):
            best = clique
        for i, language in enumerate(candidates):
            if len(clique) + len(candidates) - i <= len(best):
                return
            extend(clique + [language], [c for c in candidates[i + 1 :] if mutual[language, c]])

    candidates = [i for i in range(len(observed)) if (observed[i] | observed[:, i]).any()]
    extend([], candidates)
    return np.array(best, dtype=np.intp)
