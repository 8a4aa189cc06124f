"""Writes a sentence for each change that freezing makes: what can be said, and where nothing can be said, why.

A sentence claims a direction only where the interval excludes 0. A smaller transfer gap is not yet a success, because
``change of gap = change of source score - change of mean target score``: it is called better transfer only where
the target score rises by itself, and is put down to the source score otherwise.
"""

import numpy as np
import pandas as pd

from xling.analysis.questions.random_sets import sets_needed

_NAMES = {
    "source_score": "score on the source language",
    "mean_target_score": "mean target score",
    "transfer_gap": "the transfer gap",
    "worst_score": "score on the three worst targets",
    "train_seconds": "training time",
    "impact_treated": "impact at the treated layers",
}


def _name(metric: str) -> str:
    return _NAMES.get(metric) or f"the slope of score on {metric.removeprefix('slope_')} distance"


def _figures(row: pd.Series) -> str:
    digits, unit = (0, " s") if row["metric"] == "train_seconds" else (3, "")
    n = f"n = {row['n_pairs']} pairs of runs: {row['n_sources']} sources, {row['n_seeds']} seeds"
    interval = f"95 % interval over {row['over']} {row['low']:+.{digits}f} to {row['high']:+.{digits}f}"
    return ", ".join([f"{row['change']:+.{digits}f}{unit}", interval, n, *_rank(row)])


def _rank(row: pd.Series) -> list[str]:
    """Say what the strategy's rank among random sets shows, and how many sets a rank needs."""
    p_rank = row.get("p_rank")
    if p_rank is None or not np.isfinite(p_rank):
        return []
    n = int(row["n_reference_sets"])
    short = "" if n >= sets_needed() else f", where .05 needs {sets_needed()}"
    return [f"p = {p_rank:.3f} by rank among {n} sets{short}"]


def _direction(row: pd.Series | None) -> int:
    """Give +1 or -1 where the interval excludes 0, else 0."""
    if row is None or not np.isfinite(row["low"]):
        return 0
    return int(np.sign(row["change"])) if row["low"] > 0 or row["high"] < 0 else 0


def _explain_gap(gap: int, source: int, target: int) -> str:
    if gap < 0 and target > 0:
        return "the targets themselves gain"
    if gap < 0 and source < 0:
        return "no better transfer is shown: the source score falls and the targets do not gain"
    if gap < 0:
        return "no better transfer is shown: neither the targets' gain nor the source's loss is certain by itself"
    if source > 0 and target >= 0:
        return "no worse transfer is shown: the source score rises"
    return "the targets themselves lose" if target < 0 else "neither the source's gain nor the targets' loss is certain"


def write_verdict(row: pd.Series, source: pd.Series | None = None, target: pd.Series | None = None) -> str:
    """Put one change into words.

    Args:
        row: a row of the comparison (:data:`xling.analysis.questions.freezing.COMPARISON`).
        source: the row of source_score of the same strategy and reference; needed for the gap alone.
        target: the row of mean_target_score, likewise.

    Returns:
        One sentence; a direction is claimed only where the interval excludes 0.
    """
    subject, metric = f"{row['strategy']} against {row['reference']}", _name(row["metric"])
    if row["reason"]:
        return f"{subject}: cannot tell whether {metric} changes ({row['reason']})."
    direction = _direction(row)
    if direction == 0:
        return f"{subject}: cannot tell whether {metric} changes; the interval includes 0 ({_figures(row)})."
    sentence = f"{subject}: {metric} {'rises' if direction > 0 else 'falls'} ({_figures(row)})"
    if row["metric"] == "transfer_gap":
        sentence += f"; {_explain_gap(direction, _direction(source), _direction(target))}"
    return f"{sentence}."


def add_verdicts(comparison: pd.DataFrame) -> pd.DataFrame:
    """Add the column `verdict` to a comparison.

    Args:
        comparison: columns of :data:`xling.analysis.questions.freezing.COMPARISON`, intervals of 95 %.

    Returns:
        A copy with one sentence per row.
    """
    verdicts = pd.Series("", index=comparison.index, dtype=object)
    for _, rows in comparison.groupby(["strategy", "reference"]):
        by_metric = {row["metric"]: row for _, row in rows.iterrows()}
        context = by_metric.get("source_score"), by_metric.get("mean_target_score")
        for index, row in rows.iterrows():
            verdicts[index] = write_verdict(row, *context)
    return comparison.assign(verdict=verdicts)
