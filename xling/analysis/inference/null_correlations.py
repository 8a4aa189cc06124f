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

from collections.abc import Iterator

import numpy as np
from scipy import stats

from xling.analysis.inference.correlations import correlate, missing_patterns, orthonormal_basis, unit_residuals
from xling.analysis.inference.permutations import Permutations, is_kept, keep_unknown_in_place, positions_of, reachable

_CHUNK_ENTRIES = 300_000
"""Permuted values held at once: 2.4 MB, which a processor's cache holds, and a handful of temporary arrays of that size."""

_FEW_CELLS = 700
"""Up to so many cells one index for many draws is faster (3.6 times for 15 x 15 languages), beyond it rows are (40 x 40)."""

_NEARLY_NOTHING = 1e-6
"""Share of the sum of squares that must be left for the shortcut by sums to keep ten digits."""


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
            null[:, rows] = _null_with_moving_gaps(matrix, y, measured, permutations.labels, basis_of)
        else:
            null[:, rows] = _null_of_incomplete_design(matrix, y, measured, permutations.labels, basis_of)
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


def _rectangles(
    square: np.ndarray, rows: np.ndarray, columns: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (part of `labels`, the relabelled ``square[rows, columns]``, one flat row per permutation)."""
    size = len(rows) * len(columns)
    step = max(1, _CHUNK_ENTRIES // max(1, size))
    take = _take_cells if size <= _FEW_CELLS else _take_rows
    for start in range(0, len(labels), step):
        chunk = labels[start : start + step]
        yield slice(start, start + len(chunk)), take(square, rows, columns, chunk).reshape(len(chunk), size)


def _take_cells(square: np.ndarray, rows: np.ndarray, columns: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Take the relabelled values ``[n_permutations, rows, columns]`` by one index per cell, for all permutations at once."""
    places = (labels[:, rows] * len(square))[:, :, None] + labels[:, columns][:, None, :]
    return square.ravel().take(places)


def _take_rows(square: np.ndarray, rows: np.ndarray, columns: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Take the same values as whole rows and then as columns of these, one permutation after the other."""
    drawn = np.empty((len(labels), len(rows), len(columns)))
    for label, out in zip(labels, drawn, strict=True):
        np.take(square.take(label[rows], axis=0), label[columns], axis=1, out=out, mode="clip")
    return drawn


def _place(cells: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the sources and targets of the cells, and the cells' places in the flat rectangle of both."""
    (rows, of_row), (columns, of_column) = (np.unique(side, return_inverse=True) for side in cells)
    return rows, columns, of_row * len(columns) + of_column


def _gather(
    square: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (part of `labels`, the relabelled values ``[n_rows, n_cells]``)."""
    rows, columns, places = _place(cells)
    for part, drawn in _rectangles(square, rows, columns, labels):
        yield part, drawn.take(places, axis=1)


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
        return _correlate_draws(square, y, cells, labels, basis)
    square = np.zeros(matrix.shape)
    square[cells] = unit_residuals(x[None], basis)[0]
    rows, columns, places = _place(cells)
    spread = np.zeros((len(rows) * len(columns), len(y)))  # 0 where the rectangle has no cell, as S = T
    spread[places] = y.T
    for part, moved in _rectangles(square, rows, columns, labels):
        null[part] = moved @ spread
    return np.clip(null, -1, 1)


def _null_with_moving_gaps(
    matrix: np.ndarray, y: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Correlate where a relabelling moves values and gaps about within a design that follows the labels.

    What the design leaves of the known values is computed once and moves with them. Of an outcome a draw loses what lies at its
    gaps (:func:`_downdate`); the factor of that loss belongs to the gaps, wherever they lie.
    """
    basis = orthonormal_basis(columns)
    x = matrix[cells]
    gaps = np.flatnonzero(np.isnan(x))
    known = np.isfinite(x)
    factor = _factor_of_gaps(basis[gaps][None])  # [1, k, k]
    spare = len(basis) - basis.shape[1] - int(_rank(factor)[0])
    null = np.full((len(labels), len(y)), np.nan)
    if spare < 2:
        return null
    y = unit_residuals(y, basis)
    square = np.zeros(matrix.shape)
    square[tuple(side[known] for side in cells)] = unit_residuals(x[None, known], orthonormal_basis(basis[known]))[0]
    place_of = np.zeros(matrix.shape, dtype=np.intp)
    place_of[cells] = np.arange(len(x))
    where = np.argsort(labels, axis=1)  # the place to which a draw brings each language's values
    for part, moved in _gather(square, cells, labels):
        at = place_of[where[part][:, cells[0][gaps]], where[part][:, cells[1][gaps]]]  # [n_draws, k]
        lost = np.einsum("dko,kj->djo", y.T[at], factor[0], optimize=True)
        left = 1 - (lost**2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            null[part] = moved @ y.T / np.sqrt(np.maximum(left, 0))
        thin = np.flatnonzero((left < _NEARLY_NOTHING).any(axis=1))
        if len(thin):  # of which sums would lose digits
            drawn = [matrix[own[cells[0]], own[cells[1]]] for own in labels[part][thin]]
            null[part.start + thin] = correlate(np.array(drawn), y, basis)
    return np.clip(null, -1, 1)


def _null_of_incomplete_design(
    matrix: np.ndarray, y: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Correlate where the design is incomplete: a draw's gaps lie elsewhere; :func:`_correlate_rows` says whether enough stays."""
    basis = orthonormal_basis(columns)
    return _correlate_draws(matrix, unit_residuals(y, basis), cells, labels, basis)


def _correlate_draws(
    square: np.ndarray, y: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray, basis: np.ndarray
) -> np.ndarray:
    """Correlate relabelled values, with or without gaps, with outcomes that are unit residuals off `basis`."""
    null = np.full((len(labels), len(y)), np.nan)
    centred = square - np.nanmean(square)
    for rows, drawn in _gather(centred, cells, labels):
        null[rows] = _correlate_rows(drawn, y, basis)
    return np.clip(null, -1, 1)


def _correlate_rows(drawn: np.ndarray, y: np.ndarray, basis: np.ndarray) -> np.ndarray:
    gaps = ~np.isfinite(drawn)
    counts = gaps.sum(axis=1)
    x = np.where(gaps, 0.0, drawn) if counts.any() else drawn
    in_basis = x @ basis  # [n_draws, rank]
    total = np.einsum("ij,ij->i", x, x)
    left = total - (in_basis**2).sum(axis=1)
    products, own_left = x @ y.T, np.ones((len(x), len(y)))
    spare = np.full(len(x), len(basis) - basis.shape[1])
    for count in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == count)
        step = max(1, _CHUNK_ENTRIES // count**2)
        for some in (rows[i : i + step] for i in range(0, len(rows), step)):
            at = np.nonzero(gaps[some])[1].reshape(len(some), count)
            removed = _downdate(at, in_basis[some], y, basis)
            left[some] -= removed[0]
            products[some] -= removed[1]
            own_left[some] -= removed[2]
            spare[some] -= removed[3]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = products / np.sqrt(np.maximum(left, 0)[:, None] * np.maximum(own_left, 0))
    # a draw of which little is left is computed from its residuals; in the middle of so many sums it would lose digits
    exact = (left < _NEARLY_NOTHING * total) | (own_left < _NEARLY_NOTHING).any(axis=1)
    exact &= spare >= 2
    if exact.any():
        r[exact] = correlate(drawn[exact], y, basis)
    r[spare < 2] = np.nan
    return r


def _downdate(
    at: np.ndarray, in_basis: np.ndarray, y: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compute what leaving out the cells `at` takes from the sums of squares and products.

    Leaving cells out equals giving each a column of its own in the design (Frisch-Waugh-Lovell): with P the projection off
    the design, sums over P fall by ``(P x)_at' (P_at,at)^-1 (P y)_at``. Where cells are determined by the design, e.g. all
    cells of one source, P_at,at is singular and its pseudo-inverse counts them once.

    Args:
        at: int ``[n_draws, k]``, cells left out; the values there are 0.
        in_basis: ``[n_draws, rank]``, coordinates of the values in the basis.
        y: ``[n_outcomes, n_cells]``, residuals off the basis.
        basis: ``[n_cells, rank]``.

    Returns:
        What x'Px, x'Py and y'Py lose, ``[n_draws]``, ``[n_draws, n_outcomes]`` twice, and how many dimensions go, ``[n_draws]``.
    """
    rows = basis[at]  # [n_draws, k, rank]
    factor = _factor_of_gaps(rows)
    px = -np.einsum("dkr,dr->dk", rows, in_basis)
    a = np.einsum("dkj,dk->dj", factor, px)
    b = np.einsum("dkj,dko->djo", factor, y.T[at])
    return (a**2).sum(axis=1), np.einsum("dj,djo->do", a, b), (b**2).sum(axis=1), _rank(factor)


def _factor_of_gaps(rows: np.ndarray) -> np.ndarray:
    """Factor the pseudo-inverse of P_at,at into ``F F'``.

    Args:
        rows: ``[n_draws, k, rank]``, the rows of the design's orthonormal basis at the gaps.

    Returns:
        F, ``[n_draws, k, k]``; as many of its columns are not 0 as the gaps take dimensions.
    """
    inner = np.eye(rows.shape[1]) - rows @ rows.transpose(0, 2, 1)
    values, vectors = np.linalg.eigh(inner)
    solid = values > 1e-9  # eigenvalues of a projection's part, 0..1; those at 0 come out as rounding
    scale = np.where(solid, 1 / np.sqrt(np.where(solid, values, 1.0)), 0.0)
    return vectors * scale[:, None, :]


def _rank(factor: np.ndarray) -> np.ndarray:
    """Count how many dimensions the gaps of each factor ``[n_draws, k, k]`` take."""
    return factor.any(axis=1).sum(axis=1)


def _null_of_ranks_with_gaps(
    matrix: np.ndarray, y: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Correlate ranks that are taken anew among each draw's own complete cells."""
    null = np.full((len(labels), len(y)), np.nan)
    if np.linalg.matrix_rank(columns) > 1:
        for rows, drawn in _gather(matrix, cells, labels):
            null[rows] = correlate(drawn, y, columns, ranked=True)
        return null
    for rows, drawn in _gather(matrix, cells, labels):
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
