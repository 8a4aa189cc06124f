"""Suggests which layers to freeze, by the paper's rule: those whose impact falls significantly with distance.

The file is what ``freeze=guided freeze.suggestion=FILE freeze.distance=KIND`` reads::

    {"distances": {"genetic": {"layers": [1, 2, 6], "reason": ""}, ...}, "default_distance": "genetic",
     "alpha": 0.05, "correction": "max_t", "study": "..."}

An empty list of layers has its reason. Deviations: the paper took uncorrected p-values over dependent pairs, and raw
correlations; here it is the main coefficient of ``correlations``, freed of source and target effects where the design allows.
"""

from pathlib import Path

import pandas as pd

from xling.analysis.schema import IMPACT_VS_DISTANCE
from xling.errors import check_known
from xling.storage.atomic import write_json

ALPHA = 0.05
DEFAULT_DISTANCE = "genetic"
CORRECTIONS = {"max_t": "p_max_t", "bh": "p_bh"}
"""Name in the file -> column of :data:`xling.analysis.schema.CORRELATIONS`."""


def suggest_layers(tests: pd.DataFrame, p_column: str, alpha: float = ALPHA) -> dict:
    """Apply the rule to the tests of one distance.

    Args:
        tests: rows of ``correlations`` with `layer`, `r` and the column of corrected p-values.
        p_column: that column.
        alpha: level, 0..1.

    Returns:
        ``layers``: ascending layer numbers; ``reason``: why there is none, else empty.

    >>> tests = pd.DataFrame({"layer": [1, 2, 3], "r": [-0.5, 0.6, -0.1], "p_bh": [0.01, 0.01, 0.4]})
    >>> suggest_layers(tests, "p_bh")
    {'layers': [1], 'reason': ''}
    """
    tests = tests[tests["layer"].notna()]  # the mean over layers cannot be frozen
    significant = tests[p_column].le(alpha)
    layers = sorted(int(layer) for layer in tests.loc[significant & tests["r"].lt(0), "layer"])
    return {"layers": layers, "reason": "" if layers else _why_none(tests, significant, p_column, alpha)}


def _why_none(tests: pd.DataFrame, significant: pd.Series, p_column: str, alpha: float) -> str:
    if not tests[p_column].notna().any():
        recorded = sorted({str(reason) for reason in tests["reason"] if reason}) if "reason" in tests else []
        return "no layer has a p-value" + "".join(f"; {reason}" for reason in recorded[:3])
    if significant.any():
        return f"impact rises with distance at every layer significant at {alpha}; the rule asks for a fall"
    smallest = tests[p_column].min()
    return f"no layer's impact correlates with distance at {alpha} after correction (smallest p = {smallest:.3g})"


def make_suggestion(correlations: pd.DataFrame, study: str, correction: str = "max_t", alpha: float = ALPHA) -> dict:
    """Gather the suggestion of every distance of a study.

    Args:
        correlations: columns of :data:`xling.analysis.schema.CORRELATIONS`.
        study: name of the study.
        correction: key of `CORRECTIONS`.
        alpha: level, 0..1.

    Returns:
        What the file holds. The default distance is genetic, tested or not: no other one is taken silently.

    Raises:
        XlingValueError: unknown correction.
    """
    check_known("correction", correction, CORRECTIONS)
    tests = correlations[correlations["analysis"] == IMPACT_VS_DISTANCE]
    by_kind = tests.groupby("predictor", sort=False)
    distances = {kind: suggest_layers(rows, CORRECTIONS[correction], alpha) for kind, rows in by_kind}
    if DEFAULT_DISTANCE not in distances:
        distances[DEFAULT_DISTANCE] = {"layers": [], "reason": "impact was not tested against genetic distance"}
    facts = {"default_distance": DEFAULT_DISTANCE, "alpha": alpha, "correction": correction, "study": study}
    return {"distances": distances} | facts


def save_suggestion(path: Path | str, suggestion: dict) -> None:
    """Write the file, all or nothing.

    Args:
        path: path of the JSON file.
        suggestion: the suggestion, from :func:`make_suggestion`.

    Raises:
        UnreachableError: the file cannot be written.
    """
    write_json(path, suggestion)
