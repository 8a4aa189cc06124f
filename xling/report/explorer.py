"""Collects what the page's explorer draws: every pair of languages with its distances, score and impact, and the tests on them."""

import json
from typing import Any

import numpy as np
import pandas as pd

from xling.analysis.schema import MEAN_LABEL, Analysis
from xling.report.words import frames
from xling.report.words.lookup import has_rows, main_pairs, metric_name

MOST_VALUES = 400_000
"""Largest number of values in the page; of a larger study the explorer shows only the mean over layers."""


def explorer_data(analysis: Analysis) -> dict[str, Any] | None:
    """Collect pairs S != T of the main strategy.

    Returns:
        ``pairs`` (source, target), ``values`` (name -> a number or null per pair: distances, score, transfer gap), ``impact``
        (layer label -> value, low and high per pair), ``labels`` (name -> words) and ``tests`` (``x|y|layer`` -> main coefficient,
        interval, family-wise p); None without a pair or anything to draw against another.
    """
    if not has_rows(analysis, "pairs"):
        return None
    rows = frames.cross_language(main_pairs(analysis))
    cells = rows[rows["layer_label"] == MEAN_LABEL].sort_values(["source_language", "target_language"])
    kinds = frames.measured_distances(cells)
    columns = [name for name in (*kinds, "score", "transfer_gap") if cells[name].notna().any()]
    impact = _impact(rows, cells)
    if len(columns) + bool(impact) < 2:
        return None
    labels = {kind: f"{kind} distance" for kind in kinds}
    labels |= {"score": metric_name(analysis), "transfer_gap": "transfer gap", "impact": "impact"}
    return {
        "pairs": cells[["source_language", "target_language"]].values.tolist(),
        "values": {name: _numbers(cells[name]) for name in columns},
        "impact": impact,
        "labels": {name: labels[name] for name in [*columns, *(["impact"] if impact else [])]},
        "tests": _tests(analysis.tables.get("correlations")),
    }


def _impact(rows: pd.DataFrame, cells: pd.DataFrame) -> dict[str, dict[str, list]]:
    pairs = pd.MultiIndex.from_frame(cells[["source_language", "target_language"]])
    labels = frames.layer_order(rows)
    if 3 * len(cells) * len(labels) > MOST_VALUES:
        labels = [MEAN_LABEL]
    found = {}
    for label in labels:
        own = rows[rows["layer_label"] == label].set_index(["source_language", "target_language"]).reindex(pairs)
        if own["impact"].notna().any():
            found[label] = {
                name: _numbers(own[column])
                for name, column in (("value", "impact"), ("low", "impact_low"), ("high", "impact_high"))
            }
    return found


def _numbers(values: pd.Series) -> list[float | None]:
    return [round(value, 5) if np.isfinite(value) else None for value in values.astype(float)]


def _tests(correlations: pd.DataFrame | None) -> dict[str, list]:
    if correlations is None:
        return {}
    outcome = correlations["analysis"].map({"impact_vs_distance": "impact"}).fillna("score")
    keys = correlations["predictor"] + "|" + outcome + "|" + correlations["layer_label"]
    columns = correlations[["r", "ci_low", "ci_high", "p_max_t"]].astype(float)
    return dict(zip(keys, map(_numbers, (row for _, row in columns.iterrows())), strict=True))


def as_json(data: dict[str, Any] | None) -> str:
    """Write data as text that can stand in a script element; empty without data."""
    return "" if data is None else json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
