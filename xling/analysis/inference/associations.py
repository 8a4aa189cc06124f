"""Computes every statistic of one analysis at once: a row of ``correlations`` per predictor and outcome."""

import numpy as np
import pandas as pd

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.correlations import correlate, is_constant, naive_tests
from xling.analysis.inference.demeaned import correlate_demeaned, leaves_pairs
from xling.analysis.inference.influence import defined_range, leave_one_out, name_carriers
from xling.analysis.inference.mixed_models import control_design, remove_controls
from xling.analysis.inference.permutations import MIN_ARRANGEMENTS
from xling.analysis.inference.permuting import CORRECTED, permute_associations
from xling.analysis.inference.power import SMALL
from xling.analysis.inputs.measurements import Resampling

MIN_PAIRS = 3
"""Two pairs always correlate by 1 or -1."""

DEMEANED, RAW = "demeaned", "pearson"
"""Values of the column `main`: which coefficient is the main one, and the ending of its columns."""

NO_PART = "no part of the design is complete, so there is nothing to relabel"
TOO_FEW = (
    f"fewer than {MIN_ARRANGEMENTS} arrangements of the languages that the design allows: no p-value could reach .05"
)
CONSTANT = "a side is constant within the complete part of the design that is permuted"
ONE_SIDED = "source and target effects leave nothing to correlate"


def infer_associations(arrays: PairArrays, permuted: PairArrays | None, resampling: Resampling) -> pd.DataFrame:
    """Estimate and test every predictor x outcome.

    The main coefficient is the one after source and target effects are removed. Where the design leaves nothing of the
    pairs then (one source), it is Pearson's r, and `main` says so; one predictor that is all source and target effect has
    no main coefficient instead of another one than its neighbours.

    Args:
        arrays: all observed cells; estimates and naive p-values come from them.
        permuted: the cells that are relabelled: `arrays` itself for distances, the complete part for two measured
            quantities, None where there is no such part.
        resampling: number of draws and the seed.

    Returns:
        `outcome`, `predictor`, `layer_label` and all columns of :data:`xling.analysis.schema.CORRELATIONS` that are
        numbers, `main`, `carried_by` and `reason`; rows ordered by outcome, then predictor. A family (max-T,
        Benjamini-Hochberg) is all rows of one `outcome`.
    """
    main = DEMEANED if leaves_pairs(*arrays.cells) else RAW
    statistics = _estimate(arrays) | permute_associations(arrays, permuted, resampling, main)
    statistics |= _main_columns(statistics, main)
    statistics |= _influence(arrays, main, statistics["r"])
    rows = []
    for m, (outcome, of_outcome) in enumerate(arrays.outcome_labels):
        for k, (predictor, of_predictor) in enumerate(arrays.predictor_labels):
            labels = {"outcome": outcome, "predictor": predictor, "layer_label": of_predictor or of_outcome}
            row = {name: values[k, m] for name, values in statistics.items()}
            why = _explain(arrays.cell_predictors[k], arrays.outcomes[m], row, permuted, len(arrays.controls) > 0)
            rows.append(labels | {"main": main} | row | {"reason": why})
    return pd.DataFrame(rows)


def _main_columns(statistics: dict[str, np.ndarray], main: str) -> dict[str, np.ndarray]:
    """Copy the main coefficient and what belongs to it under the names that readers look at first."""
    r = statistics["demeaned_r" if main == DEMEANED else "pearson_r"]
    columns = {"r": r, "p_qap": statistics[f"p_qap_{main}"]} | {
        name: statistics[f"{name}_{main}"] for name in CORRECTED
    }
    return columns | {"is_small": (columns["ci_low"] > -SMALL) & (columns["ci_high"] < SMALL)}


def _influence(arrays: PairArrays, main: str, observed: np.ndarray) -> dict[str, np.ndarray]:
    left_out, without = leave_one_out(arrays.cell_predictors, arrays.outcomes, *arrays.cells, main == DEMEANED)
    low, high = defined_range(without)
    carriers = name_carriers(observed, left_out, without, arrays.languages)
    return {"loo_low": low, "loo_high": high, "carried_by": carriers}


def _estimate(arrays: PairArrays) -> dict[str, np.ndarray]:
    """Compute point estimates and naive p-values, each ``[n_predictors, n_outcomes]``."""
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
        "demeaned_r": correlate_demeaned(x, y, *arrays.cells),
        "partial_r": _partial(arrays),
    }


def _each(table: list[list[dict]], name: str) -> np.ndarray:
    return np.array([[cell[name] for cell in row] for row in table]).reshape(len(table), -1)


def _count_languages(both: np.ndarray, labels: np.ndarray) -> np.ndarray:
    occurs = [both[..., labels == label].any(axis=-1) for label in np.unique(labels)]
    return np.sum(occurs, axis=0, dtype=int)


def _partial(arrays: PairArrays) -> np.ndarray:
    if not len(arrays.controls):
        return np.full((len(arrays.predictors), len(arrays.outcomes)), np.nan)
    residuals = np.array([remove_controls(matrix, arrays.controls) for matrix in arrays.predictors])
    x = residuals.reshape(-1, *arrays.predictors.shape[1:])[:, arrays.sources, arrays.targets]
    return correlate(x, arrays.outcomes, control_design(arrays.controls, *arrays.cells))


def _explain(x: np.ndarray, y: np.ndarray, row: dict, permuted: PairArrays | None, controlled: bool) -> str:
    """Say why numbers of a row are NaN; the first cause that explains all of them, else each by itself."""
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < MIN_PAIRS:
        return f"{both.sum()} pairs have both values, at least {MIN_PAIRS} are needed"
    for side, values in (("predictor", x), ("outcome", y)):
        if is_constant(values[both]):
            return f"the {side} is constant over these pairs"
    arrangements = NO_PART if permuted is None else TOO_FEW if row["n_permutations"] == 0 else CONSTANT
    causes = {"p_qap_pearson": arrangements, "demeaned_r": ONE_SIDED}
    causes |= {"partial_r": "the controls leave nothing to correlate"} if controlled else {}
    return "; ".join(text for name, text in causes.items() if np.isnan(row[name]))
