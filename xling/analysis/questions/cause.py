"""Estimates whether impact causes transfer, by instrumental variables: doses that the experimenter assigned.

Impact and score go together over pairs for many reasons. Where a dose (share reverted, strength of an anchor, layers frozen or
not) is assigned to all pairs alike, what it changes in impact (the first stage) and in score (the reduced form) is its doing,
and their ratio is the change of score per unit of impact, **if the dose acts on the score through this layer's impact alone**
(exclusion). That fails where a treatment changes more than the impact it is judged by: reverted layers no longer fit the head,
an anchor also slows learning of the task. The ratio is then the dose's effect expressed per impact, and no effect of impact.
docs/interventions.md states the assumptions; the naive regression over pairs stands beside the estimate.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from xling.analysis.inference.demeaned import leaves_pairs, remove_effects
from xling.analysis.inference.two_way import clustered_mean, mean_interval, ratio_interval
from xling.analysis.inputs.pairs import LANGUAGE_PAIR
from xling.interventions.layer_shares import HEAD

CAUSE = {
    "treatment": "what is assigned: kind and treated layers, e.g. revert 1-4; its doses are compared with the baseline, dose 0",
    "layer_label": "the layer whose impact it is",
    "n_doses": "doses above 0",
    "first_stage": "change of impact per unit of dose, mean over pairs S != T",
    "first_low": "lower end of its 95 % interval over sources and targets",
    "first_high": "upper end of it",
    "reduced_form": "change of score per unit of dose, mean over the same pairs",
    "reduced_low": "lower end of its interval",
    "reduced_high": "upper end of it",
    "effect": "reduced_form / first_stage: change of score per unit of impact, if the exclusion holds",
    "effect_low": "lower end of its 95 % interval (Fieller; infinite where the first stage is too weak)",
    "effect_high": "upper end of it",
    "naive": "slope of score on impact over the baseline's pairs, source and target effects removed: no effect of anything",
    "distance": "distance kind of the next columns; '' without distances",
    "reduced_by_distance": "change of the reduced form per unit of distance, source effects removed: positive = the dose helps "
    "distant targets more (or harms them less)",
    "by_distance_low": "lower end of its 95 % interval over sources and targets",
    "by_distance_high": "upper end of it",
    "n_sources": "source languages",
    "n_targets": "target languages",
    "n_pairs": "pairs S != T",
    "reason": "why a number is NaN or infinite, else empty",
}
"""Columns of ``cause``: one row per treatment, layer and distance."""

WEAK = "the dose does not move this layer's impact for certain, so that nothing can be said per unit of it"
FEW = "intervals need at least 2 sources and 2 targets"


def dose_slopes(cells: pd.DataFrame) -> pd.DataFrame:
    """Fit the slopes of impact and score on dose within each pair.

    Args:
        cells: source_language, target_language, seed, dose, impact, score of one treatment and layer, the baseline at dose 0.

    Returns:
        Indexed by pair: `impact` and `score` per unit of dose, mean over seeds; a pair that lacks the baseline or a dose is absent.
    """
    keys = [*LANGUAGE_PAIR, "seed"]
    known = cells.dropna(subset=["impact", "score"])
    centred = known[["dose", "impact", "score"]] - known.groupby(keys)[["dose", "impact", "score"]].transform("mean")
    products = centred[["impact", "score"]].mul(centred["dose"], axis=0).assign(dose=centred["dose"] ** 2)
    sums = products.groupby([known[key] for key in keys]).sum()
    sums = sums[sums["dose"] > 0]
    return sums[["impact", "score"]].div(sums["dose"], axis=0).groupby(level=LANGUAGE_PAIR).mean()


def estimate_cause(cells: pd.DataFrame, distances: pd.DataFrame | None = None, kinds: Sequence[str] = ()) -> list[dict]:
    """Estimate one treatment's effect at one layer.

    Args:
        cells: see :func:`dose_slopes`; pairs S != T.
        distances: indexed by pair, a column per kind.
        kinds: which.

    Returns:
        A row of `CAUSE` per kind (one without kinds), without treatment and layer.
    """
    slopes = dose_slopes(cells)
    sources, targets = (slopes.index.get_level_values(name).factorize()[0] for name in LANGUAGE_PAIR)
    row = {
        "n_doses": cells.loc[cells["dose"] > 0, "dose"].nunique(),
        "naive": naive_slope(cells[cells["dose"] == 0]),
        "n_sources": len(set(sources)),
        "n_targets": len(set(targets)),
        "n_pairs": len(slopes),
    }
    if slopes.empty:
        return [row | {"distance": "", "reason": "no pair was measured at two doses"}]
    found = clustered_mean(slopes[["impact", "score"]].to_numpy(float), sources, targets)
    for index, name in enumerate(("first", "reduced")):
        row |= dict(zip((f"{name}_low", f"{name}_high"), mean_interval(found, index), strict=True))
    row |= {"first_stage": found.mean[0], "reduced_form": found.mean[1], "effect": np.nan}
    row["effect_low"], row["effect_high"] = ratio_interval(found)
    row["reason"] = FEW if not found.freedom else WEAK if np.isinf(row["effect_low"]) else ""
    if found.mean[0] != 0:
        row["effect"] = found.mean[1] / found.mean[0]
    by_kind = [] if distances is None else [_by_distance(slopes["score"], distances[kind], kind) for kind in kinds]
    return [row | further for further in by_kind or [{"distance": ""}]]


def naive_slope(baseline: pd.DataFrame) -> float:
    """Fit the slope of score on impact over pairs, source and target effects removed; NaN where they leave nothing."""
    pairs = baseline.dropna(subset=["impact", "score"]).groupby(LANGUAGE_PAIR)[["impact", "score"]].mean()
    sources, targets = (pairs.index.get_level_values(name).factorize()[0] for name in LANGUAGE_PAIR)
    if not leaves_pairs(sources, targets):
        return np.nan
    impact, score = remove_effects(pairs.to_numpy(float).T, sources, targets)
    return float(impact @ score / (impact @ impact)) if impact.any() else np.nan


def _by_distance(score: pd.Series, distance: pd.Series, kind: str) -> dict:
    """Fit the slope of the reduced form on distance, within sources, with an interval clustered by source and target."""
    pairs = pd.DataFrame({"y": score, "x": distance.reindex(score.index)}).dropna()
    centred = pairs - pairs.groupby(level="source_language").transform("mean")
    spread = float((centred["x"] ** 2).mean()) if len(centred) else 0.0
    row = {"distance": kind, "reduced_by_distance": np.nan, "by_distance_low": np.nan, "by_distance_high": np.nan}
    if spread == 0:
        return row
    slope = float((centred["x"] * centred["y"]).mean()) / spread
    influence = (centred["x"] * (centred["y"] - slope * centred["x"]) / spread).to_numpy()[:, None]
    sources, targets = (centred.index.get_level_values(name).factorize()[0] for name in LANGUAGE_PAIR)
    found = clustered_mean(influence, sources, targets)
    half = stats.t.ppf(0.975, found.freedom) * np.sqrt(max(found.covariance[0, 0], 0)) if found.freedom else np.nan
    return row | {"reduced_by_distance": slope, "by_distance_low": slope - half, "by_distance_high": slope + half}


def compute_cause(
    cells: pd.DataFrame, treatments: pd.DataFrame, baseline: str, distances: pd.DataFrame, kinds: Sequence[str]
) -> pd.DataFrame:
    """Estimate every treatment's effect at every layer that it treats.

    Args:
        cells: a row per run, target and layer: strategy, source_language, target_language, seed, layer, impact, score; S != T.
        treatments: a row per strategy: strategy, treatment, dose, layers (list; also ``head``), see
            :func:`xling.analysis.questions.interventions.list_treatments`.
        baseline: strategy of dose 0.
        distances: source_language, target_language and a column per kind.
        kinds: which distances.

    Returns:
        Columns of `CAUSE`.
    """
    far = distances.set_index(LANGUAGE_PAIR)[list(kinds)]
    rows = []
    for treatment, own in treatments.groupby("treatment", sort=False):
        doses = {baseline: 0.0} | dict(zip(own["strategy"], own["dose"], strict=True))
        dosed = cells[cells["strategy"].isin(doses)].assign(dose=lambda frame, d=doses: frame["strategy"].map(d))
        for layer in [part for part in own["layers"].iloc[0] if part != HEAD]:  # a head has no impact
            found = estimate_cause(dosed[dosed["layer"] == layer], far, kinds)
            rows += [{"treatment": treatment, "layer_label": f"{layer:02d}"} | row for row in found]
    return pd.DataFrame(rows, columns=list(CAUSE))
