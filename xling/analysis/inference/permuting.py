"""Computes the permutation (QAP) p-values of one analysis: every predictor and outcome, single and corrected for the family."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.correlations import correlate, missing_patterns
from xling.analysis.inference.demeaned import two_way_basis
from xling.analysis.inference.inversion import invert_test
from xling.analysis.inference.mixed_models import control_design, remove_controls
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import (
    MIN_ARRANGEMENTS,
    Permutations,
    count_arrangements,
    draw_permutations,
    keep_unknown_in_place,
)
from xling.analysis.inference.power import simulate_studies
from xling.analysis.inference.qap import benjamini_hochberg, max_t_p, permutation_p
from xling.analysis.inputs.measurements import Resampling
from xling.machine.progress import track_results
from xling.machine.threads import map_in_threads


@dataclass(frozen=True)
class _Statistic:
    """One kind of correlation: what is correlated, and how.

    Attributes:
        name: ending of the names of the columns that it fills.
        matrix: float64 ``[n, n]``, the predictor or its residual, whose languages are relabelled.
        design: columns that are removed by least squares, see :func:`~xling.analysis.inference.correlations.correlate`.
        ranked: whether it is Spearman's rather than Pearson's correlation.
        follows_labels: see :func:`~xling.analysis.inference.null_correlations.null_correlations`.
        is_main: whether it has corrected p-values and an interval.
    """

    name: str
    matrix: np.ndarray
    design: np.ndarray | None = None
    ranked: bool = False
    follows_labels: bool = True
    is_main: bool = False


CORRECTED = ("p_max_t", "p_bh", "ci_low", "ci_high")
DETECTABLE = ("detectable_r", "detectable_family_wise")
NAMES = ("pearson", "spearman", "demeaned", "partial")
MAIN = ("pearson", "demeaned")
"""Coefficients with corrected p-values and intervals: the raw one, and the one freed of source and target effects."""


def permute_associations(
    arrays: PairArrays, permuted: PairArrays | None, resampling: Resampling, main: str
) -> dict[str, np.ndarray]:
    """Compute all p-values and intervals by permutation.

    Args:
        arrays: all observed cells; only its numbers of predictors and outcomes and their names matter here.
        permuted: the cells to relabel, same predictors and outcomes; None where there is nothing to permute.
        resampling: number of permutations and the seed.
        main: coefficient of `MAIN` whose smallest detectable sizes are wanted.

    Returns:
        The permutation columns of :data:`xling.analysis.schema.CORRELATIONS`, each ``[n_predictors, n_outcomes]``.
    """
    shape = (len(arrays.predictors), len(arrays.outcomes))
    result = {f"p_qap_{name}": np.full(shape, np.nan) for name in NAMES}
    result |= {f"{what}_{name}": np.full(shape, np.nan) for name in MAIN for what in CORRECTED}
    result |= {name: np.zeros(shape, dtype=int) for name in ("n_permuted", "n_pairs_permuted", "n_permutations")}
    result |= {name: np.full(shape, np.nan) for name in DETECTABLE}
    result["exact"] = np.zeros(shape, dtype=bool)
    if permuted is None:
        return result
    permutations = draw_permutations(permuted.roles, resampling.permutations, resampling.seed)
    observed = {name: np.full(shape, np.nan) for name in MAIN}
    null = {name: np.full((len(permutations), *shape), np.nan) for name in MAIN}
    tested = map_in_threads(
        lambda matrix: _test_predictor(matrix, permuted, permutations), list(permuted.predictors), resampling.workers
    )
    for k, found in enumerate(track_results(tested, len(permuted.predictors), "Permutations")):
        for name, values in found.columns.items():
            result[name][k] = values
        for name in found.observed:
            observed[name][k], null[name][:, k] = found.observed[name], found.null[name]
    families = _families(arrays)
    for name in MAIN:
        corrected = _correct(observed[name], null[name], result[f"p_qap_{name}"], permutations.exact, families)
        result |= {f"{what}_{name}": values for what, values in corrected.items()}
    return result | _detectable(permuted, null[main], observed[main], families, resampling, main == "demeaned")


@dataclass(frozen=True)
class _Tested:
    """The tests of one predictor against every outcome.

    Attributes:
        columns: name of a column of the result -> its values ``[n_outcomes]``, or one value for all outcomes.
        observed: name in `MAIN` -> coefficients as observed, ``[n_outcomes]``.
        null: name in `MAIN` -> coefficients under each relabelling, ``[n_permutations, n_outcomes]``.
    """

    columns: dict[str, np.ndarray | int | bool]
    observed: dict[str, np.ndarray]
    null: dict[str, np.ndarray]


def _test_predictor(matrix: np.ndarray, permuted: PairArrays, permutations: Permutations) -> _Tested:
    own = keep_unknown_in_place(permutations, matrix, permuted.cells)
    found = _Tested({"n_permuted": _count_exchanged(own.groups)}, {}, {})
    if count_arrangements(own.groups) < MIN_ARRANGEMENTS:
        return found
    for statistic in _statistics(matrix, permuted):
        seen, drawn, of_itself = _observed_and_null(permuted, own, statistic)
        found.columns[f"p_qap_{statistic.name}"] = permutation_p(seen, drawn, permutations.exact)
        if statistic.is_main:
            found.observed[statistic.name], found.null[statistic.name] = seen, drawn
            low, high = invert_test(seen, drawn, of_itself, permutations.exact)
            found.columns.update({f"ci_low_{statistic.name}": low, f"ci_high_{statistic.name}": high})
    known = np.isfinite(matrix[permuted.cells]) & np.isfinite(permuted.outcomes)
    n_permutations = np.isfinite(found.null["pearson"]).sum(axis=0)
    found.columns.update(n_pairs_permuted=known.sum(axis=1), n_permutations=n_permutations, exact=permutations.exact)
    return found


def _detectable(
    permuted: PairArrays,
    null: np.ndarray,
    observed: np.ndarray,
    families: np.ndarray,
    resampling: Resampling,
    demeaned: bool,
) -> dict[str, np.ndarray]:
    """Find the smallest correlations that the design detects, by a single test and by one that is family-wise."""
    criticals = {
        family: _critical(null[:, :, families == family][:, np.isfinite(observed[:, families == family])])
        for family in np.unique(families)
        if np.isfinite(observed[:, families == family]).any()
    }

    def detect(k: int) -> np.ndarray:
        """Detectable correlations of predictor `k`, ``[2, n_outcomes]``: by a single test, and family-wise."""
        tested, found = np.isfinite(observed[k]), np.full((2, observed.shape[1]), np.nan)
        if tested.any():
            studies = simulate_studies(
                permuted.predictors[k], permuted.cells, permuted.roles, demeaned, resampling.seed
            )
            found[0, tested] = studies.detectable()
            for family in np.unique(families[tested]):
                found[1, (families == family) & tested] = studies.detectable(criticals[family])
        return found

    jobs = range(len(permuted.predictors))
    found = track_results(map_in_threads(detect, jobs, resampling.workers), len(jobs), "Detectable effects")
    return dict(zip(DETECTABLE, np.array(list(found)).reshape(-1, 2, observed.shape[1]).swapaxes(0, 1), strict=True))


def _critical(family: np.ndarray) -> float:
    """Find what the largest |correlation| of a family ``[n_permutations, n_tests]`` reaches in 5 % of the relabellings."""
    largest = np.abs(family).max(axis=1)
    largest = largest[np.isfinite(largest)]
    return float(np.quantile(largest, 0.95)) if len(largest) else np.inf


def _count_exchanged(groups: np.ndarray) -> int:
    """Count the languages that have another one to change places with."""
    sizes = np.unique(groups, return_counts=True)[1]
    return int(sizes[sizes > 1].sum())


def _statistics(matrix: np.ndarray, permuted: PairArrays) -> Iterator[_Statistic]:
    """List what is tested of one predictor."""
    yield _Statistic("pearson", matrix, is_main=True)
    yield _Statistic("spearman", matrix, ranked=True)
    yield _Statistic("demeaned", matrix, two_way_basis(*permuted.cells), is_main=True)
    if len(permuted.controls):
        residual = remove_controls(matrix, permuted.controls)
        design = control_design(permuted.controls, *permuted.cells)
        yield _Statistic("partial", residual, design, follows_labels=False)


def _observed_and_null(
    permuted: PairArrays, permutations: Permutations, statistic: _Statistic
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlate as observed, ``[n_outcomes]``, relabelled, ``[n_permutations, n_outcomes]``, and relabelled with itself."""
    x, y = statistic.matrix[permuted.cells], permuted.outcomes
    options = (statistic.design, statistic.ranked)
    observed = correlate(x[None], y, *options)[0]
    itself, which = _with_gaps_of(x, y) if statistic.is_main else (y[:0], np.array([], dtype=int))
    null = null_correlations(
        statistic.matrix,
        np.vstack([y, itself]),
        permuted.cells,
        permutations,
        *options,
        follows_labels=statistic.follows_labels,
    )
    return observed, null[:, : len(y)], null[:, len(y) + which]


def _with_gaps_of(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Copy x once per pattern of gaps in the rows of y; also say which copy belongs to which row."""
    copies, which = [], np.zeros(len(y), dtype=int)
    for i, (rows, observed) in enumerate(missing_patterns(y)):
        copies.append(np.full(len(x), np.nan))
        copies[i][observed] = x[observed]
        which[rows] = i
    return np.array(copies).reshape(-1, len(x)), which


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
