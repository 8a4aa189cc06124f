"""Selects and orders rows of the tidy tables of :mod:`xling.analysis.schema`, for figures and sentences alike."""

from collections.abc import Iterable

import pandas as pd

from xling.analysis.schema import KINDS, MEAN_LABEL, distance_kinds

COEFFICIENT = {"main": "r", "pearson": "pearson_r", "spearman": "spearman_rho"}


def metric_name(pairs: pd.DataFrame) -> str:
    """Name the transfer metric of a study in words.

    >>> metric_name(pd.DataFrame({"metric": ["macro_f1"]}))
    'macro F1'
    """
    return str(pairs["metric"].iloc[0]).replace("_", " ").replace("f1", "F1")


def main_kind(correlations: pd.DataFrame) -> str:
    """Choose the coefficient to show first, which is the main one; the paper's table has only Pearson's."""
    return "main" if "main" in correlations else "pearson"


def capitalised(text: str) -> str:
    """Begin with a capital, leaving the rest.

    >>> capitalised("macro F1")
    'Macro F1'
    """
    return text[:1].upper() + text[1:]


def one_strategy(pairs: pd.DataFrame, strategy: str | None = None) -> pd.DataFrame:
    """Keep the rows of one freezing strategy: the one asked for, else ``none``, else the first by name."""
    if "strategy" not in pairs:
        return pairs
    return pairs[pairs["strategy"] == (strategy or main_strategy(pairs))]


def main_strategy(pairs: pd.DataFrame) -> str:
    """Name the strategy that the figures of a report show: ``none`` where it was run, else the first by name."""
    names = sorted(pairs["strategy"].dropna().unique())
    return "none" if "none" in names or not names else names[0]


def layer_mean(pairs: pd.DataFrame) -> pd.DataFrame:
    """Keep one row per pair: the mean over layers."""
    return pairs[pairs["layer_label"] == MEAN_LABEL]


def single_layers(pairs: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows of single layers, in order."""
    return pairs[pairs["layer"].notna()].sort_values("layer", kind="stable")


def cross_language(pairs: pd.DataFrame) -> pd.DataFrame:
    """Keep the pairs whose source and target language differ."""
    return pairs[~pairs["is_in_language"].astype(bool)]


def select_analysis(correlations: pd.DataFrame, name: str) -> pd.DataFrame:
    """Keep the rows of one of the three correlation analyses."""
    return correlations[correlations["analysis"] == name]


def distance_order(names: Iterable[str]) -> list[str]:
    """Order distances: URIEL's six first, then the rest by name.

    >>> distance_order(["vocabulary", "syntactic", "genetic"])
    ['genetic', 'syntactic', 'vocabulary']
    """
    present = set(names)
    return [kind for kind in KINDS if kind in present] + sorted(present - set(KINDS))


def measured_distances(pairs: pd.DataFrame) -> list[str]:
    """List the distances that `pairs` holds at least one value of, in order."""
    return distance_order(kind for kind in distance_kinds(pairs) if pairs[kind].notna().any())


def layer_order(rows: pd.DataFrame) -> list[str]:
    """Order layer labels by layer, the mean over layers last."""
    labels = rows.drop_duplicates("layer_label").sort_values("layer", na_position="last", kind="stable")
    return labels["layer_label"].astype(str).tolist()


def pivot(
    rows: pd.DataFrame, index: str, columns: str, values: str, index_order: list[str], column_order: list[str]
) -> pd.DataFrame:
    """Spread tidy rows into a matrix in a given order; a combination that has no row becomes NaN."""
    first = rows.drop_duplicates([index, columns])
    return first.pivot(index=index, columns=columns, values=values).reindex(index=index_order, columns=column_order)
