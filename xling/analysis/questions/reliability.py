"""Estimates how much of a measurement is noise, and what a correlation would be without it.

A cell (source, target) was measured under one or more seeds. The variance between seeds of one cell is noise; a mean over n seeds
keeps 1 / n of it. Reliability is the share of the variance between cells that is not noise (Spearman 1904; Lord & Novick 1968),
once raw and once after source and target effects are removed, where little variance is left and noise weighs more. With a single
seed the noise of impact is taken from the jackknife over premises where runs recorded it (that of seeds is then left out); that of
a score is a fraction's of n examples, p (1 - p) / n.

Cells share noise: a seed moves all targets of its run, and the same premises are read in every language. Source and target
effects take the shared part away, so that less noise is left. With several seeds what is left is measured: the differences
between two seeds, their source and target effects removed. With one seed it is not known; all of the noise is then taken for
left, an upper bound, which makes the reliability a lower and the disattenuated r an upper bound.

A correlation with a distance, which has no noise, is weakened by the square root of the reliability of the other side; the
disattenuated r divides by it. It is an estimate beside r, never tested by itself: the p-value of r is also its own.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from xling.analysis.inference.associations import DEMEANED
from xling.analysis.inference.demeaned import leaves_pairs, remove_effects
from xling.analysis.inputs.pairs import LANGUAGE_PAIR
from xling.analysis.schema import IMPACT_VS_DISTANCE, MEAN_LABEL, TRANSFER_VS_DISTANCE

RELIABILITY = {
    "outcome": "impact or score",
    "layer": "Int64; <NA> for the mean over layers and for the score",
    "layer_label": "'00', '01', ..., 'mean', or '' for the score",
    "n_cells": "pairs S != T with a noise variance",
    "noise_from": "seeds, jackknife over premises, or examples (binomial)",
    "noise_sd": "root of the mean noise variance of a cell's value (its mean over seeds)",
    "sd": "standard deviation of the values over cells",
    "sd_demeaned": "the same after source and target effects are removed",
    "reliability": "share of the variance over cells that is not noise, 0..1",
    "reliability_demeaned": "the same after source and target effects are removed; of one seed a lower bound",
    "reason": "why a number is NaN, else empty",
}
"""Columns of ``reliability``."""

DISATTENUATED = {
    "analysis": "impact_vs_distance or transfer_vs_distance",
    "predictor": "distance kind",
    "layer_label": "as in correlations",
    "main": "which coefficient r is, as in correlations",
    "r": "main coefficient",
    "reliability": "of the outcome, in the form that r has",
    "r_disattenuated": "r / sqrt(reliability), within -1..1; of one seed an upper bound of its size",
    "reason": "why it is NaN, else empty",
}
"""Columns of ``disattenuated``."""

MIN_RELIABILITY = 0.1
"""Below this nearly all is noise, and dividing by its root would only blow up chance."""


def compute_reliability(main: pd.DataFrame, of_seeds: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """Estimate the noise of impact per layer and of the score.

    Args:
        main: one strategy's rows of the pair table.
        of_seeds: the pair table of each seed by itself, where there are several.

    Returns:
        Columns of `RELIABILITY`.
    """
    between = main[~main["is_in_language"].astype(bool)]
    seeds = [pairs[~pairs["is_in_language"].astype(bool)] for pairs in of_seeds]
    rows = []
    for label, cells in between.groupby("layer_label"):
        if cells["impact"].notna().any():
            key = {"outcome": "impact", "layer_label": label}
            own = [pairs[pairs["layer_label"] == label] for pairs in seeds]
            rows.append(key | _describe(cells, "impact", *_noise_of_impact(cells), _noise_left(own, "impact")))
    scores = between[between["layer_label"] == MEAN_LABEL]
    if scores["score"].notna().any():
        own = [pairs[pairs["layer_label"] == MEAN_LABEL] for pairs in seeds]
        left = _noise_left(own, "score")
        rows.append(
            {"outcome": "score", "layer_label": ""} | _describe(scores, "score", *_noise_of_score(scores), left)
        )
    table = pd.DataFrame(rows, columns=[name for name in RELIABILITY if name != "layer"])
    table["layer"] = pd.to_numeric(table["layer_label"], errors="coerce").astype("Int64")
    return table[list(RELIABILITY)]


def _noise_of_impact(cells: pd.DataFrame) -> tuple[pd.Series, str]:
    if cells["impact_sd"].notna().any():
        return cells["impact_sd"] ** 2 / cells["n_seeds"], "seeds"
    half = (cells["impact_high"] - cells["impact_low"]) / 2
    # the table has t intervals of 95 %, but no standard errors; 1.96 makes the noise a little too large where groups are few
    return (half / 1.96) ** 2, "jackknife over premises"


def _noise_of_score(cells: pd.DataFrame) -> tuple[pd.Series, str]:
    if cells["score_sd"].notna().any():
        return cells["score_sd"] ** 2 / cells["n_seeds"], "seeds"
    is_fraction = cells["metric"].eq("accuracy") & cells["n_examples"].gt(0)
    return (cells["score"] * (1 - cells["score"]) / cells["n_examples"]).where(is_fraction), "examples (binomial)"


def _noise_left(of_seeds: Sequence[pd.DataFrame], column: str) -> float:
    """Estimate the noise variance of one seed's value of a cell once source and target effects are removed; NaN where impossible.

    The difference of two seeds over the same cells is noise alone. Half of its variance after the effects are removed, pooled over
    all pairs of seeds, is the variance of one seed.
    """
    squares, freedom = 0.0, 0
    values = [pairs.set_index(LANGUAGE_PAIR)[column].dropna() for pairs in of_seeds]
    for one, other in itertools.combinations(values, 2):
        difference = (one - other).dropna()
        positions = [difference.index.get_level_values(name).factorize()[0] for name in LANGUAGE_PAIR]
        if len(difference) and leaves_pairs(*positions):
            squares += float((remove_effects(difference.to_numpy(float)[None], *positions) ** 2).sum()) / 2
            freedom += _freedom(*positions)
    return squares / freedom if freedom else np.nan


def _describe(cells: pd.DataFrame, column: str, noise: pd.Series, noise_from: str, noise_left: float) -> dict:
    known = cells[column].notna() & noise.notna()
    own, variance = cells[known], float(noise[known].mean()) if known.any() else np.nan
    if known.sum() < 3:
        return {
            "n_cells": int(known.sum()),
            "reason": "no seeds, no jackknife and no number of examples to tell noise by",
        }
    values = own[column].to_numpy(float)
    row = {
        "n_cells": len(own),
        "noise_from": noise_from,
        "noise_sd": np.sqrt(variance),
        "sd": values.std(ddof=1),
        "reason": "",
    }
    row["reliability"] = _share(values.var(ddof=1), variance)
    positions = [own[side].factorize()[0] for side in ("source_language", "target_language")]
    if leaves_pairs(*positions):
        left = remove_effects(values[None], *positions)[0]
        demeaned = float((left**2).sum()) / _freedom(*positions)
        of_mean = variance if np.isnan(noise_left) else noise_left * float((1 / own["n_seeds"]).mean())
        row |= {"sd_demeaned": np.sqrt(demeaned), "reliability_demeaned": _share(demeaned, of_mean)}
    return row


def _freedom(*positions: np.ndarray) -> int:
    """The degrees of freedom that source and target effects leave."""
    indicators = np.hstack([np.equal.outer(side, np.unique(side)).astype(float) for side in positions])
    return len(positions[0]) - int(np.linalg.matrix_rank(indicators))


def _share(total: float, noise: float) -> float:
    return max(0.0, 1 - noise / total) if total > 0 else np.nan


def disattenuate(correlations: pd.DataFrame, reliability: pd.DataFrame) -> pd.DataFrame:
    """Put beside every main coefficient with a distance what it would be without noise in the outcome.

    Args:
        correlations: columns of :data:`xling.analysis.schema.CORRELATIONS`.
        reliability: table of reliabilities, from :func:`compute_reliability`.

    Returns:
        Columns of `DISATTENUATED`.
    """
    by_label = reliability.set_index(["outcome", "layer_label"])
    outcomes = {IMPACT_VS_DISTANCE: "impact", TRANSFER_VS_DISTANCE: "score"}
    rows = []
    for row in correlations[correlations["analysis"].isin(outcomes)].to_dict("records"):
        key = (outcomes[row["analysis"]], row["layer_label"])
        column = "reliability_demeaned" if row["main"] == DEMEANED else "reliability"
        share = float(by_label.loc[key, column]) if key in by_label.index else np.nan
        usable = np.isfinite(row["r"]) and share >= MIN_RELIABILITY
        reason = "" if usable else _why_not(row["r"], share)
        own = {name: row[name] for name in ("analysis", "predictor", "layer_label", "main", "r")}
        r = float(np.clip(row["r"] / np.sqrt(share), -1, 1)) if usable else np.nan
        rows.append(own | {"reliability": share, "r_disattenuated": r, "reason": reason})
    return pd.DataFrame(rows, columns=list(DISATTENUATED))


def _why_not(r: float, share: float) -> str:
    if not np.isfinite(r):
        return "no main coefficient"
    return "the noise is not known" if np.isnan(share) else f"reliability below {MIN_RELIABILITY}: nearly all is noise"
