"""QAP p-values of one analysis: every predictor and outcome, single and corrected for the family."""

from collections.abc import Iterator

import numpy as np

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.mixed_models import control_design, remove_controls, two_way_design
from xling.analysis.inference.qap import (
    MIN_LANGUAGES,
    Permutations,
    benjamini_hochberg,
    draw_permutations,
    has_data,
    max_t_p,
    null_correlations,
    permutation_p,
)
from xling.analysis.inputs.measurements import Resampling

P_VALUES = ("p_qap_pearson", "p_qap_spearman", "p_qap_demeaned", "p_qap_partial")


def permute_associations(
    arrays: PairArrays, permuted: PairArrays | None, resampling: Resampling
) -> dict[str, np.ndarray]:
    """Compute all p-values by permutation.

    Args:
        arrays: all observed cells; only its numbers of predictors and outcomes and their names matter here.
        permuted: the cells to relabel, same predictors and outcomes; None where there is nothing to permute.
        resampling: number of permutations and the seed.

    Returns:
        The QAP columns of :data:`xling.analysis.schema.CORRELATIONS`, each ``[n_predictors, n_outcomes]``.
    """
    shape = (len(arrays.predictors), len(arrays.outcomes))
    result = {name: np.full(shape, np.nan) for name in (*P_VALUES, "p_max_t", "p_bh")}
    result |= {name: np.zeros(shape, dtype=int) for name in ("n_permuted", "n_pairs_permuted", "n_permutations")}
    result["exact"] = np.zeros(shape, dtype=bool)
    if permuted is None:
        return result
    permutations = draw_permutations(len(permuted.languages), resampling.permutations, resampling.seed)
    observed, null = np.full(shape, np.nan), np.full((len(permutations), *shape), np.nan)
    for k, matrix in enumerate(permuted.predictors):
        members = has_data(matrix)
        result["n_permuted"][k] = members.sum()
        if members.sum() < MIN_LANGUAGES:
            continue
        for name, *test in _statistics(matrix, permuted):
            seen, drawn = _observed_and_null(permuted, permutations, *test)
            result[name][k] = permutation_p(seen, drawn, permutations.exact)
            if name == "p_qap_pearson":
                observed[k], null[:, k] = seen, drawn
        known = np.isfinite(matrix[permuted.cells]) & np.isfinite(permuted.outcomes)
        result["n_pairs_permuted"][k] = known.sum(axis=1)
        result["n_permutations"][k] = np.isfinite(null[:, k]).sum(axis=0)
        result["exact"][k] = permutations.exact
    return result | _correct(observed, null, result["p_qap_pearson"], permutations.exact, _families(arrays))


def _statistics(matrix: np.ndarray, permuted: PairArrays) -> Iterator[tuple[str, np.ndarray, np.ndarray | None, bool]]:
    """List what is tested: column of the p-value, matrix to relabel, what is removed, whether values are ranked."""
    yield "p_qap_pearson", matrix, None, False
    yield "p_qap_spearman", matrix, None, True
    yield "p_qap_demeaned", matrix, two_way_design(*permuted.cells), False
    if len(permuted.controls):
        residual = remove_controls(matrix, permuted.controls)
        yield "p_qap_partial", residual, control_design(permuted.controls, *permuted.cells), False


def _observed_and_null(
    permuted: PairArrays, permutations: Permutations, matrix: np.ndarray, design: np.ndarray | None, ranked: bool
) -> tuple[np.ndarray, np.ndarray]:
    observed = correlate(matrix[permuted.cells][None], permuted.outcomes, design, ranked)[0]
    return observed, null_correlations(matrix, permuted.outcomes, permuted.cells, permutations, design, ranked)


def _families(arrays: PairArrays) -> np.ndarray:
    """Number the family of every outcome, ``[n_outcomes]``: tests of the same quantity belong together."""
    names = [outcome for outcome, _ in arrays.outcome_labels]
    return np.array([names.index(name) for name in names])


def _correct(
    observed: np.ndarray, null: np.ndarray, p_values: np.ndarray, exact: bool, families: np.ndarray
) -> dict[str, np.ndarray]:
    p_max_t, p_bh = np.full(observed.shape, np.nan), np.full(observed.shape, np.nan)
    for family in np.unique(families):
        member = families == family
        seen = observed[:, member]
        drawn = null[:, :, member].reshape(len(null), -1)
        single = p_values[:, member]
        family_wise = max_t_p(seen.ravel(), drawn, exact).reshape(seen.shape)
        p_max_t[:, member] = np.maximum(family_wise, single)  # they may count different permutations, see max_t_p
        p_bh[:, member] = benjamini_hochberg(single.ravel()).reshape(seen.shape)
    return {"p_max_t": p_max_t, "p_bh": p_bh}
