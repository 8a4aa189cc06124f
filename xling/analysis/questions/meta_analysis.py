"""Pools one coefficient over several studies or matrices by random effects, and says how far they differ.

Coefficients are pooled as Fisher's z, each with the standard error that its interval has; the variance between studies is
DerSimonian and Laird's (1986), the interval Hartung and Knapp's (2001) with the correction never making it shorter (Röver, Knapp
& Friede 2015, BMC Med. Res. Methodol. 15). Studies that share languages, data or encoder are not independent, so the pooled
interval is too short by what they share.

The interval and the p-value answer two questions. The interval is one of the mean over *further* studies, of which two or three
tell little: where there is nothing to find it excludes 0 in hardly any comparison. The p-value is one of no association in *these*
studies: their own permutation p-values with the signs of their coefficients, combined as z by Stouffer's method and weighted by
precision (Lipták 1958; Whitlock 2005, J. Evol. Biol. 18). It keeps its level, whatever the number of studies and of their sources
(docs/statistics.md), and a small one beside an interval over 0 says that something is there, not that other studies will find it.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from xling.analysis.inference.inversion import ALPHA

POOLED = {
    "analysis": "impact_vs_distance, impact_vs_transfer or transfer_vs_distance",
    "predictor": "distance kind, or 'impact'",
    "row": "as in comparison_maps; '' for analyses without layer",
    "n_studies": "studies with a main coefficient and an interval there",
    "n_significant": "of these, with a family-wise p-value of at most .05",
    "r_low": "smallest of their main coefficients",
    "r_high": "largest of them",
    "r": "coefficient pooled by random effects",
    "ci_low": "lower end of its 95 % interval",
    "ci_high": "upper end of it",
    "p_value": "two-sided p-value of no association in these studies (their own, combined), not in further ones as the interval",
    "tau": "standard deviation between studies, in Fisher's z",
    "i_squared": "share of the variance of the coefficients that lies between studies, 0..1",
    "reason": "why a number is NaN, else empty",
}
"""Columns of ``comparison_pooled``."""

_LARGEST = 0.999
"""Fisher's z of 1 is infinite: a coefficient or an end of an interval counts as no larger than this."""

_POOLED_FROM = ("r", "ci_low", "ci_high", "p_qap")


def pool_correlations(r: np.ndarray, low: np.ndarray, high: np.ndarray, p_values: np.ndarray) -> dict[str, float]:
    """Pool correlations by random effects, and combine their p-values.

    Args:
        r: float64 ``[n_studies]``, at least two.
        low: lower ends of their 95 % intervals.
        high: upper ends.
        p_values: their two-sided p-values, above 0 and at most 1.

    Returns:
        r, ci_low, ci_high, p_value, tau, i_squared, see `POOLED`.
    """
    z, ends = np.arctanh(np.clip(r, -_LARGEST, _LARGEST)), np.arctanh(np.clip([low, high], -_LARGEST, _LARGEST))
    variances = ((ends[1] - ends[0]) / (2 * stats.norm.ppf(1 - ALPHA / 2))) ** 2
    n, fixed = len(z), 1 / variances
    spread = float((fixed * (z - (fixed @ z) / fixed.sum()) ** 2).sum())
    between = max(0.0, (spread - (n - 1)) / (fixed.sum() - (fixed**2).sum() / fixed.sum()))
    weights = 1 / (variances + between)
    mean = float(weights @ z / weights.sum())
    inflation = max(1.0, float((weights * (z - mean) ** 2).sum()) / (n - 1))
    error = np.sqrt(inflation / weights.sum())
    half = stats.t.ppf(1 - ALPHA / 2, n - 1) * error
    signed = np.sign(z) * stats.norm.isf(np.asarray(p_values) / 2)
    return {
        "r": float(np.tanh(mean)),
        "ci_low": float(np.tanh(mean - half)),
        "ci_high": float(np.tanh(mean + half)),
        "p_value": float(2 * stats.norm.sf(abs(np.sqrt(fixed) @ signed) / np.sqrt(fixed.sum()))),
        "tau": float(np.sqrt(between)),
        "i_squared": max(0.0, (spread - (n - 1)) / spread) if spread > 0 else 0.0,
    }


def pool_studies(tests: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Pool the main coefficients of studies, cell by cell.

    Args:
        tests: study -> rows of ``correlations`` with a column `row` that matches their layers.

    Returns:
        Columns of `POOLED`, a row per analysis, predictor and row that several studies have.
    """
    together = pd.concat([table.assign(study=name) for name, table in tests.items()], ignore_index=True)
    rows = []
    for key, cell in together.groupby(["analysis", "predictor", "row"], sort=False):
        known = cell.dropna(subset=list(_POOLED_FROM))
        row = dict(zip(("analysis", "predictor", "row"), key, strict=True)) | {"n_studies": len(known)}
        row |= {"n_significant": int((known["p_max_t"] <= ALPHA).sum())}
        row |= {"r_low": known["r"].min(), "r_high": known["r"].max(), "reason": _why_not(known)}
        if not row["reason"]:
            row |= pool_correlations(*(known[name].to_numpy(float) for name in _POOLED_FROM))
        rows.append(row)
    return pd.DataFrame(rows, columns=list(POOLED))


def _why_not(known: pd.DataFrame) -> str:
    if len(known) < 2:
        return f"{len(known)} of the studies has a coefficient with an interval; at least 2 are needed"
    if known["main"].nunique() > 1:
        return "the main coefficient is raw in some studies and freed of source and target effects in others"
    return ""
