"""Correlates under relabelled languages: the null distributions of every permutation test, for many draws at once.

Four ways give the same numbers (the tests compare them to 1e-12):

* Where every relabelling maps the observed cells to themselves (complete designs), it only moves values about: values are
  ranked and freed of the design once, their length stays, and a draw costs one gather and one product.
* Where single values are missing in such a design, the gaps move about with the others, and what they take from the design
  stays: what an outcome loses to them is the one thing that differs from draw to draw.
* Otherwise the sums of squares of each draw are taken from an orthonormal basis of the design that is computed once; gaps
  are taken out by a low-rank downdate of each draw's own.
* A draw that the design leaves nearly nothing of is computed from its residuals, because differences of sums would lose digits.
"""

import numpy as np
from scipy import stats

from xling.analysis.inference.correlations import correlate, missing_patterns, orthonormal_basis, unit_residuals
from xling.analysis.inference.gaps import correlate_draws, correlate_with_moving_gaps
from xling.analysis.inference.permutations import Permutations, is_kept, keep_unknown_in_place, positions_of, reachable
from xling.analysis.inference.relabelled import fold, gather_relabelled


def null_correlations(
    matrix: np.ndarray,
    outcomes: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray],
    permutations: Permutations,
    design: np.ndarray | None = None,
    ranked: bool = False,
    follows_labels: bool = False,
) -> np.ndarray:
    """Correlate the relabelled predictor with every outcome, in every permutation.

    Languages without any value in `matrix` keep their place
    (:func:`~xling.analysis.inference.permutations.keep_unknown_in_place`). A single missing value travels with its labels, and each
    permutation uses its own complete cases, as the observed statistic does; ranks are then taken anew each time.

    Args:
        matrix: float64 ``[n, n]``, the predictor for every ordered pair; NaN = missing; the diagonal is never used.
        outcomes: float64 ``[n_outcomes, n_cells]``, NaN = missing.
        cells: positions ``(sources, targets)`` of the observed cells, int ``[n_cells]`` each, S != T.
        permutations: permutations of n labels.
        design: see :func:`~xling.analysis.inference.correlations.correlate`; it stays with the cells, and a cell without it
            counts in no permutation. None = the constant.
        ranked: Spearman instead of Pearson.
        follows_labels: `design` has the same span after its languages are relabelled (source and target effects; the
            constant always has), which allows the fastest way on complete designs.

    Returns:
        float64 ``[n_permutations, n_outcomes]``; NaN where a permutation leaves no correlation to compute (the
        predictor is constant over the observed cells).
    """
    permutations = keep_unknown_in_place(permutations, matrix, cells)
    columns = np.ones((len(cells[0]), 1)) if design is None else design
    follows_labels = follows_labels or design is None
    null = np.full((len(permutations), len(outcomes)), np.nan)
    can_count = np.asarray(np.isfinite(columns).all(axis=1))  # a control may be unknown for a language
    can_count &= _can_be_known(matrix, permutations.groups)[cells]
    for rows, observed in missing_patterns(outcomes):
        observed = observed[can_count[observed]]
        measured = tuple(side[observed] for side in cells)  # cells in which these outcomes have a value
        y, basis_of = outcomes[np.ix_(rows, observed)], columns[observed]
        known = _known_cells(matrix, measured)
        moves_within = is_kept(_mask(measured, len(matrix)), permutations.groups)
        if moves_within and is_kept(known, permutations.groups):
            null[:, rows] = _null_of_complete_design(
                matrix, y, measured, permutations.labels, basis_of, ranked, follows_labels
            )
        elif ranked:
            null[:, rows] = _null_of_ranks_with_gaps(matrix, y, measured, permutations.labels, basis_of)
        elif moves_within and follows_labels:
            null[:, rows] = correlate_with_moving_gaps(matrix, y, measured, permutations.labels, basis_of)
        else:
            basis = orthonormal_basis(basis_of)
            null[:, rows] = correlate_draws(matrix, unit_residuals(y, basis), measured, permutations.labels, basis)
    return null


def _mask(cells: tuple[np.ndarray, np.ndarray], n: int) -> np.ndarray:
    mask = np.zeros((n, n), dtype=bool)
    mask[cells] = True
    return mask


def _can_be_known(matrix: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Say to which places ``[n, n]`` some relabelling brings a value; those of a language that knows none, and stays, get none."""
    known = np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)
    return reachable(positions_of(known), groups)


def _known_cells(matrix: np.ndarray, cells: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return _mask(cells, len(matrix)) & np.isfinite(matrix)


def _null_of_complete_design(
    matrix: np.ndarray,
    y: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray],
    labels: np.ndarray,
    columns: np.ndarray,
    ranked: bool,
    follows_labels: bool,
) -> np.ndarray:
    """Correlate where the design is complete: a permutation moves the values about, so that their ranks and their length stay."""
    null = np.full((len(labels), len(y)), np.nan)
    basis = orthonormal_basis(columns)
    x = matrix[cells]
    if basis.shape[0] - basis.shape[1] < 2:
        return null
    if ranked:
        x, y = stats.rankdata(x), stats.rankdata(y, axis=1)
    y = unit_residuals(y, basis)
    if not follows_labels:
        # the design stays where it is, so what is left of the moved values differs from draw to draw
        square = np.full(matrix.shape, np.nan)
        square[cells] = x
        return correlate_draws(square, y, cells, labels, basis)
    square = np.zeros(matrix.shape)
    square[cells] = unit_residuals(x[None], basis)[0]
    cells, y = fold(square, cells, y)
    for part, moved in gather_relabelled(square, cells, labels):
        null[part] = moved @ y.T
    return np.clip(null, -1, 1)


def _null_of_ranks_with_gaps(
    matrix: np.ndarray, y: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Correlate ranks that are taken anew among each draw's own complete cells."""
    null = np.full((len(labels), len(y)), np.nan)
    if np.linalg.matrix_rank(columns) > 1:
        for rows, drawn in gather_relabelled(matrix, cells, labels):
            null[rows] = correlate(drawn, y, columns, ranked=True)
        return null
    for rows, drawn in gather_relabelled(matrix, cells, labels):
        has_gaps = ~np.isfinite(drawn).all(axis=1)
        chunk = np.full((len(drawn), len(y)), np.nan)
        if not has_gaps.all():  # the outcomes keep their ranks
            chunk[~has_gaps] = correlate(drawn[~has_gaps], y, ranked=True)
        if has_gaps.any():
            chunk[has_gaps] = _rank_correlate(drawn[has_gaps], y)
        null[rows] = chunk
    return np.clip(null, -1, 1)


def _rank_correlate(drawn: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute Spearman's rho between rows with gaps and complete outcomes, ``[n_draws, n_outcomes]``."""
    gaps = ~np.isfinite(drawn)
    x = _ranks_off_mean(drawn, gaps)
    rho = np.full((len(drawn), len(y)), np.nan)
    for m, outcome in enumerate(y):
        ranks = _ranks_off_mean(np.broadcast_to(outcome, drawn.shape), gaps)
        length = np.sqrt((x**2).sum(axis=1) * (ranks**2).sum(axis=1))
        enough = (length > 0) & ((~gaps).sum(axis=1) >= 3)
        rho[:, m] = np.divide((x * ranks).sum(axis=1), length, out=np.full(len(x), np.nan), where=enough)
    return rho


def _ranks_off_mean(values: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Rank the known values of each row and centre the ranks; gaps get 0."""
    ranks = stats.rankdata(np.where(gaps, np.inf, values), axis=1)  # the gaps come last and disturb no other rank
    middle = ((~gaps).sum(axis=1, keepdims=True) + 1) / 2
    return np.where(gaps, 0.0, ranks - middle)
