"""Removes from values over pairs what their source and their target contribute by themselves.

Every pair of one source shares that source's model and data, every pair of one target shares that target's test set and
pre-training. A raw correlation over pairs mixes three questions: do better sources, do easier targets, and do closer *pairs*
come with better transfer? In published matrices source and target effects are 97 to 98 % of the variance
(docs/statistics.md), so a raw correlation nearly always says which targets are easier. What is left after both effects are removed
belongs to the pair.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from xling.analysis.inference.correlations import missing_patterns, scale_residuals


def correlate_demeaned(x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Correlate after source and target effects are removed from both sides, over complete cases.

    The same numbers as :func:`correlate` with :func:`two_way_basis`, from sums per language
    instead of a matrix as long as the pairs.

    Args:
        x: float64 ``[n_x, n_pairs]``, NaN = missing.
        y: float64 ``[n_y, n_pairs]``, NaN = missing.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        float64 ``[n_x, n_y]``, NaN where nothing is left to correlate.
    """
    result = np.full((len(x), len(y)), np.nan)
    for rows_y, observed_y in missing_patterns(y):
        for rows_x, observed_x in missing_patterns(x[:, observed_y]):
            at = observed_y[observed_x]
            cells = sources[at], targets[at]
            if leaves_pairs(*cells):
                both = np.vstack([x[rows_x][:, at], y[rows_y][:, at]])
                of_x, of_y = np.split(scale_residuals(both, remove_effects(both, *cells)), [len(rows_x)])
                result[np.ix_(rows_x, rows_y)] = np.clip(of_x @ of_y.T, -1, 1)
    return result


def leaves_pairs(sources: np.ndarray, targets: np.ndarray) -> bool:
    """Say whether anything to correlate is left of pairs once source and target effects are removed.

    From one source, or to one target, nothing is: every pair has an effect of its own.

    Args:
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.
    """
    own = [np.unique(side, return_inverse=True) for side in (sources, targets)]
    (of_sources, of_source), (of_targets, of_target) = own
    n = len(of_sources) + len(of_targets)
    if len(sources) - (n - 1) >= 2:  # whatever is connected: there is one part at least
        return True
    joined = coo_matrix((np.ones(len(sources)), (of_source, len(of_sources) + of_target)), shape=(n, n))
    n_parts = connected_components(joined, directed=False)[0] if n else 0
    return len(sources) - (n - n_parts) >= 2  # effects of languages that pairs connect share one constant


def remove_effects(values: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Free complete rows of source and target effects: the residuals off the indicators of both, without that large matrix.

    The means of one side are removed first; the effects of the other then solve a system as large as that side, whose matrix
    is the Schur complement of the first. The first is the side with more languages, so that a hundred targets of three sources
    are a system of three.

    Args:
        values: float64 ``[n_rows, n_pairs]``, finite.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        float64 ``[n_rows, n_pairs]``.
    """
    of_more, of_fewer, together, inverse = _schur(sources, targets)
    values = values - values.mean(axis=1, keepdims=True)
    means = _sums(values, of_more, len(together)) / together.sum(axis=1)
    left = _sums(values, of_fewer, together.shape[1]) - means @ together
    effects_of_fewer = left @ inverse
    effects_of_more = means - effects_of_fewer @ (together / together.sum(axis=1, keepdims=True)).T
    return values - effects_of_more[:, of_more] - effects_of_fewer[:, of_fewer]


def _sums(values: np.ndarray, groups: np.ndarray, n: int) -> np.ndarray:
    return np.array([np.bincount(groups, row, n) for row in values]).reshape(len(values), n)


def _schur(sources: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Prepare to remove effects: take the side with more languages out of the normal equations, and invert what is left.

    Returns:
        The positions of every pair's language in the side with more of them and in the other, ``[n_pairs]`` each; how often the
        two occur together, ``[n_more, n_fewer]``; and the inverse for the other side, ``[n_fewer, n_fewer]``.
    """
    sides = [np.unique(side, return_inverse=True) for side in (sources, targets)]
    (of_more, n_more), (of_fewer, n_fewer) = sorted(
        ((positions, len(languages)) for languages, positions in sides), key=lambda side: -side[1]
    )
    together = np.zeros((n_more, n_fewer))
    np.add.at(together, (of_more, of_fewer), 1)
    schur = np.diag(together.sum(axis=0)) - together.T @ (together / together.sum(axis=1, keepdims=True))
    # one direction is singular per part of the design that is connected, by the constant that its two effects share
    return of_more, of_fewer, together, np.linalg.pinv(schur, rcond=1e-10, hermitian=True)


def two_way_basis(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Build orthonormal columns that span source and target effects.

    Removing them is two-way demeaning: over a full rectangle ``y - row mean - column mean + grand mean``; with missing cells
    least squares does what the means cannot.

    Args:
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        float64 ``[n_pairs, rank]``.
    """
    of_more, of_fewer, together, inverse = _schur(sources, targets)
    counts = together.sum(axis=1)
    means = np.equal.outer(of_more, np.arange(len(counts))) / np.sqrt(counts)
    left = np.equal.outer(of_fewer, np.arange(together.shape[1])) - (together / counts[:, None])[of_more]
    values, vectors = np.linalg.eigh(inverse)
    solid = values > 1e-10 * values.max(initial=0.0)  # the others are the singular directions of the Schur complement
    return np.hstack([means, left @ (vectors[:, solid] * np.sqrt(values[solid]))])


def variance_shares(values: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> tuple[float, float, float]:
    """Split the variance of an outcome over pairs into source effects, target effects and the rest.

    The two effects overlap where cells are missing (S = T always is), so each gets the mean of what it adds first and of
    what it adds last (Lindeman, Merenda & Gold 1980); together they are the R squared of both.

    Args:
        values: float64 ``[n_pairs]``; NaN is left out.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        Shares of source, target and rest, which sum to 1; NaN where the values are constant or there are none.

    >>> [round(share, 3) for share in variance_shares(np.array([1.0, 2, 3, 4]), np.array([0, 0, 1, 1]), np.array([2, 3, 2, 3]))]
    [0.8, 0.2, 0.0]
    """
    known = np.isfinite(values)
    values, sources, targets = values[known], sources[known], targets[known]
    total = float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0
    if total <= 1e-20 * float((values**2).sum()):  # squares: the spread is 1e-10 of the size, which is rounding
        return np.nan, np.nan, np.nan
    one = np.zeros(len(values), dtype=int)
    of_source, of_target, of_both = (
        1 - float((remove_effects(values[None], *cells) ** 2).sum()) / total
        for cells in ((sources, one), (one, targets), (sources, targets))
    )
    source = (of_source + of_both - of_target) / 2
    return source, of_both - source, 1 - of_both
