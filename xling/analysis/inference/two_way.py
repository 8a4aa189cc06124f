"""Averages over cells of sources and targets; the covariance allows for what cells of one source, or of one target, share."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from xling.analysis.inference.demeaned import remove_effects


class ClusteredMean(NamedTuple):
    """Means of several variables over cells.

    Attributes:
        mean: means of the k variables, ``[k]``.
        covariance: covariance of the means, ``[k, k]``.
        freedom: degrees of freedom of Student's t: one less than the number of sources or of targets, whichever is smaller.
    """

    mean: np.ndarray
    covariance: np.ndarray
    freedom: int


def clustered_mean(values: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> ClusteredMean:
    """Average over cells, clustered by source and by target.

    The covariance is that of clustering by source plus that by target less what is in both, the part of single cells: as Cameron,
    Gelbach & Miller (2011) do, but for this part being estimated after source and target effects are removed, without which the
    covariance is too small where languages are few. Where the difference is no covariance, the larger of the first two in total
    variance is taken.

    Args:
        values: ``[n, k]``, finite; a row per cell.
        sources: int ``[n]``.
        targets: int ``[n]``.

    Returns:
        Means and covariance; covariance NaN and `freedom` 0 with fewer than 2 sources or 2 targets.
    """
    mean = values.mean(axis=0)
    residuals = values - mean
    n_clusters = min(len(np.unique(sources)), len(np.unique(targets)))
    if n_clusters < 2:
        return ClusteredMean(mean, np.full((len(mean), len(mean)), np.nan), 0)
    of_sources, of_targets = (_clustered(residuals, labels) for labels in (sources, targets))
    together = of_sources + of_targets - _of_cells(values, sources, targets)
    if np.linalg.eigvalsh(together).min() < 0:
        together = max((of_sources, of_targets), key=np.trace)
    return ClusteredMean(mean, together, n_clusters - 1)


def _clustered(residuals: np.ndarray, labels: np.ndarray) -> np.ndarray:
    names, position = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(names), residuals.shape[1]))
    np.add.at(sums, position, residuals)
    n = len(names)
    return sums.T @ sums / len(residuals) ** 2 * n / (n - 1)


def _of_cells(values: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Compute the part of the covariance that comes from single cells, once source and target effects are removed."""
    freedom = len(values) - len(np.unique(sources)) - len(np.unique(targets)) + 1
    if freedom < 1:
        return np.zeros((values.shape[1], values.shape[1]))
    left = remove_effects(values.T, sources, targets)
    return left @ left.T / freedom / len(values)


def mean_interval(found: ClusteredMean, index: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the interval of the mean number `index` by Student's t; NaN where there is no covariance."""
    if not found.freedom:
        return np.nan, np.nan
    half = stats.t.ppf((1 + confidence) / 2, found.freedom) * np.sqrt(max(found.covariance[index, index], 0.0))
    return float(found.mean[index] - half), float(found.mean[index] + half)


def ratio_interval(found: ClusteredMean, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Fieller's interval of ``mean[1] / mean[0]``: the ratios b for which a mean of ``y - b x`` of 0 is not rejected.

    It is Anderson and Rubin's interval of one instrument, which keeps its level where the denominator is weak, and is then the
    whole line, or all but a stretch of it.

    Args:
        found: means of the denominator x and the numerator y, in this order.
        confidence: 0..1.

    Returns:
        Lower and upper end; infinite where the denominator's own interval includes 0; NaN without a covariance.
    """
    if not found.freedom:
        return np.nan, np.nan
    square = stats.t.ppf((1 + confidence) / 2, found.freedom) ** 2
    (x, y), v = found.mean, found.covariance
    a, b, c = x**2 - square * v[0, 0], x * y - square * v[0, 1], y**2 - square * v[1, 1]
    if a <= 0:
        return -np.inf, np.inf
    root = np.sqrt(max(b**2 - a * c, 0.0))
    return float((b - root) / a), float((b + root) / a)
