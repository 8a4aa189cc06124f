"""Correlates relabelled values of which some are missing, so that a draw has its gaps elsewhere: the design changes with it.

Leaving a cell out equals giving it a column of its own in the design. What that takes from sums of squares and products is a
low-rank downdate of the sums over all cells (:func:`_downdate`), so that no draw needs a basis of its own.
"""

import numpy as np

from xling.analysis.inference.correlations import correlate, orthonormal_basis, unit_residuals
from xling.analysis.inference.relabelled import CHUNK_ENTRIES, gather_relabelled

_NEARLY_NOTHING = 1e-6
"""Share of the sum of squares that must be left for the shortcut by sums to keep ten digits."""


def correlate_with_moving_gaps(
    matrix: np.ndarray, y: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Correlate where a relabelling moves values and gaps about within a design that follows the labels.

    What the design leaves of the known values is computed once and moves with them. Of an outcome a draw loses what lies at its
    gaps (:func:`_downdate`); the factor of that loss belongs to the gaps, wherever they lie.

    Args:
        matrix: float64 ``[n, n]``, the predictor, NaN = missing.
        y: float64 ``[n_outcomes, n_cells]``, finite.
        cells: positions ``(sources, targets)``, int ``[n_cells]`` each, which every relabelling maps to themselves.
        labels: int ``[n_permutations, n]``.
        columns: float64 ``[n_cells, n_columns]``, the design, whose span every relabelling leaves as it is.

    Returns:
        float64 ``[n_permutations, n_outcomes]``, NaN where nothing is left to correlate.
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
    for part, moved in gather_relabelled(square, cells, labels):
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


def correlate_draws(
    square: np.ndarray, y: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray, basis: np.ndarray
) -> np.ndarray:
    """Correlate relabelled values, with or without gaps, with outcomes, whatever a relabelling makes of cells and design.

    Args:
        square: float64 ``[n, n]``, the predictor, NaN = missing.
        y: float64 ``[n_outcomes, n_cells]``, residuals off `basis` of length 1.
        cells: positions ``(sources, targets)``, int ``[n_cells]`` each.
        labels: int ``[n_permutations, n]``.
        basis: float64 ``[n_cells, rank]``, orthonormal, the design.

    Returns:
        float64 ``[n_permutations, n_outcomes]``, NaN where nothing is left to correlate.
    """
    null = np.full((len(labels), len(y)), np.nan)
    centred = square - np.nanmean(square)
    for rows, drawn in gather_relabelled(centred, cells, labels):
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
        step = max(1, CHUNK_ENTRIES // count**2)
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
