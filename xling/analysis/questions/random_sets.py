"""Judges whether a set of frozen layers is better than sets drawn at random, as one draw among them.

The random sets are not a fixed reference: they differ among each other, by which layers they hold and by the runs' noise.
Averaged and taken for fixed, a set drawn just like them is called different in far more than 5 % of null studies
(docs/freezing.md). Here a set must stand out from the spread between sets: by its rank among them, which is exact and needs no
assumption, and by a t interval for one further draw. Both carry the noise of seeds and examples, which is in every set.
"""

import re
from typing import NamedTuple

import numpy as np
from scipy import stats

MIN_SETS = 2
"""The spread between random sets needs two of them."""

RANDOM_REFERENCE = "random sets of equal size"
_RANDOM = re.compile(r"(^|_)random_\d+_")
_DRAW = re.compile(r"(?<=\d)_seed\d+")


def is_random_set(strategy: str) -> bool:
    """Whether a strategy's layers were drawn at random, as its name says.

    >>> [is_random_set(name) for name in ("random_3_seed1", "word_embeddings_revert_random_4_seed2", "bottom_3")]
    [True, True, False]
    """
    return _RANDOM.search(strategy) is not None


def without_draw(strategy: str) -> str:
    """Name what the random sets of one size and treatment have in common; any other strategy keeps its name.

    >>> [without_draw(name) for name in ("random_3_seed12_word_embeddings", "revert_random_4_seed2", "bottom_3")]
    ['random_3_word_embeddings', 'revert_random_4', 'bottom_3']
    """
    return _DRAW.sub("", strategy) if is_random_set(strategy) else strategy


class RankAmongSets(NamedTuple):
    """How a candidate compares with the random sets.

    Attributes:
        low: lower end of the t interval of candidate - random set, for one further set.
        high: upper end of it.
        p_rank: two-sided p-value by rank, at least 1 / (n_sets + 1).
    """

    low: float
    high: float
    p_rank: float


def judge_among_sets(differences: np.ndarray, confidence: float = 0.95) -> RankAmongSets:
    """Judge a candidate by its mean difference to each random set.

    Args:
        differences: float64 ``[n_sets]``, candidate - set, each a mean over the runs that both have.
        confidence: confidence level of the interval, 0..1.

    Returns:
        Interval and rank; all NaN below two sets.

    >>> found = judge_among_sets(np.array([0.03, 0.02, 0.04, 0.03]))
    >>> found.p_rank, found.low > 0
    (0.2, True)
    """
    n = len(differences)
    if n < MIN_SETS:
        return RankAmongSets(np.nan, np.nan, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * differences.std(ddof=1) * np.sqrt(1 + 1 / n)
    mean = differences.mean()
    values = np.append(-differences, 0.0)  # the sets' values from the candidate's, the candidate's last
    distance = np.abs(values - values.mean())
    p_rank = (distance >= distance[-1] - 1e-12).sum() / (n + 1)  # ties count as ties, whatever the rounding
    return RankAmongSets(float(mean - half), float(mean + half), float(p_rank))


def sets_needed(level: float = 0.05) -> int:
    """Count the random sets without which no rank reaches a level.

    >>> sets_needed(0.05)
    19
    """
    return int(np.ceil(1 / level - 1e-9)) - 1  # 1 / .05 must not become 21 by rounding
