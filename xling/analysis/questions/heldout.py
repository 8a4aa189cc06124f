"""Predicts transfer to or from a language from the others: each language is left out once, as source and as target.

For every language L a ridge regression is fitted to the pairs S != T without L and predicts the pairs with L, on either
side. The baseline is the mean score of the same training pairs. Predictors are standardised with the training pairs'
mean and standard deviation; nothing of the predicted pairs enters model or baseline. Lauscher et al. 2020
(arXiv:2005.00633) and Muller et al. 2023 (arXiv:2212.01757) use such regressions.

A pair S, T is predicted twice, once with S left out and once with T left out; errors average over both.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from xling.analysis.schema import MEAN_LABEL, distance_kinds

PENALTY = 1.0
"""Ridge penalty on the standardised coefficients: a mild one, fixed beforehand rather than tuned on few languages."""

MIN_SPARE_PAIRS = 2
"""Training pairs beyond the number of coefficients, without which a fit goes through all of its points."""

HELD_OUT = {
    "strategy": "name of the freezing strategy",
    "predictors": "comma-separated: distance kinds, 'impact' (mean over layers), 'score_in_language' (the source's)",
    "n_predictors": "how many these are",
    "mae": "mean absolute error over held-out predictions, a fraction",
    "mae_baseline": "the same for the mean of the training pairs",
    "r2": "1 - squared error / squared error of that baseline; below 0 = worse than the mean",
    "n_predictions": "held-out predictions (each pair up to twice)",
    "n_pairs": "ordered pairs S != T with score and all predictors",
    "n_languages": "languages left out in turn",
    "reason": "why the figures are NaN, else empty",
}
"""Columns of ``held_out``."""


def fit_ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Fit by least squares with a penalty on the coefficients of standardised predictors; the intercept is not penalised.

    Minimises ``|y - intercept - z w|^2 + penalty |w|^2`` with z the standardised x. A constant predictor gets 0.

    Args:
        x: float64 ``[n_pairs, n_predictors]``, finite.
        y: float64 ``[n_pairs]``, finite.
        penalty: >= 0; 0 is ordinary least squares (of minimal norm where predictors are collinear).

    Returns:
        Coefficients on the scale of `x`, float64 ``[n_predictors]``, and the intercept.

    >>> coefficients, intercept = fit_ridge(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]), penalty=0.0)
    >>> coefficients.round(6).tolist(), round(intercept, 6)
    ([2.0], 1.0)
    """
    mean, sd = x.mean(axis=0), x.std(axis=0)
    constant = sd <= 1e-10 * np.sqrt((x**2).mean(axis=0))  # but for rounding
    scale = np.where(constant, np.inf, sd)
    z = (x - mean) / scale
    stacked = np.vstack([z, np.sqrt(penalty) * np.eye(x.shape[1])])
    target = np.concatenate([y - y.mean(), np.zeros(x.shape[1])])
    coefficients = np.linalg.lstsq(stacked, target, rcond=None)[0] / scale
    return coefficients, float(y.mean() - mean @ coefficients)


def predict_held_out(cells: pd.DataFrame, predictors: Sequence[str], penalty: float = PENALTY) -> pd.DataFrame:
    """Predict the score of every pair from the pairs that do not share its left-out language.

    Args:
        cells: one row per source and target with `score`, `is_in_language` and the predictors' columns; S = T and
            rows with a missing value are left out.
        predictors: columns to predict from.
        penalty: see `fit_ridge`.

    Returns:
        One row per left-out language and pair: held_out, source_language, target_language, score, predicted,
        baseline, n_training. A language is skipped where fewer than n_predictors + 3 pairs remain to train on.
    """
    known = cells[~cells["is_in_language"].astype(bool)].dropna(subset=["score", *predictors])
    x, y = known[list(predictors)].to_numpy(float), known["score"].to_numpy(float)
    sources, targets = known["source_language"].to_numpy(str), known["target_language"].to_numpy(str)
    folds = []
    for language in np.unique([sources, targets]):
        test = (sources == language) | (targets == language)
        if (~test).sum() < len(predictors) + 1 + MIN_SPARE_PAIRS:
            continue
        coefficients, intercept = fit_ridge(x[~test], y[~test], penalty)
        fold = known.loc[test, ["source_language", "target_language", "score"]]
        predictions = {"predicted": x[test] @ coefficients + intercept, "baseline": y[~test].mean()}
        folds.append(fold.assign(held_out=language, n_training=(~test).sum(), **predictions))
    columns = ["held_out", "source_language", "target_language", "score", "predicted", "baseline", "n_training"]
    return pd.concat(folds, ignore_index=True)[columns] if folds else pd.DataFrame(columns=columns)


def summarise_held_out(predictions: pd.DataFrame) -> dict:
    """Summarise the errors over all held-out predictions.

    Args:
        predictions: predictions, from :func:`predict_held_out`.

    Returns:
        The columns of `HELD_OUT` from `mae` on; NaN with the reason where there is no prediction.
    """
    pairs = predictions[["source_language", "target_language"]].drop_duplicates()
    counts = {
        "n_predictions": len(predictions),
        "n_pairs": len(pairs),
        "n_languages": predictions["held_out"].nunique(),
    }
    if predictions.empty:
        return counts | {"reason": "too few pairs remain to train on once a language is left out"}
    error = predictions["score"] - predictions["predicted"]
    baseline_error = predictions["score"] - predictions["baseline"]
    spread = (baseline_error**2).sum()
    varies = spread > 1e-20 * (predictions["score"] ** 2).sum()  # more than rounding
    return counts | {
        "mae": error.abs().mean(),
        "mae_baseline": baseline_error.abs().mean(),
        "r2": 1 - (error**2).sum() / spread if varies else np.nan,
        "reason": "" if varies else "score is constant: there is nothing to explain",
    }


def list_predictor_sets(cells: pd.DataFrame) -> list[list[str]]:
    """Choose what to predict from: each predictor alone, all distances, and these with impact and source score.

    Predictors without any value are left out, so that a missing impact does not empty the larger sets.

    Args:
        cells: see :func:`predict_held_out`.

    Returns:
        Lists of columns, each list once.
    """
    others = cells[~cells["is_in_language"].astype(bool)]
    measured = [name for name in (*distance_kinds(cells), "impact", "score_in_language") if others[name].notna().any()]
    kinds = [name for name in measured if name in distance_kinds(cells)]
    sets = [[name] for name in measured] + [kinds, [*kinds, "impact"], measured]
    return [s for i, s in enumerate(sets) if s and s not in sets[:i] and set(s) <= set(measured)]


def compute_held_out(pairs: pd.DataFrame, penalty: float = PENALTY) -> pd.DataFrame:
    """Judge sets of predictors by leaving out one language at a time.

    Args:
        pairs: columns of :data:`xling.analysis.schema.PAIRS` and the distance kinds.
        penalty: see `fit_ridge`.

    Returns:
        One row per strategy and set of `list_predictor_sets`, columns of `HELD_OUT`.
    """
    rows = []
    for strategy, cells in pairs[pairs["layer_label"] == MEAN_LABEL].groupby("strategy"):
        for predictors in list_predictor_sets(cells):
            key = {"strategy": strategy, "predictors": ",".join(predictors), "n_predictors": len(predictors)}
            rows.append(key | summarise_held_out(predict_held_out(cells, predictors, penalty)))
    return pd.DataFrame(rows, columns=list(HELD_OUT))
