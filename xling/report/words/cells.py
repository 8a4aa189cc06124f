"""Turns tables into what a page shows: headings in words, and numbers as a paper prints them."""

from dataclasses import dataclass

import pandas as pd

from xling.report.words import numbers

HEADINGS = {
    "layer_label": "layer",
    "n_pairs": "n pairs",
    "pearson_r": "r raw",
    "spearman_rho": "ρ",
    "ci_low": "95 % CI low",
    "ci_high": "95 % CI high",
    "p_qap": "p QAP",
    "p_qap_pearson": "p QAP (raw)",
    "p_max_t_pearson": "p family-wise (raw)",
    "p_qap_spearman": "p QAP (ρ)",
    "p_max_t": "p family-wise",
    "p_bh": "p BH",
    "p_pearson": "p (r raw)",
    "p_spearman": "p (ρ)",
    "p_qap_demeaned": "p QAP (demeaned)",
    "p_qap_partial": "p QAP (partial)",
    "mae": "mean abs. error",
    "mae_baseline": "same, of the mean",
    "r2": "R²",
    "ndcg_at_3": "NDCG@3",
    "ndcg_at_3_random": "NDCG@3, random order",
    "demeaned_r": "r demeaned",
    "partial_r": "r partial",
    "pearson_stars": "stars (r)",
    "spearman_stars": "stars (ρ)",
    "source_language": "source",
    "target_language": "target",
}


@dataclass(frozen=True)
class Cell:
    """One cell of a table: the text that is shown, and the value that the column is sorted by (empty where missing)."""

    text: str
    key: str


def heading(column: str) -> str:
    """Head a table's column in words.

    >>> heading("spearman_rho"), heading("n_reference_sets")
    ('ρ', 'n reference sets')
    """
    return HEADINGS.get(column, column.replace("_", " "))


def column_classes(frame: pd.DataFrame) -> list[str]:
    """Give the CSS class of every column, by which numbers are set flush right."""
    return ["number" if pd.api.types.is_numeric_dtype(frame[column]) else "text" for column in frame]


def table_rows(frame: pd.DataFrame) -> list[list[Cell]]:
    """Turn a frame into cells; p-values below .001 are printed as such."""
    p_columns = {column for column in frame if column.startswith("p_")}
    return [
        [_cell(value, is_p=column in p_columns) for column, value in zip(frame.columns, row, strict=True)]
        for row in frame.itertuples(index=False, name=None)
    ]


def _cell(value, is_p: bool) -> Cell:
    is_number = not isinstance(value, str | bool | list | tuple) and not numbers.is_missing(value)
    text = "< .001" if is_p and is_number and value < 0.001 else numbers.cell(value)
    return Cell(text, repr(float(value)) if is_number else "" if numbers.is_missing(value) else text)
