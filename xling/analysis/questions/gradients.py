"""Tests whether gradients foretell transfer: their cosine, norm and Fisher trace during training against the score at the end.

They take the place of impact in the same test: over pairs S != T, after source and target effects are removed, with languages
permuted; one family of tests is one measure at one step, all layers and their mean.
"""

import pandas as pd

from xling.analysis.inference.arrays import impact_arrays, restrict_to_complete
from xling.analysis.inference.associations import infer_associations
from xling.analysis.inputs.measurements import Resampling
from xling.analysis.inputs.pairs import LANGUAGE_PAIR, select_validation
from xling.analysis.schema import MEAN_LABEL

MEASURES = ("gradient_cosine", "gradient_norm", "fisher_trace")
COSINE = MEASURES[0]

GRADIENTS = {
    "measure": "gradient_cosine, gradient_norm or fisher_trace",
    "layer_label": "'00', '01', ..., 'mean'",
    "step": "optimiser steps completed when it was taken",
    "mean": "mean over pairs S != T",
    "main": "'demeaned', or 'pearson' where source and target effects leave nothing of the pairs (one source)",
    "r": "main coefficient: correlation with the final score over pairs S != T",
    "ci_low": "lower end of its 95 % interval",
    "ci_high": "upper end of it",
    "p_qap": "its p-value, languages permuted",
    "p_max_t": "the same, family-wise over the layers of this measure and step",
    "detectable_family_wise": "smallest |r| that this design finds family-wise in 80 % of studies",
    "pearson_r": "raw correlation",
    "n_pairs": "pairs with both values",
    "reason": "why numbers are NaN, else empty",
}
"""Columns of ``gradients``."""


def compute_gradients(gradients: pd.DataFrame, transfer: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Set gradients beside the final score, pair by pair.

    Args:
        gradients: rows of one strategy, columns of :data:`xling.runs.tables.GRADIENTS`.
        transfer: rows of the strategy, all validations; the last counts.
        resampling: number of draws and the seed.

    Returns:
        Columns of `GRADIENTS`; no row where every run was scored on its source alone.
    """
    if gradients["is_in_language"].astype(bool).all():
        return pd.DataFrame(columns=list(GRADIENTS))
    scores = select_validation(transfer).groupby(LANGUAGE_PAIR)["score"].mean()
    tables = [
        _test_step(own, scores, measure, resampling).assign(measure=measure, step=step)
        for step, own in gradients.groupby("step")
        for measure in MEASURES
    ]
    return pd.concat([pd.DataFrame(columns=list(GRADIENTS)), *tables], ignore_index=True)[list(GRADIENTS)]


def _test_step(gradients: pd.DataFrame, scores: pd.Series, measure: str, resampling: Resampling) -> pd.DataFrame:
    pairs = per_layer(gradients, measure).join(scores, on=LANGUAGE_PAIR)
    arrays = impact_arrays(pairs, ["score"], None, measure)
    tests = infer_associations(arrays, restrict_to_complete(arrays), resampling)
    between = pairs[~pairs["is_in_language"]]
    return tests.assign(mean=tests["layer_label"].map(between.groupby("layer_label")[measure].mean()))


def per_layer(gradients: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Average a measure over seeds, and add its mean over layers.

    Args:
        gradients: rows of one step, columns of :data:`xling.runs.tables.GRADIENTS`.
        measure: one of `MEASURES`.

    Returns:
        source_language, target_language, is_in_language, layer_label and the measure, a row per pair and layer.
    """
    keys = [*LANGUAGE_PAIR, "is_in_language"]
    known = gradients.assign(layer_label=gradients["layer"].map("{:02d}".format))
    layers = known.groupby([*keys, "layer_label"], observed=True)[measure].mean().reset_index()
    means = layers.groupby(keys)[measure].mean().reset_index().assign(layer_label=MEAN_LABEL)
    return pd.concat([layers, means], ignore_index=True).astype({"is_in_language": bool})


def with_first_cosine(pairs: pd.DataFrame, gradients: pd.DataFrame) -> pd.DataFrame:
    """Put the cosine of gradients at the first step at which it was taken beside impact, per strategy, pair and layer.

    Args:
        pairs: rows of the pair table.
        gradients: records of all strategies.

    Returns:
        `pairs` with the column gradient_cosine, NaN where none was taken.
    """
    first = gradients[gradients["step"] == gradients.groupby("strategy", observed=True)["step"].transform("min")]
    found = [per_layer(own, COSINE).assign(strategy=name) for name, own in first.groupby("strategy", observed=True)]
    keys = ["strategy", *LANGUAGE_PAIR, "layer_label"]
    return pairs.merge(pd.concat(found)[[*keys, COSINE]], on=keys, how="left")
