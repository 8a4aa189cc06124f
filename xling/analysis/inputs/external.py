"""Reads scores measured elsewhere, from a CSV with one row per source and target, as if it were a study."""

from pathlib import Path

import pandas as pd
from pandas.errors import EmptyDataError, ParserError

from xling.analysis.inputs.columns import name_columns
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.runs.tables import TRANSFER

DEFAULTS = {
    "study": "external",
    "strategy": "none",
    "seed": "0",
    "epoch": "0",
    "step": "0",
    "n_examples": "",
    "metric": "score",
    "reason": "",
}
"""Values, as text, of the columns that a table of scores may lack."""


def read_transfer(path: Path | str, swap: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """Read scores from a CSV.

    Args:
        path: columns source_language, target_language, and score or a metric's name (fractions, or percentages), or what
            :mod:`~xling.analysis.inputs.columns` knows them by; optionally metric (name of the score), seed, strategy and
            n_examples. Rows with S = T give the in-language score.
        swap: take the source's column for the target's and the reverse.

    Returns:
        Columns of :data:`xling.runs.tables.TRANSFER` and sentences on what was read differently from how it stands.

    Raises:
        MissingFileError: there is no such file.
        CorruptArtefactError: it is not a CSV in UTF-8.
        XlingValueError: a column is missing, no row is left, or a value is no fraction.
    """
    table = _read_text(Path(path))
    table, told = name_columns(table, swap)
    _check_languages(table)
    for column, value in DEFAULTS.items():
        table[column] = table.get(column, value)
    for column in ("seed", "epoch", "step"):
        table[column] = _numbers(table, column).astype(int)
    score, sentences = _as_fractions(_numbers(table, "score"))
    table = table.assign(score=score, n_examples=_numbers(table, "n_examples"))
    return table.assign(is_in_language=table["source_language"] == table["target_language"])[
        list(TRANSFER)
    ], told + sentences


def _check_languages(table: pd.DataFrame) -> None:
    for column in ("source_language", "target_language"):
        blank = table.index[table[column].str.strip() == ""]
        if len(blank):
            raise XlingValueError(
                f"expected a language in column {column!r} of transfer_csv, found none in data row {blank[0] + 1}"
            )


def _read_text(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise MissingFileError(f"expected a CSV of scores at {path}, found none; check transfer_csv=")
    try:
        # as text: a language code may be 'na' or 'nan', which pandas would take for missing
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (UnicodeDecodeError, ParserError, EmptyDataError) as error:
        raise CorruptArtefactError(f"expected a CSV in UTF-8 at {path}, found something else ({error})") from error
    if table.empty:
        raise XlingValueError(f"expected rows of scores in {path}, found a header alone")
    return table


def _numbers(table: pd.DataFrame, column: str) -> pd.Series:
    values = pd.to_numeric(table[column].replace("", "nan"), errors="coerce")
    wrong = table.loc[values.isna() & ~table[column].str.lower().isin(["", "nan", "na"]), column]
    if len(wrong):
        raise XlingValueError(
            f"column {column!r} of transfer_csv needs numbers, found {wrong.iloc[0]!r} in data row {wrong.index[0] + 1}"
        )
    return values


def _as_fractions(score: pd.Series) -> tuple[pd.Series, list[str]]:
    low, high = score.min(), score.max()
    if low < 0 or high > 100:
        raise XlingValueError(f"scores must lie in 0..1, or in 0..100 as percentages; found {low:g} to {high:g}")
    fractions = ((score > 0) & (score < 1)).sum()
    if high > 1 and 2 * fractions > ((score > 0).sum()):
        raise XlingValueError(
            f"expected all scores as fractions, or all as percentages; {fractions} of {int(score.notna().sum())} lie between 0 "
            f"and 1, and the largest is {high:g}; bring them to one scale"
        )
    if high > 1:
        return score / 100, [f"Scores up to {high:g} were read as percentages and divided by 100."]
    return score, []
