"""Tests whether two studies find the same, by correlating their maps and their values per pair, with languages permuted.

Both questions keep one study as it is and relabel the languages of the other, so that what pairs of one language share
stays together. References as in :mod:`xling.analysis.inference.qap`.
"""

import numpy as np

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.complete_design import largest_complete_part
from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.demeaned import correlate_demeaned, leaves_pairs, two_way_basis
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import (
    MIN_ARRANGEMENTS,
    count_arrangements,
    draw_permutations,
    keep_unknown_in_place,
    language_roles,
    positions_of,
)
from xling.analysis.inference.qap import permutation_p
from xling.analysis.inputs.measurements import Resampling

MIN_CELLS = 3
"""Two cells always correlate by 1 or -1."""

NO_PERMUTATION = f"what both have measured leaves fewer than {MIN_ARRANGEMENTS} arrangements of the languages"


def correlation_map(arrays: PairArrays, demeaned: bool) -> np.ndarray:
    """Correlate every predictor with every outcome, float64 ``[n_predictors, n_outcomes]``, NaN = undefined."""
    if demeaned:
        return correlate_demeaned(arrays.cell_predictors, arrays.outcomes, *arrays.cells)
    return correlate(arrays.cell_predictors, arrays.outcomes)


def compare_maps(a: PairArrays, b: PairArrays, resampling: Resampling) -> dict:
    """Correlate two studies' maps over their common cells.

    The null hypothesis is that a study's languages could be exchanged: in each permutation the distances of one study
    are relabelled, all alike, and its map is computed anew. Each study is permuted in turn; the larger p-value counts.
    The coefficients are those after source and target effects are removed, unless a study's design leaves nothing then.

    Args:
        a: a study's impact as outcomes, distances as predictors.
        b: another's, with as many predictors and outcomes, which correspond by position.
        resampling: number of permutations and the seed.

    Returns:
        n_cells (cells known in both), pearson_r, p_value, and reason (why a number is NaN, else empty).
    """
    demeaned = leaves_pairs(*a.cells) and leaves_pairs(*b.cells)
    maps = correlation_map(a, demeaned), correlation_map(b, demeaned)
    both = np.isfinite(maps[0]) & np.isfinite(maps[1])
    result = {"n_cells": int(both.sum()), "pearson_r": np.nan, "p_value": np.nan, "reason": ""}
    if both.sum() < MIN_CELLS:
        return result | {"reason": f"{both.sum()} cells are known in both studies, at least {MIN_CELLS} are needed"}
    observed = float(_correlate_cells(maps[0], maps[1], both)[0])
    if np.isnan(observed):
        return result | {"reason": "a map is constant over the common cells"}
    result["pearson_r"] = observed
    if min(_arrangements(a), _arrangements(b)) < MIN_ARRANGEMENTS:
        return result | {
            "reason": f"fewer than {MIN_ARRANGEMENTS} arrangements of the languages that the design allows"
        }
    p_values = [
        _permute_map(fixed, arrays, both, resampling, observed, demeaned)
        for fixed, arrays in ((maps[0], b), (maps[1], a))
    ]
    return result | {"p_value": max(p_values)}


def _arrangements(arrays: PairArrays) -> int:
    identity = draw_permutations(arrays.roles, 0, 0)
    groups = [keep_unknown_in_place(identity, matrix, arrays.cells).groups for matrix in arrays.predictors]
    return max(count_arrangements(own) for own in groups)


def _permute_map(
    fixed: np.ndarray, arrays: PairArrays, cells: np.ndarray, resampling: Resampling, observed: float, demeaned: bool
) -> float:
    permutations = draw_permutations(arrays.roles, resampling.permutations, resampling.seed)
    design = two_way_basis(*arrays.cells) if demeaned else None
    null = [
        null_correlations(matrix, arrays.outcomes, arrays.cells, permutations, design, follows_labels=True)
        for matrix in arrays.predictors
    ]
    drawn = _correlate_cells(fixed, np.stack(null, axis=1), cells)  # [n_permutations]
    return float(permutation_p(np.array(observed), drawn, permutations.exact))


def _correlate_cells(fixed: np.ndarray, maps: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Correlate one map [k, m] with each of `maps` [..., k, m] over `cells`; those undefined in a draw are left out."""
    return correlate(fixed[cells][None], maps[..., cells].reshape(-1, int(cells.sum())))[0]


def compare_pairs(a: np.ndarray, b: np.ndarray, resampling: Resampling) -> dict:
    """Correlate what two studies measured over the pairs S != T that both have, freed of source and target effects.

    Relabelled, within their roles, are the languages of the largest part of the common pairs that is complete. Where the
    common design leaves nothing of the pairs (one source), raw values are correlated and `main` says so.

    Args:
        a: float64 ``[n, n]``, rows sources, columns targets, NaN = not measured.
        b: another study's, for the same languages.
        resampling: number of permutations and the seed.

    Returns:
        n_pairs (pairs known in both), main (``demeaned`` or ``pearson``), pearson_r, n_pairs_permuted (pairs of the complete part),
        p_value, and reason (why a number is NaN, else empty).
    """
    known = np.isfinite(a) & np.isfinite(b) & ~np.eye(len(a), dtype=bool)
    cells = positions_of(known)
    demeaned = leaves_pairs(*cells)
    result = {"n_pairs": int(known.sum()), "main": "demeaned" if demeaned else "pearson", "pearson_r": np.nan}
    result |= {"n_pairs_permuted": 0, "p_value": np.nan, "reason": ""}
    if known.sum() < MIN_CELLS:
        return result | {"reason": f"{known.sum()} pairs are known in both studies, at least {MIN_CELLS} are needed"}
    result["pearson_r"] = observed = _correlate_pairs(a, b, cells, demeaned)
    if np.isnan(observed):
        return result | {"reason": "a study's values are constant over the common pairs"}
    return result | _permute_pairs(a, b, known, resampling)


def _correlate_pairs(a: np.ndarray, b: np.ndarray, cells: tuple[np.ndarray, np.ndarray], demeaned: bool) -> float:
    x, y = a[cells][None], b[cells][None]
    return float((correlate_demeaned(x, y, *cells) if demeaned else correlate(x, y))[0, 0])


def _permute_pairs(a: np.ndarray, b: np.ndarray, known: np.ndarray, resampling: Resampling) -> dict:
    sources, targets = largest_complete_part(known)
    inside = np.isin(np.arange(len(a)), sources)[:, None] & np.isin(np.arange(len(a)), targets)[None]
    cells = positions_of(inside & known)
    roles = language_roles(*cells, len(a))
    if count_arrangements(roles) < MIN_ARRANGEMENTS:
        return {"reason": NO_PERMUTATION}
    demeaned = leaves_pairs(*cells)
    design = two_way_basis(*cells) if demeaned else None
    permutations = draw_permutations(roles, resampling.permutations, resampling.seed)
    part = np.where(inside, a, np.nan)
    observed = _correlate_pairs(a, b, cells, demeaned)
    null = null_correlations(part, b[cells][None], cells, permutations, design, follows_labels=True)[:, 0]
    p_value = float(permutation_p(np.array(observed), null, permutations.exact))
    reason = "" if np.isfinite(p_value) else "a study's values are constant over the pairs that are permuted"
    return {"n_pairs_permuted": len(cells[0]), "p_value": p_value, "reason": reason}
