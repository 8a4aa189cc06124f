"""Bootstraps languages, for intervals of quantities for which no permutation test can be inverted.

Languages, not pairs, are the sample: the bootstrap draws languages with replacement and a cell counts as often as
both of its languages were drawn. With few sources such intervals are too short (docs/statistics.md).

References: Snijders & Borgatti 1999, Connections 22 (resampling nodes); Efron & Tibshirani 1993 (percentile interval).
"""

import numpy as np

LEVEL = 0.95
_MIN_DEFINED = 0.5
"""Fraction of the draws that must define a quantity for it to have an interval."""


def draw_languages(sources: np.ndarray, targets: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """Draw languages with replacement, separately among those that are sources and those that are targets only.

    The strata keep the design: four sources stay four. Where every language is both, this is the plain node bootstrap.

    Args:
        sources: int ``[n_pairs]``, positions of languages.
        targets: int ``[n_pairs]``.
        n_draws: number of replicates.
        seed: seed of the generator.

    Returns:
        int ``[n_draws, n_languages]``: how often each language was drawn.
    """
    generator = np.random.default_rng(seed)
    counts = np.zeros((n_draws, max(sources.max(), targets.max()) + 1), dtype=np.int64)
    for stratum in (np.unique(sources), np.setdiff1d(targets, sources)):
        n = len(stratum)
        if n:
            counts[:, stratum] = generator.multinomial(n, np.full(n, 1 / n), size=n_draws)
    return counts


def percentile_interval(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the 95 % percentile interval over the draws in which the correlation is defined.

    Args:
        resampled: float64 ``[n_draws, ...]``.

    Returns:
        ``(low, high)``, float64 ``[...]``; NaN where fewer than half of the draws define the correlation.
    """
    enough = np.isfinite(resampled).mean(axis=0) >= _MIN_DEFINED
    usable = np.where(enough, resampled, 0.0)
    low, high = np.nanquantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)
