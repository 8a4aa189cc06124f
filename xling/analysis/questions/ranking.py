"""Measures how well each predictor chooses a source language for a target: NDCG@3, and the score lost by following it.

For every target language the candidate sources are ordered by a predictor (a distance, the impact at a layer, the
source's own in-language score) and the order is compared with the measured zero-shot scores. The gain is
LangRank's (Lin et al. 2019, arXiv:1905.12688): the best source has relevance 10, the next 9, ... and everything after
the tenth 0; ``DCG@k = sum_i (2^relevance_i - 1) / log2(i + 1)``.

Deviation: predictors tie often (genetic distance is 1.0 for most pairs), so both figures are expectations over all
orders of tied sources (McSherry & Najork 2008, ECIR); neither the order of rows nor the names of languages matter.

Directions are fixed beforehand, not chosen by the outcome: the nearer source first, the source that moved the target's
representations more first (the paper found closer pairs to move more), the source whose gradient points where the target's
does first, the source that is better on itself first.
"""

import numpy as np
import pandas as pd

from xling.analysis.questions.gradients import COSINE
from xling.analysis.schema import MEAN_LABEL, distance_kinds

RELEVANCE_OF_BEST = 10
CUTOFF = 3
"""As in LangRank (Lin et al. 2019): the relevance of the best source, and how many places of the order count."""

MIN_SOURCES = 2
"""With a single source there is nothing to choose."""

NEARER = "smaller first"
LARGER = "larger first"

RANKING = {
    "strategy": "name of the freezing strategy",
    "predictor": "distance kind, 'impact', 'gradient_cosine' or 'score_in_language' (of the source)",
    "layer": "Int64; <NA> for the mean over layers and for predictors without layer",
    "layer_label": "'00', '01', ..., 'mean', or '' for predictors without layer",
    "direction": f"'{NEARER}' (distances) or '{LARGER}' (impact, gradients, in-language score)",
    "ndcg_at_3": "mean over targets of NDCG@3, 0..1",
    "ndcg_at_3_random": "what a random order of the same sources expects",
    "regret": "mean over targets of the score lost by the predictor's first choice, a fraction",
    "regret_random": "what a random choice among the same sources expects",
    "n_targets": f"targets with at least {MIN_SOURCES} sources S != T that have score and predictor",
    "n_sources_min": "fewest sources ranked for a target",
    "n_sources_max": "most sources ranked for a target",
    "reason": "why the figures are NaN, else empty",
}
"""Columns of ``ranking``."""


def compute_relevance(score: np.ndarray) -> np.ndarray:
    """Grade sources by score as LangRank does; equal scores share the better grade.

    Args:
        score: ``[n_sources]``, any scale.

    Returns:
        ``[n_sources]`` integers 10 (best) .. 0 (eleventh and below).

    >>> compute_relevance(np.array([0.5, 0.7, 0.6, 0.7])).tolist()
    [7, 10, 8, 10]
    """
    score = np.asarray(score, dtype=float)
    better = len(score) - np.searchsorted(np.sort(score), score, side="right")  # how many sources have a higher score
    return np.clip(RELEVANCE_OF_BEST - better, 0, None)


def _expected_dcg(preference: np.ndarray, gain: np.ndarray, cutoff: int) -> float:
    _, group = np.unique(-preference, return_inverse=True)
    group_gain = np.bincount(group, weights=gain) / np.bincount(group)
    ordered = group_gain[np.sort(group)][:cutoff]  # every place of a tied group expects the group's mean gain
    return float(ordered @ (1 / np.log2(np.arange(2, len(ordered) + 2))))


def compute_ndcg(preference: np.ndarray, score: np.ndarray, cutoff: int = CUTOFF) -> float:
    """Compute the normalised discounted cumulative gain of the order that `preference` puts the sources in.

    Args:
        preference: ``[n_sources]``, finite, larger = chosen earlier.
        score: ``[n_sources]``, finite, the measured transfer.
        cutoff: number of places, from the first on, that count.

    Returns:
        0..1; 1 for the order of the scores themselves.

    >>> compute_ndcg(np.array([3.0, 2.0, 1.0]), np.array([0.8, 0.7, 0.6]))
    1.0
    """
    gain = _gain(score)
    return _expected_dcg(np.asarray(preference, dtype=float), gain, cutoff) / _expected_dcg(gain, gain, cutoff)


def _gain(score: np.ndarray) -> np.ndarray:
    return 2.0 ** compute_relevance(score) - 1


def compute_regret(preference: np.ndarray, score: np.ndarray) -> float:
    """Compute the score lost by taking the source with the highest `preference` instead of the best one.

    Args:
        preference: ``[n_sources]``, finite, larger = chosen earlier; ties are broken at random, in expectation.
        score: ``[n_sources]``, fractions.

    Returns:
        The loss, a fraction >= 0 in the unit of `score`.

    >>> round(compute_regret(np.array([1.0, 1.0, 0.0]), np.array([0.8, 0.6, 0.9])), 3)
    0.2
    """
    score, preference = np.asarray(score, dtype=float), np.asarray(preference, dtype=float)
    return float(score.max() - score[preference == preference.max()].mean())


def _judge_target(preference: np.ndarray, score: np.ndarray) -> dict:
    gain, indifferent = _gain(score), np.zeros(len(preference))
    best, found, at_random = (_expected_dcg(order, gain, CUTOFF) for order in (gain, preference, indifferent))
    return {
        "ndcg_at_3": found / best,
        "ndcg_at_3_random": at_random / best,
        "regret": compute_regret(preference, score),
        "regret_random": compute_regret(indifferent, score),
        "n_sources": len(preference),
    }


def rank_targets(cells: pd.DataFrame, predictor: str, direction: str) -> pd.DataFrame:
    """Judge one predictor target by target.

    Args:
        cells: one row per source and target with `score`, `is_in_language` and the predictor's column.
        predictor: name of the column to order the sources by.
        direction: `NEARER` or `LARGER`.

    Returns:
        One row per target with enough sources: target_language, ndcg_at_3, ndcg_at_3_random, regret, regret_random,
        n_sources.
    """
    is_candidate = ~cells["is_in_language"].astype(bool)
    known = cells.loc[is_candidate, ["target_language", "score", predictor]].dropna()
    preference = known[predictor].to_numpy(float) * (-1.0 if direction == NEARER else 1.0)
    score = known["score"].to_numpy(float)
    rows = [
        {"target_language": target} | _judge_target(preference[sources], score[sources])
        for target, sources in known.groupby("target_language").indices.items()
        if len(sources) >= MIN_SOURCES
    ]
    return pd.DataFrame(rows)


def _summarise_targets(targets: pd.DataFrame) -> dict:
    if targets.empty:
        reason = f"no target language with at least {MIN_SOURCES} sources that have score and predictor"
        return {"n_targets": 0, "n_sources_min": 0, "n_sources_max": 0, "reason": reason}
    means = targets[["ndcg_at_3", "ndcg_at_3_random", "regret", "regret_random"]].mean().to_dict()
    counts = {"n_sources_min": targets["n_sources"].min(), "n_sources_max": targets["n_sources"].max()}
    return means | counts | {"n_targets": len(targets), "reason": ""}


def compute_ranking(pairs: pd.DataFrame) -> pd.DataFrame:
    """Compare all predictors of a study as guides to the best source language.

    Args:
        pairs: columns of :data:`xling.analysis.schema.PAIRS` and the distance kinds; gradient_cosine, where it was taken.

    Returns:
        One row per strategy and predictor (impact and gradients: per layer and the mean), columns of `RANKING`.
    """
    rows = []
    for strategy, study in pairs.groupby("strategy"):
        cells = study[study["layer_label"] == MEAN_LABEL]
        guides = [(cells, kind, NEARER, "") for kind in distance_kinds(pairs)]
        guides.append((cells, "score_in_language", LARGER, ""))
        measured = [name for name in ("impact", COSINE) if name in pairs]
        guides += [(layer, name, LARGER, label) for name in measured for label, layer in study.groupby("layer_label")]
        for candidates, predictor, direction, label in guides:
            key = {"strategy": strategy, "predictor": predictor, "layer_label": label, "direction": direction}
            layer = candidates["layer"].iloc[0] if label else pd.NA
            rows.append(key | {"layer": layer} | _summarise_targets(rank_targets(candidates, predictor, direction)))
    return pd.DataFrame(rows, columns=list(RANKING)).astype({"layer": "Int64"})
