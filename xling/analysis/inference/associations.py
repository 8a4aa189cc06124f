"""Every statistic of one analysis at once: a row of ``correlations`` per predictor and outcome."""

import numpy as np
import pandas as pd

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.correlations import correlate, is_constant, naive_tests
from xling.analysis.inference.intervals import (
    MIN_PAIRS,
    defined_range,
    draw_languages,
    leave_one_out,
    percentile_interval,
    resampled_correlations,
)
from xling.analysis.inference.mixed_models import control_design, remove_controls, two_way_design
from xling.analysis.inference.permuting import permute_associations
from xling.analysis.inference.qap import MIN_LANGUAGES
from xling.analysis.inputs.measurements import Resampling

NO_SQUARE = f"no complete square of at least {MIN_LANGUAGES} languages to permute"
TOO_FEW = f"fewer than {MIN_LANGUAGES} languages to permute"
CONSTANT = "a side is constant within the complete square that is permuted"


def infer_associations(arrays: PairArrays, permuted: PairArrays | None, resampling: Resampling) -> pd.DataFrame:
    """Estimate and test every predictor x outcome.

    Args:
        arrays: all observed cells; estimates, intervals and naive p-values come from them.
        permuted: the cells that are relabelled: `arrays` itself for distances, the complete square for two measured
            quantities, None where there is no such square.
        resampling: numbers of draws and the seed.

    Returns:
        `outcome`, `predictor`, `layer_label` and all columns of :data:`xling.analysis.schema.CORRELATIONS` that are
        numbers, and `reason`; rows ordered by outcome, then predictor. A family (max-T, Benjamini-Hochberg) is all rows
        of one `outcome`.
    """
    statistics = _estimate(arrays) | _resample(arrays, resampling) | permute_associations(arrays, permuted, resampling)
    rows = []
    for m, (outcome, of_outcome) in enumerate(arrays.outcome_labels):
        for k, (predictor, of_predictor) in enumerate(arrays.predictor_labels):
            labels = {"outcome": outcome, "predictor": predictor, "layer_label": of_predictor or of_outcome}
            row = {name: values[k, m] for name, values in statistics.items()}
            why = _explain(arrays.cell_predictors[k], arrays.outcomes[m], row, permuted, len(arrays.controls) > 0)
            rows.append(labels | row | {"reason": why})
    return pd.DataFrame(rows)


def _estimate(arrays: PairArrays) -> dict[str, np.ndarray]:
    """Point estimates and naive p-values, each ``[n_predictors, n_outcomes]``."""
    x, y = arrays.cell_predictors, arrays.outcomes
    both = np.isfinite(x)[:, None] & np.isfinite(y)[None]  # [n_predictors, n_outcomes, n_cells]
    naive = [[naive_tests(a, b) for b in y] for a in x]
    estimates = {name: _each(naive, name) for name in ("p_pearson", "p_spearman")}
    return estimates | {
        "n_pairs": both.sum(axis=-1),
        "n_sources": _count_languages(both, arrays.sources),
        "n_targets": _count_languages(both, arrays.targets),
        "pearson_r": correlate(x, y),
        "spearman_rho": correlate(x, y, ranked=True),
        "demeaned_r": correlate(x, y, two_way_design(*arrays.cells)),
        "partial_r": _partial(arrays),
    }


def _each(table: list[list[dict]], name: str) -> np.ndarray:
    return np.array([[cell[name] for cell in row] for row in table]).reshape(len(table), -1)


def _count_languages(both: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return sum(both[..., labels == label].any(axis=-1).astype(int) for label in np.unique(labels))


def _partial(arrays: PairArrays) -> np.ndarray:
    if not len(arrays.controls):
        return np.full((len(arrays.predictors), len(arrays.outcomes)), np.nan)
    residuals = np.array([remove_controls(matrix, arrays.controls) for matrix in arrays.predictors])
    x = residuals.reshape(-1, *arrays.predictors.shape[1:])[:, arrays.sources, arrays.targets]
    return correlate(x, arrays.outcomes, control_design(arrays.controls, *arrays.cells))


def _resample(arrays: PairArrays, resampling: Resampling) -> dict[str, np.ndarray]:
    data = (arrays.cell_predictors, arrays.outcomes, *arrays.cells)
    counts = draw_languages(*arrays.cells, resampling.bootstraps, resampling.seed)
    ci_low, ci_high = percentile_interval(resampled_correlations(*data, counts))
    loo_low, loo_high = defined_range(resampled_correlations(*data, leave_one_out(*arrays.cells)))
    return {"ci_low": ci_low, "ci_high": ci_high, "loo_low": loo_low, "loo_high": loo_high}


def _explain(x: np.ndarray, y: np.ndarray, row: dict, permuted: PairArrays | None, controlled: bool) -> str:
    """Say why numbers of a row are NaN; the first cause that explains all of them, else each by itself."""
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < MIN_PAIRS:
        return f"{both.sum()} pairs have both values, at least {MIN_PAIRS} are needed"
    for side, values in (("predictor", x), ("outcome", y)):
        if is_constant(values[both]):
            return f"the {side} is constant over these pairs"
    causes = {
        "p_qap_pearson": NO_SQUARE if permuted is None else TOO_FEW if row["n_permuted"] < MIN_LANGUAGES else CONSTANT,
        "ci_low": "fewer than half of the bootstrap draws define a correlation",
        "demeaned_r": "source and target effects leave nothing to correlate",
    }
    causes |= {"partial_r": "the controls leave nothing to correlate"} if controlled else {}
    return "; ".join(text for name, text in causes.items() if np.isnan(row[name]))
