"""Pairs freed of what their source and their target contribute by themselves.

Every pair of one source shares that source's model and data, every pair of one target shares that target's test set and
pre-training. A raw correlation over pairs mixes three questions: do better sources, do easier targets, and do closer *pairs*
come with better transfer? In published matrices source and target effects are 97 to 98 % of the variance
(docs/statistics.md), so it is nearly always answered by the easier targets. What is left after both effects are removed
belongs to the pair.
"""

import numpy as np

from xling.analysis.inference.correlations import missing_patterns, scale_residuals


def correlate_demeaned(x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Correlate after source and target effects are removed from both sides, over complete cases.

    The same numbers as :func:`correlate` with :func:`~xling.analysis.inference.mixed_models.two_way_design`, from sums per language
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
                a, b = (
                    scale_residuals(values, remove_effects(values, *cells))
                    for values in (x[rows_x][:, at], y[rows_y][:, at])
                )
                result[np.ix_(rows_x, rows_y)] = np.clip(a @ b.T, -1, 1)
    return result


def leaves_pairs(sources: np.ndarray, targets: np.ndarray) -> bool:
    """Say whether anything to correlate is left of pairs once source and target effects are removed.

    From one source, or to one target, nothing is: every pair has an effect of its own.

    Args:
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.
    """
    return len(sources) - int(np.linalg.matrix_rank(_effects_gram(sources, targets))) >= 2


def remove_effects(values: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Free complete rows of source and target effects: the residuals off :func:`two_way_design`, without its large matrix.

    Args:
        values: float64 ``[n_rows, n_pairs]``, finite.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.

    Returns:
        float64 ``[n_rows, n_pairs]``.
    """
    own = [np.unique(side, return_inverse=True) for side in (sources, targets)]
    n_sources, n_targets = (len(labels) for labels, _ in own)
    (_, of_source), (_, of_target) = own
    sums = np.zeros((len(values), n_sources + n_targets))
    values = values - values.mean(axis=1, keepdims=True)
    for row, row_sums in zip(values, sums, strict=True):
        row_sums[:n_sources] = np.bincount(of_source, row, n_sources)
        row_sums[n_sources:] = np.bincount(of_target, row, n_targets)
    effects = sums @ np.linalg.pinv(_effects_gram(sources, targets), rcond=1e-10, hermitian=True)
    return values - effects[:, of_source] - effects[:, n_sources + of_target]


def _effects_gram(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Inner products of the columns of :func:`two_way_design`: how often each source and target occur, alone and together."""
    (_, of_source), (_, of_target) = (np.unique(side, return_inverse=True) for side in (sources, targets))
    together = np.zeros((of_source.max(initial=-1) + 1, of_target.max(initial=-1) + 1))
    np.add.at(together, (of_source, of_target), 1)
    return np.block([[np.diag(together.sum(axis=1)), together], [together.T, np.diag(together.sum(axis=0))]])


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
    if total <= 1e-20 * float((values**2).sum()):
        return np.nan, np.nan, np.nan
    one = np.zeros(len(values), dtype=int)
    of_source, of_target, of_both = (
        1 - float((remove_effects(values[None], *cells) ** 2).sum()) / total
        for cells in ((sources, one), (one, targets), (sources, targets))
    )
    source = (of_source + of_both - of_target) / 2
    return source, of_both - source, 1 - of_both
