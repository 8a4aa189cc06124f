"""How far a correlation depends on which languages happen to be in the study.

Languages, not pairs, are the sample: the bootstrap draws languages with replacement and a cell counts as often as
both of its languages were drawn; the leave-one-out range drops each language, with all its cells, in turn.

References: Snijders & Borgatti 1999, Connections 22 (resampling nodes); Efron & Tibshirani 1993 (percentile interval).
"""

import numpy as np

MIN_PAIRS = 3
LEVEL = 0.95
_MIN_DEFINED = 0.5


def draw_languages(sources: np.ndarray, targets: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """Draw languages with replacement, separately among those that are sources and those that are targets only.

    The strata keep the design: four sources stay four. Where every language is both, this is the plain node bootstrap.

    Args:
        sources: int ``[n_pairs]``, positions of languages.
        targets: int ``[n_pairs]``.
        n_draws: number of replicates.
        seed: of the generator.

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


def leave_one_out(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Build the counts that leave out one language each, int ``[n_languages, n_languages]``."""
    n = max(sources.max(), targets.max()) + 1
    return 1 - np.eye(n, dtype=np.int64)


def resampled_correlations(
    x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Compute Pearson correlations with every cell counted as often as both its languages were drawn.

    Args:
        x: float64 ``[n_x, n_pairs]``, NaN = missing.
        y: float64 ``[n_y, n_pairs]``, NaN = missing.
        sources: int ``[n_pairs]``.
        targets: int ``[n_pairs]``.
        counts: int ``[n_draws, n_languages]``.

    Returns:
        float64 ``[n_draws, n_x, n_y]``; NaN where fewer than 3 distinct pairs remain or a side is constant.
    """
    weights = (counts[:, sources] * counts[:, targets]).astype(float)  # [n_draws, n_pairs]
    both = np.isfinite(x)[:, None] & np.isfinite(y)[None]  # [n_x, n_y, n_pairs]
    a, b = (np.where(both, side, 0.0) for side in (_centre(x)[:, None], _centre(y)[None]))

    def total(values: np.ndarray, by: np.ndarray = weights) -> np.ndarray:
        return np.moveaxis(values @ by.T, -1, 0)  # [n_draws, n_x, n_y]

    with np.errstate(invalid="ignore", divide="ignore"):
        n = total(both.astype(float))
        sum_a, sum_b, sum_aa, sum_bb = total(a), total(b), total(a * a), total(b * b)
        left_a, left_b = sum_aa - sum_a**2 / n, sum_bb - sum_b**2 / n
        r = (total(a * b) - sum_a * sum_b / n) / np.sqrt(left_a * left_b)
    defined = (left_a > 1e-12 * sum_aa) & (left_b > 1e-12 * sum_bb)
    defined &= total(both.astype(float), (weights > 0).astype(float)) >= MIN_PAIRS
    return np.where(defined, np.clip(r, -1, 1), np.nan)


def _centre(values: np.ndarray) -> np.ndarray:
    """Move each row's mean to 0, so that sums of squares lose no digits; rows without a value stay NaN."""
    n = np.isfinite(values).sum(axis=1, keepdims=True)
    return values - np.nansum(values, axis=1, keepdims=True) / np.maximum(n, 1)


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


def defined_range(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the smallest and largest defined value over the first axis, NaN where there is none."""
    known = np.isfinite(resampled)
    low = np.where(known, resampled, np.inf).min(axis=0)
    high = np.where(known, resampled, -np.inf).max(axis=0)
    return np.where(known.any(axis=0), low, np.nan), np.where(known.any(axis=0), high, np.nan)
