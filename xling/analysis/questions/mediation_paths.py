"""Fits the regressions behind mediation (:mod:`xling.analysis.questions.mediation`), for many draws and layers at once.

``transfer ~ distance`` (slope: total), ``impact ~ distance`` (slope: path_a) and ``transfer ~ distance + impact``
(slopes: direct and path_b), by least squares (Baron & Kenny 1986, JPSP 51); ``total = direct + path_a * path_b``.
"""

from dataclasses import dataclass, replace

import numpy as np

from xling.analysis.inference.complete_design import largest_complete_part
from xling.analysis.inference.correlations import orthonormal_basis
from xling.analysis.inference.demeaned import leaves_pairs, remove_effects
from xling.analysis.inference.intervals import draw_languages
from xling.analysis.inference.mixed_models import control_design, remove_controls
from xling.analysis.inference.permutations import (
    MIN_ARRANGEMENTS,
    Permutations,
    count_arrangements,
    draw_permutations,
    language_roles,
)
from xling.analysis.inference.qap import permutation_p
from xling.analysis.inference.relabelled import gather_relabelled

MIN_PAIRS = 5
"""Three coefficients and something left over."""

_DEGENERATE = 1e-10
"""A spread, or what a regression leaves, within this fraction of the whole is rounding, and nothing is divided by it."""


@dataclass(frozen=True)
class Paths:
    """Standardised effects, each float64 ``[n_draws, n_layers]``, NaN where a regression does not exist.

    Attributes:
        path_a: impact ~ distance.
        path_b: outcome ~ impact, given distance.
        total: outcome ~ distance.
        direct: outcome ~ distance, given impact.
    """

    path_a: np.ndarray
    path_b: np.ndarray
    total: np.ndarray
    direct: np.ndarray

    @property
    def indirect(self) -> np.ndarray:
        """Product of the two paths."""
        return self.path_a * self.path_b


def compute_paths(distance: np.ndarray, impact: np.ndarray, outcome: np.ndarray, weights: np.ndarray) -> Paths:
    """Fit the three regressions for many draws and layers at once, from weighted second moments.

    Args:
        distance: float64 ``[n_draws or 1, n_pairs]``; NaN takes the pair out of that draw.
        impact: float64 ``[n_layers, n_pairs]``, finite.
        outcome: float64 ``[n_pairs]``, finite.
        weights: float64 ``[n_draws or 1, n_pairs]``, >= 0, how often each pair counts.

    Returns:
        Standardised coefficients; multiply by sd(outcome) / sd(distance) for raw effects.
    """
    x, m, y = _standardise(distance), _standardise(impact), _standardise(outcome)
    w = np.where(np.isfinite(x), weights, 0.0)
    x = np.nan_to_num(x)
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw with too few pairs becomes NaN
        w = np.where((w > 0).sum(axis=1, keepdims=True) >= MIN_PAIRS, w / w.sum(axis=1, keepdims=True), np.nan)
    wx = w * x
    mean_x, mean_y, mean_m = wx.sum(axis=1, keepdims=True), (w @ y)[:, None], w @ m.T  # m: [n_draws, n_layers], else 1
    sd_x = _sd((wx * x).sum(axis=1, keepdims=True) - mean_x**2)
    sd_y, sd_m = _sd((w @ y**2)[:, None] - mean_y**2), _sd(w @ (m**2).T - mean_m**2)
    r_xy = ((wx @ y)[:, None] - mean_x * mean_y) / (sd_x * sd_y)
    r_xm = (wx @ m.T - mean_x * mean_m) / (sd_x * sd_m)
    r_my = (w @ (m * y).T - mean_m * mean_y) / (sd_m * sd_y)
    unshared = np.where(1 - r_xm**2 > _DEGENERATE, 1 - r_xm**2, np.nan)
    direct = (r_xy - r_xm * r_my) / unshared
    return Paths(r_xm, (r_my - r_xy * r_xm) / unshared, np.where(np.isfinite(direct), r_xy, np.nan), direct)


def _standardise(values: np.ndarray) -> np.ndarray:
    """Centre and scale along the last axis; constant rows become NaN."""
    scale = np.sqrt(np.nanmean(values**2, axis=-1, keepdims=True))
    centred = values - np.nanmean(values, axis=-1, keepdims=True)
    sd = np.sqrt(np.nanmean(centred**2, axis=-1, keepdims=True))
    return centred / np.where(sd > _DEGENERATE * scale, sd, np.nan)


def _sd(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.where(variance > _DEGENERATE, variance, np.nan))


@dataclass(frozen=True)
class Cells:
    """Complete pairs S != T of one strategy, for the layers that were measured over the same pairs.

    Attributes:
        sources: int ``[n_pairs]``, positions in the distance matrix.
        targets: int ``[n_pairs]``.
        impact: float64 ``[n_layers, n_pairs]``.
        outcome: float64 ``[n_pairs]``.
    """

    sources: np.ndarray
    targets: np.ndarray
    impact: np.ndarray
    outcome: np.ndarray


def resample_paths(matrix: np.ndarray, cells: Cells, n_draws: int, seed: int) -> Paths:
    """Compute the effects over languages drawn with replacement; a pair counts (draws of S) x (draws of T) times.

    Args:
        matrix: float64 ``[n, n]``, NaN = missing.
        cells: the observed pairs.
        n_draws: bootstrap draws.
        seed: seed of the draws.

    Returns:
        One draw per resample.
    """
    counts = draw_languages(cells.sources, cells.targets, n_draws, seed)
    weights = (counts[:, cells.sources] * counts[:, cells.targets]).astype(float)  # [n_draws, n_pairs]
    observed = matrix[cells.sources, cells.targets][None]
    return compute_paths(observed, cells.impact, cells.outcome, weights)


def complete_part(matrix: np.ndarray, cells: Cells) -> tuple[np.ndarray, Cells]:
    """Keep the largest part of the design in which every pair S != T was measured.

    Returns:
        The matrix, float64 ``[n, n]``, and the cells over the languages of that part alone.
    """
    measured = np.zeros(matrix.shape, dtype=bool)
    measured[cells.sources, cells.targets] = True
    sources, targets = largest_complete_part(measured)
    members = np.union1d(sources, targets)
    inside = np.isin(cells.sources, sources) & np.isin(cells.targets, targets)
    own = Cells(
        np.searchsorted(members, cells.sources[inside]),
        np.searchsorted(members, cells.targets[inside]),
        cells.impact[:, inside],
        cells.outcome[inside],
    )
    return matrix[np.ix_(members, members)], own


def demean_cells(matrix: np.ndarray, cells: Cells) -> tuple[np.ndarray, Cells] | None:
    """Free distance, impact and outcome of source and target effects, over the largest complete part of the design.

    There a relabelling within roles moves residuals to residuals, so they can be permuted as they are.

    Returns:
        Residual distances, float64 ``[n, n]``, NaN outside the cells, and the cells; None where nothing is left.
    """
    matrix, cells = complete_part(matrix, cells)
    own = cells.sources, cells.targets
    if not leaves_pairs(*own):
        return None
    left = np.full(matrix.shape, np.nan)
    left[own] = remove_effects(matrix[own][None], *own)[0]
    if np.linalg.norm(left[own]) <= _DEGENERATE * np.linalg.norm(matrix[own]):
        return None
    impact, outcome = remove_effects(cells.impact, *own), remove_effects(cells.outcome[None], *own)[0]
    return left, replace(cells, impact=impact, outcome=outcome)


def path_b_p(matrix: np.ndarray, cells: Cells, n_permutations: int, seed: int) -> tuple[np.ndarray, int]:
    """Compute permutation p-values of path_b: is impact related to the outcome, given distance?

    Impact is known for measured pairs only, so languages are permuted, within their roles, in the largest complete part of
    the design. What is permuted is impact's residual on distance (double semi-partialling, Dekker, Krackhardt & Snijders
    2007).

    Args:
        matrix: float64 ``[n, n]``, NaN = missing.
        cells: the observed pairs, all with a distance.
        n_permutations: draws; few arrangements are enumerated.
        seed: seed of the draws.

    Returns:
        float64 ``[n_layers]``, NaN where the part has too few arrangements; and the number of its pairs.
    """
    matrix, cells = complete_part(matrix, cells)
    own = cells.sources, cells.targets
    roles = language_roles(*own, len(matrix))
    if count_arrangements(roles) < MIN_ARRANGEMENTS:
        return np.full(len(cells.impact), np.nan), len(own[0])
    distance = np.full((1, *matrix.shape), np.nan)
    distance[0][own] = matrix[own]
    table = np.full((len(cells.impact), *matrix.shape), np.nan)
    table[:, own[0], own[1]] = cells.impact
    residuals = np.stack([remove_controls(impact, distance) for impact in table])
    basis = orthonormal_basis(control_design(distance, *own))
    outcome = cells.outcome - basis @ (basis.T @ cells.outcome)
    identity = Permutations(np.arange(len(matrix))[None], roles, exact=False)
    permutations = draw_permutations(roles, n_permutations, seed)
    observed, null = (
        _partial_correlations(residuals, outcome, basis, own, drawn) for drawn in (identity, permutations)
    )
    return permutation_p(observed[0], np.nan_to_num(null), permutations.exact), len(own[0])


def _partial_correlations(
    residuals: np.ndarray,
    outcome: np.ndarray,
    basis: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray],
    drawn: Permutations,
) -> np.ndarray:
    """Correlate relabelled residual matrices with the outcome, both off `basis`; float64 ``[n_draws, n_layers]``.

    In a complete design a permutation only moves the values about, so their sum of squares stays. And it is the same sum whether
    the residuals are moved or, the other way about, what they are multiplied with: outcome and basis are a few vectors, the
    residuals one a layer.
    """
    of_cells = residuals[:, cells[0], cells[1]].T  # [n_cells, n_layers]
    squares = (of_cells**2).sum(axis=0)
    unit = outcome / (np.linalg.norm(outcome) or np.nan)
    place_of = np.zeros(residuals.shape[1:], dtype=np.intp)
    place_of[cells] = np.arange(len(of_cells))
    fixed = np.vstack([unit, basis.T])  # [1 + n_columns, n_cells]
    correlations = np.empty((len(drawn), len(residuals)))
    for part, places in gather_relabelled(place_of, cells, np.argsort(drawn.labels, axis=1)):
        moved = fixed.take(places.T, axis=1)  # [1 + n_columns, n_cells, n_part]
        products = np.einsum("vcd,cl->vdl", moved, of_cells, optimize=True)
        left = squares - (products[1:] ** 2).sum(axis=0)
        left = np.where(left > _DEGENERATE * squares, left, np.nan)
        correlations[part] = products[0] / np.sqrt(left)
    return correlations
