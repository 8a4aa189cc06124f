"""Computes the paper's correlations by the rules of its public scripts (arXiv:2305.02151), for comparison line by line.

Pooled Pearson and Spearman with scipy's uncorrected p-values, the biased estimator of impact, layers 1..n and their
mean; impact vs distance over S != T, the two analyses with transfer with S = T kept (where the distance is 0). Default
mode differs in all of these; ``docs/statistics.md`` says why.
"""

import pandas as pd

from xling.analysis.inference.correlations import naive_tests
from xling.analysis.schema import (
    CORRELATIONS_PAPER,
    IMPACT_VS_DISTANCE,
    IMPACT_VS_TRANSFER,
    MEAN_LABEL,
    TRANSFER_VS_DISTANCE,
)

IMPACT = "impact_biased"


def compute_paper_correlations(pairs: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
    """Compute the three analyses of the paper.

    Args:
        pairs: one strategy's rows of the pair table.
        kinds: distance columns to use.

    Returns:
        Columns of :data:`xling.analysis.schema.CORRELATIONS_PAPER`; analyses without data are absent.
    """
    cells = pairs[pairs["layer_label"] == MEAN_LABEL]
    layers = {label: rows for label, rows in pairs.groupby("layer_label") if label != "00" and _has(rows, IMPACT)}
    rows = []
    for label, layer in layers.items():
        between = layer[~layer["is_in_language"]]
        rows += [_row(IMPACT_VS_DISTANCE, kind, label, between, kind, IMPACT) for kind in kinds]
    if _has(cells, "score"):
        rows += [_row(IMPACT_VS_TRANSFER, "impact", label, layer, IMPACT, "score") for label, layer in layers.items()]
        rows += [_row(TRANSFER_VS_DISTANCE, kind, "", cells, kind, "score") for kind in kinds]
    table = pd.DataFrame(rows, columns=list(CORRELATIONS_PAPER))
    return table.astype({"layer": "Int64"})


def stars(p_value: float) -> str:
    """Mark a p-value as the paper does.

    >>> [stars(p) for p in (0.01, 0.05, 0.051, float("nan"))]
    ['**', '*', '', '']
    """
    return "**" if p_value <= 0.01 else "*" if p_value <= 0.05 else ""


def _has(frame: pd.DataFrame, column: str) -> bool:
    return bool(frame[column].notna().any())


def _row(analysis: str, predictor: str, label: str, cells: pd.DataFrame, x: str, y: str) -> dict:
    tests = naive_tests(cells[x].to_numpy(dtype=float), cells[y].to_numpy(dtype=float))
    undefined = tests["pearson_r"] != tests["pearson_r"]
    return tests | {
        "analysis": analysis,
        "predictor": predictor,
        "layer": int(label) if label.isdigit() else pd.NA,
        "layer_label": label,
        "n_pairs": int((cells[x].notna() & cells[y].notna()).sum()),
        "pearson_stars": stars(tests["p_pearson"]),
        "spearman_stars": stars(tests["p_spearman"]),
        "reason": "fewer than 3 pairs, or a constant side" if undefined else "",
    }
