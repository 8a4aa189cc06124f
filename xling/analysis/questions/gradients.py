"""Do gradients foretell transfer? Their cosine, norm and Fisher trace at every step against the score at the end."""

import numpy as np
import pandas as pd

from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.demeaned import correlate_demeaned
from xling.analysis.inputs.pairs import LANGUAGE_PAIR, select_validation

MEASURES = ("gradient_cosine", "gradient_norm", "fisher_trace")

GRADIENTS = {
    "measure": "gradient_cosine, gradient_norm or fisher_trace",
    "layer_label": "'00', '01', ...",
    "step": "optimiser steps completed when it was taken",
    "mean": "mean over pairs S != T",
    "r": "correlation with the final score over pairs S != T after source and target effects are removed; NaN from one source",
    "pearson_r": "the same before they are removed",
    "n_pairs": "pairs with both values",
}
"""Columns of ``gradients``: estimates without tests."""


def compute_gradients(gradients: pd.DataFrame, transfer: pd.DataFrame) -> pd.DataFrame:
    """Set gradients beside the final score, pair by pair.

    Args:
        gradients: rows of one strategy, columns of :data:`xling.runs.tables.GRADIENTS`.
        transfer: rows of the strategy, all validations; the last counts.

    Returns:
        Columns of `GRADIENTS`.
    """
    scores = select_validation(transfer).groupby(LANGUAGE_PAIR)["score"].mean()
    between = gradients[~gradients["is_in_language"].astype(bool)]
    means = between.groupby(["layer", "step", *LANGUAGE_PAIR])[list(MEASURES)].mean()
    rows = []
    for (layer, step), own in means.groupby(level=["layer", "step"]):
        own = own.droplevel(["layer", "step"])
        score = scores.reindex(own.index).to_numpy(float)[None]
        sources, targets = (own.index.get_level_values(name).factorize()[0] for name in LANGUAGE_PAIR)
        values = own.to_numpy(float).T
        demeaned, raw = correlate_demeaned(values, score, sources, targets)[:, 0], correlate(values, score)[:, 0]
        known = np.isfinite(values) & np.isfinite(score)
        for index, measure in enumerate(MEASURES):
            row = {"measure": measure, "layer_label": f"{layer:02d}", "step": step, "mean": own[measure].mean()}
            rows.append(row | {"r": demeaned[index], "pearson_r": raw[index], "n_pairs": int(known[index].sum())})
    return pd.DataFrame(rows, columns=list(GRADIENTS))
