"""Compares freezing strategies with a baseline and with random sets of equal size, paired over source language and seed.

A run of a strategy is paired with the run of the reference that has the same source language and seed, over the target
languages that both measured. The change is the mean of these paired differences. Against the baseline its interval is a t
interval over sources (over seeds, from one source), and over examples where the runs stored their predictions
(:mod:`~xling.analysis.questions.item_variance`). Random sets of equal size are no fixed reference: a set is judged as one
draw among them (:mod:`~xling.analysis.questions.random_sets`), and a random set is never judged so itself.
``docs/freezing.md`` explains the verdicts and has their levels.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from xling.analysis.inputs.pairs import LANGUAGE_PAIR, check_columns, select_validation
from xling.analysis.questions.item_variance import Interval, contributions, t_interval
from xling.analysis.questions.random_sets import (
    MIN_SETS,
    RANDOM_REFERENCE,
    is_random_set,
    judge_among_sets,
    sets_needed,
)
from xling.analysis.questions.verdicts import add_verdicts
from xling.analysis.schema import distance_kinds
from xling.errors import XlingValueError
from xling.runs import tables

BASELINE = "none"
N_WORST = 3
"""Targets whose mean stands for the worst ones, since it is less noisy than the score of the single worst."""
NOTHING = (0, 0)
"""Size of a strategy that froze no layer."""
RUN = ["study", "source_language", "seed"]
CELL = [*RUN, "target_language"]

METRICS = {
    "source_score": "score on the source language, a fraction",
    "mean_target_score": "mean zero-shot score over the targets, a fraction",
    "transfer_gap": "source score - mean target score, positive = loss",
    "worst_score": f"mean score of the run's own {N_WORST} worst targets, a fraction",
    "train_seconds": "training time, seconds",
}
"""Beside these: ``slope_<kind>``, the least-squares slope of score over that distance, per unit of distance."""

COMPARISON = {
    "strategy": "name of the freezing strategy",
    "reference": f"the baseline ('{BASELINE}' unless told otherwise) or '{RANDOM_REFERENCE}'",
    "metric": "see METRICS",
    "strategy_mean": "mean of the metric over the paired runs of the strategy",
    "reference_mean": "the same for the reference",
    "change": "mean paired difference, strategy - reference",
    "low": "lower end of its 95 % t interval",
    "high": "upper end of it",
    "over": "what the interval is taken over: sources or seeds, also examples; or random sets",
    "p_rank": "against random sets: two-sided p-value of the strategy's rank among them",
    "n_pairs": "paired (study, source language, seed) differences",
    "n_sources": "source languages among them",
    "n_seeds": "seeds among them",
    "n_reference_sets": "random sets on the reference's side; 1 for the baseline",
    "reason": "why there is no interval, else empty",
    "verdict": "the change in one sentence (:mod:`xling.analysis.questions.verdicts`)",
}
"""Columns of ``freezing``."""


def count_frozen_layers(impact: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """List what each strategy froze, from the `is_frozen` column of the runs' impact tables.

    Args:
        impact: rows with `strategy`, `layer`, `is_frozen`.

    Returns:
        strategy -> (1 if the embeddings, layer 0, were frozen, else 0; number of frozen blocks). Sets are of equal size
        where both agree: the embeddings hold too many parameters to count as one layer among others.
    """
    frozen = impact[impact["is_frozen"].astype(bool)]
    layers = {strategy: set(found.tolist()) for strategy, found in frozen.groupby("strategy")["layer"].unique().items()}
    sizes = {strategy: (int(0 in found), len(found - {0})) for strategy, found in layers.items()}
    return {strategy: sizes.get(strategy, NOTHING) for strategy in impact["strategy"].unique()}


def _slopes(run: np.ndarray, n_runs: int, distance: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Fit the slope of the score over a distance within every run; NaN from fewer than three targets or one distance.

    Sums over integers take a fifth of the time that grouping a frame by its names does.

    Args:
        run: ``[n]``, number of each row's run, 0 .. `n_runs` - 1.
        n_runs: number of runs.
        distance: ``[n]``.
        score: ``[n]``.
    """
    is_known = np.isfinite(distance) & np.isfinite(score)
    run, distance, score = run[is_known], distance[is_known], score[is_known]
    counts = np.bincount(run, minlength=n_runs)
    lowest, highest = np.full(n_runs, np.inf), np.full(n_runs, -np.inf)
    np.minimum.at(lowest, run, distance)
    np.maximum.at(highest, run, distance)

    def centred(values: np.ndarray) -> np.ndarray:
        return values - (np.bincount(run, values, n_runs) / np.maximum(counts, 1))[run]

    distance, score = centred(distance), centred(score)
    products, squares = (np.bincount(run, distance * other, n_runs) for other in (score, distance))
    is_defined = (counts >= 3) & (highest > lowest)
    return np.divide(products, squares, out=np.full(n_runs, np.nan), where=is_defined)


def _means_of_worst(run: np.ndarray, n_runs: int, score: np.ndarray) -> np.ndarray:
    """Average the scores of every run's `N_WORST` worst targets; NaN where it has fewer; arguments as of `_slopes`."""
    order = np.lexsort((score, run))
    counts = np.bincount(run, minlength=n_runs)
    place = np.arange(len(run)) - np.repeat(np.cumsum(counts) - counts, counts)  # within the run, the worst first
    worst = order[place < N_WORST]
    return np.where(counts >= N_WORST, np.bincount(run[worst], score[worst], n_runs) / N_WORST, np.nan)


def compute_run_metrics(transfer: pd.DataFrame, kinds: tuple[str, ...] = ()) -> pd.DataFrame:
    """Compute the metrics of single runs of one strategy.

    Args:
        transfer: one row per study, source_language, seed and target_language with `score`, `is_in_language` and a
            column per entry of `kinds`; S = T gives the source score and enters nothing else.
        kinds: distance columns to take the slope over.

    Returns:
        One row per (study, source_language, seed) with the columns of `METRICS` except the time; NaN = nothing to measure.
    """
    measured = transfer.dropna(subset="score")
    in_language = measured["is_in_language"].astype(bool)
    across = measured[~in_language]
    runs = across.groupby(RUN)["score"]
    metrics = runs.mean().to_frame("mean_target_score")
    number, score = runs.ngroup().to_numpy(), across["score"].to_numpy(float)
    metrics["worst_score"] = _means_of_worst(number, len(metrics), score)
    for kind in kinds:
        metrics[f"slope_{kind}"] = _slopes(number, len(metrics), across[kind].to_numpy(float), score)
    metrics = metrics.join(measured[in_language].groupby(RUN)["score"].mean().rename("source_score"), how="outer")
    metrics["transfer_gap"] = metrics["source_score"] - metrics["mean_target_score"]
    return metrics


def _common_cells(transfer: pd.DataFrame, strategy: str, reference: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    measured = transfer.dropna(subset="score")
    ours, theirs = (measured[measured["strategy"] == name].set_index(CELL) for name in (strategy, reference))
    common = ours.index.intersection(theirs.index)
    return ours.loc[common].reset_index(), theirs.loc[common].reset_index()


def _run_metrics(cells: pd.DataFrame, runs: pd.DataFrame | None, strategy: str, kinds: tuple[str, ...]) -> pd.DataFrame:
    metrics = compute_run_metrics(cells, kinds)
    if runs is not None and "train_seconds" in runs:
        seconds = runs[runs["strategy"] == strategy].set_index(RUN)["train_seconds"]
        metrics["train_seconds"] = seconds.reindex(metrics.index)
    return metrics


def _paired_metrics(
    transfer: pd.DataFrame, runs: pd.DataFrame | None, strategy: str, reference: str, kinds: tuple[str, ...]
) -> pd.DataFrame:
    """Give the columns `ours` and `theirs`, indexed by metric, study, source_language and seed."""
    ours, theirs = _common_cells(transfer, strategy, reference)
    metrics = [_run_metrics(ours, runs, strategy, kinds), _run_metrics(theirs, runs, reference, kinds)]
    stacked = [side.melt(ignore_index=False, var_name="metric").set_index("metric", append=True) for side in metrics]
    paired = pd.concat(stacked, axis=1, keys=["ours", "theirs"]).droplevel(1, axis=1).dropna()
    return paired.reorder_levels(["metric", *RUN])


def _of_metric(paired: pd.DataFrame, metric: str) -> pd.DataFrame:
    return paired[paired.index.get_level_values("metric") == metric].droplevel("metric")


def _summarise(paired: pd.DataFrame, interval: Interval) -> dict:
    """Compute the columns of a comparison: `paired` holds `ours` and `theirs` per run of one metric."""
    reason = {0: "no source and seed measured under both", 1: "a single pair of runs; two seeds or sources are needed"}
    return {
        "strategy_mean": paired["ours"].mean(),
        "reference_mean": paired["theirs"].mean(),
        "change": (paired["ours"] - paired["theirs"]).mean(),
        "low": interval.low,
        "high": interval.high,
        "over": interval.over,
        "n_pairs": len(paired),
        "n_sources": paired.index.get_level_values("source_language").nunique(),
        "n_seeds": paired.index.get_level_values("seed").nunique(),
        "reason": reason.get(len(paired), ""),
    }


def _against_baseline(paired: pd.DataFrame, parts: pd.DataFrame | None, confidence: float) -> dict:
    """Take the interval over examples too, where they account for every run's difference."""
    differences = paired["ours"] - paired["theirs"]
    if parts is not None:
        of_runs = differences.index.intersection(parts.index)
        if len(of_runs) == len(differences) and np.allclose(parts.loc[of_runs].sum(axis=1), differences.loc[of_runs]):
            return _summarise(paired, t_interval(parts.loc[of_runs], confidence))
    return _summarise(paired, t_interval(differences, confidence))


def _against_random_sets(by_set: Mapping[str, pd.DataFrame], confidence: float) -> dict:
    known = {name: paired for name, paired in by_set.items() if len(paired)}
    together = pd.concat(known.values()) if known else next(iter(by_set.values()))
    runs = together.groupby(level=list(range(together.index.nlevels))).mean()
    differences = np.array([(paired["ours"] - paired["theirs"]).mean() for paired in known.values()])
    judged = judge_among_sets(differences, confidence)
    row = _summarise(runs, Interval(judged.low, judged.high, "random sets"))
    reason = row["reason"] if not len(runs) else ""
    if len(known) < MIN_SETS and not reason:
        reason = (
            f"{len(known)} random set of equal size; an interval needs {MIN_SETS}, a rank at .05 needs {sets_needed()}"
        )
    return row | {"p_rank": judged.p_rank, "n_reference_sets": len(known), "reason": reason}


def _random_sets_of(strategy: str, strategies: Sequence[str], sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """List the random sets that froze as many layers as a strategy that is none of them and froze some."""
    size = sizes.get(strategy, NOTHING)
    if size == NOTHING or is_random_set(strategy):
        return []
    return [other for other in strategies if is_random_set(other) and sizes.get(other) == size]


def _pair_by_metric(
    transfer: pd.DataFrame, runs: pd.DataFrame | None, kinds: tuple[str, ...], strategy: str, others: Sequence[str]
) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Yield every metric with the strategy's runs paired with those of each of `others`."""
    paired = {other: _paired_metrics(transfer, runs, strategy, other, kinds) for other in others}
    for metric in [*METRICS, *(f"slope_{kind}" for kind in kinds)]:
        yield metric, {other: _of_metric(rows, metric) for other, rows in paired.items()}


def _compare_with_baseline(
    transfer: pd.DataFrame,
    runs: pd.DataFrame | None,
    kinds: tuple[str, ...],
    strategy: str,
    baseline: str,
    predictions: pd.DataFrame | None,
    confidence: float,
) -> list[dict]:
    key = {"strategy": strategy, "reference": baseline, "n_reference_sets": 1, "p_rank": np.nan}
    parts = {} if predictions is None else contributions(predictions, strategy, baseline)
    return [
        key | {"metric": metric} | _against_baseline(paired[baseline], parts.get(metric), confidence)
        for metric, paired in _pair_by_metric(transfer, runs, kinds, strategy, [baseline])
    ]


def _compare_among_sets(
    transfer: pd.DataFrame,
    runs: pd.DataFrame | None,
    kinds: tuple[str, ...],
    strategy: str,
    sets: Sequence[str],
    confidence: float,
) -> list[dict]:
    key = {"strategy": strategy, "reference": RANDOM_REFERENCE}
    return [
        key | {"metric": metric} | _against_random_sets(paired, confidence)
        for metric, paired in _pair_by_metric(transfer, runs, kinds, strategy, sets)
    ]


def compare_strategies(
    transfer: pd.DataFrame,
    kinds: tuple[str, ...] = (),
    sizes: Mapping[str, tuple[int, int]] | None = None,
    runs: pd.DataFrame | None = None,
    baseline: str = BASELINE,
    confidence: float = 0.95,
    predictions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compare every freezing strategy with the baseline and with random sets of as many layers.

    Args:
        transfer: transfer rows of all runs, one per cell: study, source_language, target_language, strategy, seed,
            is_in_language, score and a column per entry of `kinds`.
        kinds: distance columns for the slopes.
        sizes: strategy -> what it froze, from `count_frozen_layers`; None = no comparison with random sets.
        runs: one row per run with study, source_language, strategy, seed and, where known, train_seconds.
        baseline: the strategy to compare with; where the word-piece table is frozen throughout, `word_embeddings`.
        confidence: confidence level of the intervals, 0..1.
        predictions: predictions of all runs, columns of :data:`xling.runs.tables.PREDICTIONS`; None = the intervals take the
            evaluated examples for given.

    Returns:
        One row per strategy, reference and metric, columns of `COMPARISON`; empty where there is but the baseline.

    Raises:
        XlingValueError: no run of the baseline.
    """
    strategies = sorted(transfer["strategy"].unique())
    if baseline not in strategies:
        raise XlingValueError(
            f"a freezing comparison needs runs of strategy '{baseline}', found {strategies}; run freeze={baseline} too"
        )
    rows = []
    for strategy in [s for s in strategies if s != baseline]:
        rows += _compare_with_baseline(transfer, runs, kinds, strategy, baseline, predictions, confidence)
        sets = _random_sets_of(strategy, strategies, sizes or {})
        if sets:
            rows += _compare_among_sets(transfer, runs, kinds, strategy, sets, confidence)
    return add_verdicts(pd.DataFrame(rows, columns=list(COMPARISON)))


def compare_among_sets(
    transfer: pd.DataFrame,
    distances: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    runs: pd.DataFrame | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare strategies with random sets that treat as many layers in the same way.

    Args:
        transfer: see :func:`compute_freezing`.
        distances: see :func:`compute_freezing`.
        sets: strategy -> names of its random sets.
        runs: see :func:`compare_strategies`.
        confidence: confidence level of the intervals, 0..1.

    Returns:
        Columns of `COMPARISON`, a row per strategy and metric.
    """
    cells, kinds = _join_distances(transfer, distances)
    rows = [
        row
        for strategy, names in sets.items()
        for row in _compare_among_sets(cells, runs, kinds, strategy, names, confidence)
    ]
    return add_verdicts(pd.DataFrame(rows, columns=list(COMPARISON)))


def _join_distances(transfer: pd.DataFrame, distances: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The last validations with a column per kind of distance, and these kinds."""
    kinds = tuple(distance_kinds(distances))
    cells = select_validation(check_columns(transfer, tables.TRANSFER_ALWAYS, "transfer"))
    cells = cells.merge(distances[[*LANGUAGE_PAIR, *kinds]], on=LANGUAGE_PAIR, how="left", validate="many_to_one")
    return cells, kinds


def compute_freezing(
    transfer: pd.DataFrame,
    impact: pd.DataFrame | None,
    distances: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    baseline: str = BASELINE,
    predictions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compare the strategies of a study as its runs left them: last validations, distances joined, layers counted.

    Args:
        transfer: columns of :data:`xling.runs.tables.TRANSFER`.
        impact: columns of :data:`xling.runs.tables.IMPACT`; without it there is no comparison with random sets.
        distances: source_language, target_language, and per kind ``<kind>`` and ``<kind>_coverage``.
        runs: see :func:`compare_strategies`.
        baseline: see :func:`compare_strategies`.
        predictions: see :func:`compare_strategies`.

    Returns:
        Columns of `COMPARISON`.

    Raises:
        XlingValueError: no run of the baseline, or a column is missing.
    """
    cells, kinds = _join_distances(transfer, distances)
    sizes = None if impact is None or impact.empty else count_frozen_layers(impact)
    return compare_strategies(cells, kinds, sizes, runs, baseline, predictions=predictions)
