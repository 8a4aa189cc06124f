"""Measures what always fine-tuning on one language costs: the score lost against the best source, target by target.

For every target T the best source among S != T is known once all were run. A choice of source loses the difference to it. Compared
are every fixed source (always English, above all), the source that is best on the *other* targets, the nearest source by each
distance, the source that is best on itself, and a source at random. The reference is English where it is a source, else the
alphabetically first source; choices are compared with it over the targets that both have.

The source that is best on the other targets has no interval: what is lost on one target helped to choose for all others, so that
the losses are not independent, and a t interval over them excludes 0 in .12 to .24 of null studies (docs/statistics.md).
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from xling.analysis.schema import MEAN_LABEL, distance_kinds

REFERENCE = "en"
BEST_ELSEWHERE = "best on other targets"
LEVEL = 0.95

SOURCE_CHOICE = {
    "strategy": "name of the freezing strategy",
    "choice": "always a source, the nearest by a distance, the best on other targets, the best on itself, or random",
    "kind": "fixed, nearest, learnt or random",
    "regret": "mean over targets of the score lost against the best source of each, a fraction",
    "low": "lower end of its 95 % t interval over targets; NaN for the best on other targets, whose losses depend on each other",
    "high": "upper end of it",
    "n_targets": "targets: all but the source itself; of other choices all but the reference",
    "reference": "the fixed source that the choice is compared with",
    "saved": "regret of the reference - regret of the choice, over the targets that both have",
    "saved_low": "lower end of its 95 % t interval over targets",
    "saved_high": "upper end of it",
    "n_common": "targets that both have",
}
"""Columns of ``source_choice``."""


def compute_source_choice(pairs: pd.DataFrame) -> pd.DataFrame:
    """Compare ways of choosing a source.

    Args:
        pairs: columns of :data:`xling.analysis.schema.PAIRS` and the distance kinds.

    Returns:
        Columns of `SOURCE_CHOICE`, sorted by regret within a strategy; strategies with fewer than two sources have no row.
    """
    rows = []
    for strategy, study in pairs.groupby("strategy"):
        cells = study[study["layer_label"] == MEAN_LABEL].dropna(subset="score")
        cells = cells[~cells["is_in_language"].astype(bool)]
        scores = cells.pivot(index="source_language", columns="target_language", values="score")
        scores = scores[scores.columns[scores.notna().sum() > 1]]
        if len(scores) > 1 and scores.shape[1]:
            rows += [{"strategy": strategy} | row for row in _compare(scores, cells)]
    table = pd.DataFrame(rows, columns=list(SOURCE_CHOICE))
    return table.sort_values(["strategy", "regret", "choice"], ignore_index=True)


def losses(scores: pd.DataFrame) -> pd.DataFrame:
    """Compute what each source loses on each target against the best source.

    Args:
        scores: scores as fractions, sources in rows, targets in columns, NaN where S = T or not measured.

    Returns:
        Losses as fractions >= 0 in the same layout.
    """
    return scores.max() - scores


def _compare(scores: pd.DataFrame, cells: pd.DataFrame) -> list[dict]:
    lost = losses(scores)
    reference = REFERENCE if REFERENCE in lost.index else lost.index[0]
    common = [target for target in lost.columns if target != reference]
    choices = {(f"always {source}", "fixed"): lost.loc[source] for source in lost.index}
    others = {(BEST_ELSEWHERE, "learnt"): _best_elsewhere(lost), ("a source at random", "random"): lost.mean()}
    own = cells.drop_duplicates("source_language").set_index("source_language")["score_in_language"]
    if own.notna().all():
        others[("best on itself", "learnt")] = _follow(lost, pd.DataFrame(dict.fromkeys(lost.columns, -own)))
    for kind in distance_kinds(cells):
        distances = cells.pivot(index="source_language", columns="target_language", values=kind)
        if distances.notna().any(axis=None):
            others[(f"nearest by {kind} distance", "nearest")] = _follow(lost, distances)
    choices |= {key: values[common] for key, values in others.items()}
    against = lost.loc[reference]
    rows = []
    for (choice, kind), values in choices.items():
        if values.notna().any():
            row = _summarise(values.dropna(), against.dropna())
            if choice == BEST_ELSEWHERE:
                row |= dict.fromkeys(("low", "high", "saved_low", "saved_high"), np.nan)
            rows.append({"choice": choice, "kind": kind, "reference": reference} | row)
    return rows


def _best_elsewhere(lost: pd.DataFrame) -> pd.Series:
    """Lose what the source loses that is best on average over the other targets."""
    result = {}
    for target in lost.columns:
        candidates = lost.index[lost[target].notna()]
        means = lost.loc[candidates, [other for other in lost.columns if other != target]].mean(axis=1)
        result[target] = lost.loc[means.idxmin(), target] if means.notna().any() else np.nan
    return pd.Series(result)


def _follow(lost: pd.DataFrame, order: pd.DataFrame) -> pd.Series:
    """Lose what the source with the smallest value loses; ties are broken at random, in expectation."""
    values = order.reindex(index=lost.index, columns=lost.columns).where(lost.notna())
    return lost.where(values == values.min()).mean()


def _summarise(values: pd.Series, against: pd.Series) -> dict[str, Any]:
    common = values.index.intersection(against.index)
    low, high = _interval(values)
    saved = against[common] - values[common]
    saved_low, saved_high = _interval(saved)
    return {
        "regret": values.mean(),
        "low": max(low, 0.0) if np.isfinite(low) else low,
        "high": high,
        "n_targets": len(values),
        "saved": saved.mean(),
        "saved_low": saved_low,
        "saved_high": saved_high,
        "n_common": len(common),
    }


def _interval(values: pd.Series) -> tuple[float, float]:
    if len(values) < 2:
        return np.nan, np.nan
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
