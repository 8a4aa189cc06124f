"""Tests whether undoing a layer's change helps distant languages: a causal check that needs no training.

:mod:`xling.commands.restore` measures. One fine-tuned model, so one source language: the targets' distances are permuted over
the targets, jointly for all sets of layers, and the family-wise p-value covers all rows of the table.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.permutations import Permutations, draw_permutations, keep_in_place
from xling.analysis.inference.qap import max_t_p, permutation_p
from xling.runs.tables import RESTORED

MIN_TARGETS = 4
"""Three targets have 6 arrangements, so that no p-value could be below 1 / 6."""


TREND = {
    "restored_layers": RESTORED["restored_layers"],
    "weight": RESTORED["weight"],
    "distance": "distance kind",
    "n_targets": "targets S != T with a distance",
    "mean_change": "mean change of score over them",
    "change_on_source": "change of score on the source language, NaN where it was not evaluated",
    "slope": "least-squares slope of change on distance; positive = distant targets gain more (or lose less)",
    "pearson_r": "Pearson correlation of change and distance over the targets",
    "spearman_rho": "Spearman correlation of the same",
    "p_value": "two-sided permutation p-value of pearson_r",
    "p_max_t": "the same, family-wise over all rows",
    "reason": "why a number is NaN, else empty",
}
"""Columns of ``restored_trend``."""


def compute_trend(
    restored: pd.DataFrame, kinds: Sequence[str], n_permutations: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Relate the change of score to distance, for every set of layers and weight.

    Args:
        restored: columns of `RESTORED` and the distance kinds, one source language.
        kinds: distance columns.
        n_permutations: draws; few targets are enumerated.
        seed: seed of the draws.

    Returns:
        One row per set, weight and distance, columns of `TREND`, without the fine-tuned model itself.
    """
    sets = restored[restored["restored_layers"] != ""]
    away, keys = sets[~sets["is_in_language"]], ["restored_layers", "weight"]
    if away.empty or not kinds:
        return pd.DataFrame(columns=list(TREND))
    names = pd.MultiIndex.from_frame(away[keys].drop_duplicates())
    wide = away.pivot(index=keys, columns="target_language", values="change").reindex(names)
    distances = away.drop_duplicates("target_language").set_index("target_language").reindex(wide.columns)
    change = wide.to_numpy(float)  # [n_sets, n_targets]
    permutations = draw_permutations(wide.shape[1], n_permutations, seed)
    tables, nulls = [], []
    for kind in kinds:
        distance = distances[kind].to_numpy(float)
        tables.append(_describe(distance, change).set_index(names).assign(distance=kind))
        nulls.append(_permute(distance, change, permutations))
    table = pd.concat(tables)
    table["change_on_source"] = sets[sets["is_in_language"]].set_index(keys)["change"].reindex(table.index)
    null, exact = np.hstack(nulls), permutations.exact
    testable = table["pearson_r"].where(table["n_targets"] >= MIN_TARGETS).to_numpy()
    table["p_value"], table["p_max_t"] = permutation_p(testable, null, exact), max_t_p(testable, null, exact)
    return table.reset_index()[list(TREND)]


def _describe(distance: np.ndarray, change: np.ndarray) -> pd.DataFrame:
    known = np.isfinite(distance)
    if known.sum() < 2:
        empty = pd.DataFrame(np.nan, range(len(change)), ["mean_change", "slope", "pearson_r", "spearman_rho"])
        return empty.assign(n_targets=known.sum(), reason=_few(known))
    x, y = distance[known], change[:, known]
    r = correlate(x[None], y)[0]
    slope = r * y.std(axis=1) / (x.std() or np.nan)
    table = pd.DataFrame({"mean_change": y.mean(axis=1), "slope": slope, "pearson_r": r})
    table["spearman_rho"] = correlate(x[None], y, ranked=True)[0]
    constant = np.where(np.isnan(r), "distance or change is the same for all targets", "")
    return table.assign(n_targets=known.sum(), reason=_few(known) or constant)


def _few(known: np.ndarray) -> str:
    n_targets = known.sum()
    return f"{n_targets} targets with a distance; at least {MIN_TARGETS} are needed" if n_targets < MIN_TARGETS else ""


def _permute(distance: np.ndarray, change: np.ndarray, permutations: Permutations) -> np.ndarray:
    """Correlate under permuted targets, ``[n_permutations, n_sets]``; a target without distance keeps its place."""
    labels = keep_in_place(permutations, np.isnan(distance)).labels
    return np.nan_to_num(correlate(distance[labels], change))
