"""Looks up tables and rows of an analysis that several sections need."""

import pandas as pd

from xling.analysis.schema import Analysis
from xling.report.words import frames, phrases


def has_rows(analysis: Analysis, name: str) -> bool:
    """Say whether the analysis has a table and the table has rows."""
    return name in analysis.tables and not analysis.tables[name].empty


def main_strategy(analysis: Analysis) -> str:
    """Name the strategy of the main results."""
    return str(analysis.facts.get("strategy") or frames.main_strategy(analysis.tables["pairs"]))


def main_pairs(analysis: Analysis) -> pd.DataFrame:
    """Take the rows of ``pairs`` that belong to the main strategy."""
    return frames.one_strategy(analysis.tables["pairs"], main_strategy(analysis))


def metric_name(analysis: Analysis) -> str:
    """Name the study's transfer metric in words, e.g. ``accuracy``."""
    return frames.metric_name(analysis.tables["pairs"]) if has_rows(analysis, "pairs") else "score"


def has_impact(analysis: Analysis) -> bool:
    """Say whether any impact was measured between different languages."""
    return has_rows(analysis, "pairs") and bool(frames.cross_language(main_pairs(analysis))["impact"].notna().any())


def tests_of(analysis: Analysis, name: str) -> pd.DataFrame:
    """Take the rows of one correlation analysis; an empty frame where there are none."""
    if not has_rows(analysis, "correlations"):
        return pd.DataFrame()
    return frames.select_analysis(analysis.tables["correlations"], name)


def variance_of(analysis: Analysis, outcome: str) -> str:
    """Say in a sentence what the variance of ``score`` or ``impact`` consists of; empty where it was not computed."""
    name = metric_name(analysis) if outcome == "score" else f"mean {outcome}"
    return phrases.describe_variance(analysis.tables.get("variance_shares", pd.DataFrame()), outcome, name)


def drop_blank_columns(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Keep those of `columns` that have a value in some row."""
    return frame[[name for name in columns if name in frame and not _is_blank(frame[name])]]


def _is_blank(column: pd.Series) -> bool:
    return bool((column.isna() | (column.astype(str) == "")).all())
