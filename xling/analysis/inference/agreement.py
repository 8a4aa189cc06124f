"""Do two studies find the same? Correlations of their maps and of their pair values, with permuted languages.

Both questions keep one study as it is and relabel the languages of the other, so that what pairs of one language share
stays together. References as in :mod:`xling.analysis.inference.qap`.
"""

from collections.abc import Sequence

import numpy as np

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.qap import (
    MIN_LANGUAGES,
    Permutations,
    draw_permutations,
    has_data,
    largest_complete_square,
    null_correlations,
    permutation_p,
)
from xling.analysis.inputs.measurements import Resampling

MIN_CELLS = 3
NO_PERMUTATION = (
    f"neither a complete square nor a complete rectangle of at least {MIN_LANGUAGES} languages to permute is shared"
)


def map_of(arrays: PairArrays) -> np.ndarray:
    """Correlate every predictor with every outcome, float64 ``[n_predictors, n_outcomes]``, NaN = undefined."""
    return correlate(arrays.cell_predictors, arrays.outcomes)


def compare_maps(a: PairArrays, b: PairArrays, resampling: Resampling) -> dict:
    """Correlate two studies' maps over their common cells.

    The null hypothesis is that a study's languages could be exchanged: in each permutation the distances of one study
    are relabelled, all alike, and its map is computed anew. Each study is permuted in turn; the larger p-value counts.

    Args:
        a: a study's impact as outcomes, distances as predictors.
        b: another's, with as many predictors and outcomes, which correspond by position.
        resampling: number of permutations and the seed.

    Returns:
        n_cells, pearson_r, p_value, reason (why a number is NaN, else empty).
    """
    maps = map_of(a), map_of(b)
    both = np.isfinite(maps[0]) & np.isfinite(maps[1])
    result = {"n_cells": int(both.sum()), "pearson_r": np.nan, "p_value": np.nan, "reason": ""}
    if both.sum() < MIN_CELLS:
        return result | {"reason": f"{both.sum()} cells are known in both studies, at least {MIN_CELLS} are needed"}
    result["pearson_r"] = float(_correlate_cells(maps[0], maps[1], both)[0])
    if np.isnan(result["pearson_r"]):
        return result | {"reason": "a map is constant over the common cells"}
    if min(_n_relabelled(a), _n_relabelled(b)) < MIN_LANGUAGES:
        return result | {"reason": f"fewer than {MIN_LANGUAGES} languages to permute"}
    p_values = [
        _permute_map(fixed, arrays, both, resampling, result["pearson_r"])
        for fixed, arrays in ((maps[0], b), (maps[1], a))
    ]
    return result | {"p_value": max(p_values)}


def _n_relabelled(arrays: PairArrays) -> int:
    return max(int(has_data(matrix).sum()) for matrix in arrays.predictors)


def _permute_map(
    fixed: np.ndarray, arrays: PairArrays, cells: np.ndarray, resampling: Resampling, observed: float
) -> float:
    permutations = draw_permutations(len(arrays.languages), resampling.permutations, resampling.seed)
    null = [null_correlations(matrix, arrays.outcomes, arrays.cells, permutations) for matrix in arrays.predictors]
    drawn = _correlate_cells(fixed, np.stack(null, axis=1), cells)  # [n_permutations]
    return float(permutation_p(np.array(observed), drawn, permutations.exact))


def _correlate_cells(fixed: np.ndarray, maps: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Correlate one map [k, m] with each of `maps` [..., k, m] over `cells`; those undefined in a draw are left out."""
    return correlate(fixed[cells][None], maps[..., cells].reshape(-1, int(cells.sum())))[0]


def compare_pairs(a: np.ndarray, b: np.ndarray, resampling: Resampling) -> dict:
    """Correlate what two studies measured over the pairs S != T that both have.

    Relabelled is the larger of the largest complete square (all its languages) and the complete rectangle of the sources
    by the targets that are no sources (these targets).

    Args:
        a: float64 ``[n, n]``, rows sources, columns targets, NaN = not measured.
        b: another study's, for the same languages.
        resampling: number of permutations and the seed.

    Returns:
        n_pairs, pearson_r, n_pairs_permuted, p_value, reason.
    """
    known = np.isfinite(a) & np.isfinite(b) & ~np.eye(len(a), dtype=bool)
    result = {"n_pairs": int(known.sum()), "pearson_r": np.nan, "n_pairs_permuted": 0, "p_value": np.nan, "reason": ""}
    if known.sum() < MIN_CELLS:
        return result | {"reason": f"{known.sum()} pairs are known in both studies, at least {MIN_CELLS} are needed"}
    result["pearson_r"] = float(correlate(a[known][None], b[known][None])[0, 0])
    if np.isnan(result["pearson_r"]):
        return result | {"reason": "a study's values are constant over the common pairs"}
    labels, fixed = _exchangeable(known)
    if len(labels) - len(fixed) < MIN_LANGUAGES:
        return result | {"reason": NO_PERMUTATION}
    return result | _permute_pairs(a[np.ix_(labels, labels)], b[np.ix_(labels, labels)], len(fixed), resampling)


def _exchangeable(known: np.ndarray) -> tuple[Sequence[int], Sequence[int]]:
    """Which languages enter the permutation, and which of them, first in the list, keep their label."""
    square = largest_complete_square(known).tolist()
    sources = np.flatnonzero(known.any(axis=1)).tolist()
    others = [i for i in range(len(known)) if i not in sources and known[sources, i].all()]
    if len(sources) * len(others) > len(square) * (len(square) - 1):
        return [*sources, *others], sources
    return square, []


def _permute_pairs(a: np.ndarray, b: np.ndarray, n_fixed: int, resampling: Resampling) -> dict:
    n = len(a)
    rows = np.arange(n)[:, None]
    cells = np.nonzero(~np.eye(n, dtype=bool) if not n_fixed else (rows < n_fixed) & (n_fixed <= rows.T))
    drawn = draw_permutations(n - n_fixed, resampling.permutations, resampling.seed)
    kept = np.broadcast_to(np.arange(n_fixed), (len(drawn), n_fixed))
    permutations = Permutations(np.hstack([kept, drawn.labels + n_fixed]), drawn.exact)
    observed = correlate(a[cells][None], b[cells][None])[0, 0]
    null = null_correlations(a, b[cells][None], cells, permutations)[:, 0]
    p_value = float(permutation_p(observed, null, drawn.exact))
    reason = "" if np.isfinite(p_value) else "a study's values are constant over the pairs that are permuted"
    return {"n_pairs_permuted": len(cells[0]), "p_value": p_value, "reason": reason}
