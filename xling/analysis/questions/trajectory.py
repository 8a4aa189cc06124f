"""Follows the steps of training: how impact, score and alignment grow, which layer moves first, what early steps foretell.

All of it is of one strategy and of the validations that all its runs have. Intervals are t intervals over sources (over the
seeds, from one source), see :func:`xling.analysis.questions.item_variance.t_interval`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.demeaned import correlate_demeaned
from xling.analysis.inputs.pairs import LANGUAGE_PAIR
from xling.analysis.questions.item_variance import t_interval, t_intervals

MIN_STEPS = 3
"""Validations without which a curve has no course: two points always lie on a line."""

RUN = ["study", "source_language", "seed"]
EARLY = "early_impact_vs_final_transfer"

TRAJECTORY = {
    "quantity": "impact, alignment or score",
    "layer_label": "'00', '01', ...; '' for the score",
    "target_language": "language evaluated; '' = mean over all targets but the source",
    "step": "optimiser steps completed",
    "mean": "mean over sources, each the mean of its seeds",
    "low": "lower end of its 95 % t interval",
    "high": "upper end of it",
    "over": "what the interval is taken over",
    "n_runs": "runs that measured it",
}
"""Columns of ``trajectory``."""

HALF_TIMES = {
    "layer_label": TRAJECTORY["layer_label"],
    "target_language": TRAJECTORY["target_language"],
    "half_time": "mean step at which impact reaches half of its final value, interpolated between validations",
    "low": TRAJECTORY["low"],
    "high": TRAJECTORY["high"],
    "over": TRAJECTORY["over"],
    "share_of_training": "half_time / last step",
    "rank": "mean rank of the layer among the layers of a run, 1 = moves first",
    "n_runs": "runs in which it is known",
    "reason": "why it is NaN, else empty",
}
"""Columns of ``half_times``."""

OVER_TIME = {
    "analysis": f"impact_vs_distance, impact_vs_transfer, transfer_vs_distance; {EARLY}: impact then, score at the end",
    "predictor": "distance kind, or impact",
    "outcome": "impact or score",
    "layer_label": TRAJECTORY["layer_label"],
    "step": TRAJECTORY["step"],
    "r": "correlation over pairs S != T after source and target effects are removed; NaN from one source",
    "pearson_r": "the same before they are removed",
    "n_pairs": "pairs with both values",
}
"""Columns of ``coefficients_over_time``: estimates without tests; one step is tested by ``analyze.py step=N``."""


def shared_steps(frame: pd.DataFrame) -> list[int]:
    """List the steps at which every run was validated, ascending."""
    per_run = [set(rows["step"]) for _, rows in frame.groupby(RUN)]
    return sorted(int(step) for step in set.intersection(*per_run)) if per_run else []


def compute_trajectory(
    transfer: pd.DataFrame, impact: pd.DataFrame | None, alignment: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Average every quantity over runs, step by step.

    Args:
        transfer: rows of one strategy, columns of :data:`xling.runs.tables.TRANSFER`, all validations.
        impact: rows of one measure, likewise; or None.
        alignment: rows of the strategy; its first measure is taken; or None.

    Returns:
        Columns of `TRAJECTORY`.
    """
    frames = [transfer.assign(quantity="score", layer_label="", value=transfer["score"])]
    if impact is not None and len(impact):
        frames.append(impact.assign(quantity="impact", layer_label=_labels(impact), value=impact["impact"]))
    measure = None if alignment is None else next((c for c in ("cka_grouped", "cka_debiased") if c in alignment), None)
    if alignment is not None and measure is not None:
        frames.append(alignment.assign(quantity="alignment", layer_label=_labels(alignment), value=alignment[measure]))
    return pd.concat([_average(frame) for frame in frames], ignore_index=True)[list(TRAJECTORY)]


def _labels(frame: pd.DataFrame) -> pd.Series:
    return frame["layer"].map("{:02d}".format)


def _average(frame: pd.DataFrame) -> pd.DataFrame:
    steps = shared_steps(frame)
    frame = frame[frame["step"].isin(steps)].dropna(subset="value")
    keys = ["quantity", "layer_label", "step"]
    others = frame[~frame["is_in_language"].astype(bool)]
    mean = others.groupby([*keys, *RUN], as_index=False)["value"].mean().assign(target_language="")
    every = pd.concat([mean, frame[[*keys, *RUN, "target_language", "value"]]], ignore_index=True)
    groups = ["quantity", "layer_label", "target_language", "step"]
    return t_intervals(every.set_index([*groups, *RUN])["value"], groups).reset_index()


def half_time(steps: Sequence[float], values: Sequence[float]) -> float:
    """Find the step at which a curve that starts at 0 first reaches half of its last value.

    Args:
        steps: ascending, after step 0.
        values: of the curve there.

    Returns:
        Interpolated linearly; NaN where the last value is not positive or anything is NaN.

    >>> half_time([10, 20], [0.1, 0.3])
    12.5
    """
    x, y = np.array([0, *steps], float), np.array([0, *values], float)
    half = y[-1] / 2
    if not np.isfinite(y).all() or half <= 0:
        return np.nan
    after = int(np.argmax(y >= half))
    return float(np.interp(half, y[after - 1 : after + 1], x[after - 1 : after + 1]))


def compute_half_times(impact: pd.DataFrame) -> pd.DataFrame:
    """Find when each layer has made half of its way, per target and over the targets.

    Args:
        impact: rows of one strategy and measure, all validations.

    Returns:
        Columns of `HALF_TIMES`; empty with fewer than `MIN_STEPS` validations after step 0.
    """
    steps = [step for step in shared_steps(impact) if step > 0]
    if len(steps) < MIN_STEPS:
        return pd.DataFrame(columns=list(HALF_TIMES))
    known = impact[impact["step"].isin(steps)].assign(layer_label=_labels(impact))
    others = known[~known["is_in_language"].astype(bool)]
    mean = others.groupby([*RUN, "layer_label", "step"], as_index=False)["impact"].mean().assign(target_language="")
    columns = [*RUN, "layer_label", "target_language", "step", "impact"]
    curves = pd.concat([mean[columns], known[columns]]).pivot_table(
        index=[*RUN, "layer_label", "target_language"], columns="step", values="impact", dropna=False
    )
    times = pd.Series([half_time(steps, row) for row in curves[steps].to_numpy(float)], curves.index, name="half_time")
    ranks = times.groupby(level=[*RUN, "target_language"]).rank()
    rows = []
    for (label, target), own in times.groupby(level=["layer_label", "target_language"]):
        values = own.dropna().droplevel(["layer_label", "target_language"])
        interval = t_interval(values) if len(values) else None
        mean_time = values.groupby("source_language").mean().mean() if len(values) else np.nan
        rows.append(
            {"layer_label": label, "target_language": target, "half_time": mean_time, "n_runs": len(values)}
            | {"share_of_training": mean_time / steps[-1], "rank": ranks[own.index].mean()}
            | ({"low": np.nan, "high": np.nan, "over": ""} if interval is None else interval._asdict())
            | {"reason": "" if len(values) else "impact is not above 0 at the end of any run"}
        )
    return pd.DataFrame(rows, columns=list(HALF_TIMES))


def compute_over_time(
    transfer: pd.DataFrame, impact: pd.DataFrame, distances: pd.DataFrame, kinds: Sequence[str]
) -> pd.DataFrame:
    """Estimate the coefficient of every analysis at every step.

    Args:
        transfer: rows of one strategy, all validations.
        impact: rows of one strategy and measure, all validations.
        distances: source_language, target_language and a column per kind.
        kinds: which distances.

    Returns:
        Columns of `OVER_TIME`.
    """
    steps = [s for s in shared_steps(impact) if s > 0 and s in set(shared_steps(transfer))]
    if len(steps) < MIN_STEPS:
        return pd.DataFrame(columns=list(OVER_TIME))
    moved = _per_pair(impact.assign(layer_label=_labels(impact)), "impact", ["layer_label"])
    scores = _per_pair(transfer, "score", [])
    pairs = scores.index.union(moved.index)
    far = distances.set_index(LANGUAGE_PAIR)[list(kinds)].reindex(pairs)
    sources, targets = (pairs.get_level_values(name).factorize()[0] for name in LANGUAGE_PAIR)
    moved, scores = moved.reindex(pairs), scores.reindex(pairs)
    labels = moved.columns.get_level_values("layer_label").unique()
    rows = []
    for step in steps:
        now = np.array([moved[(label, step)].to_numpy(float) for label in labels])
        score, final = (scores[s].to_numpy(float)[None] for s in (step, steps[-1]))
        distance = far.to_numpy(float).T
        named = [("impact_vs_distance", kind, "impact") for kind in kinds]
        jobs = [(name, predictor, outcome, distance[[i]], now) for i, (name, predictor, outcome) in enumerate(named)]
        jobs += [("impact_vs_transfer", "impact", "score", score, now), (EARLY, "impact", "score", final, now)]
        jobs += [("transfer_vs_distance", kind, "score", distance[[i]], score) for i, kind in enumerate(kinds)]
        for name, predictor, outcome, x, y in jobs:
            found = correlate_demeaned(x, y, sources, targets)[0], correlate(x, y)[0]
            for index, label in enumerate(labels if len(y) > 1 or y is now else [""]):
                n = int((np.isfinite(x[0]) & np.isfinite(y[index])).sum())
                key = {"analysis": name, "predictor": predictor, "outcome": outcome, "layer_label": label}
                rows.append(key | {"step": step, "r": found[0][index], "pearson_r": found[1][index], "n_pairs": n})
    return pd.DataFrame(rows, columns=list(OVER_TIME))


def _per_pair(frame: pd.DataFrame, column: str, further: list[str]) -> pd.DataFrame:
    """Average over seeds: a row per pair S != T, a column per (layer and) step."""
    between = frame[~frame["is_in_language"].astype(bool)]
    return between.pivot_table(
        index=LANGUAGE_PAIR, columns=[*further, "step"], values=column, aggfunc="mean", dropna=False
    )
