"""Joins tables of many runs, one below the other, into one frame."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
from pandas.api.types import union_categoricals

Table: TypeAlias = pa.Table | pd.DataFrame
"""A run's table. It stays an Arrow table, which is cheap to join to others, as long as nothing in it has to be changed."""


def as_frame(table: Table) -> pd.DataFrame:
    """Convert a table to the frame that pandas would read from its file."""
    return table.to_pandas() if isinstance(table, pa.Table) else table


def concat_tables(tables: Sequence[Table]) -> pd.DataFrame:
    """Put tables below each other, in their order; empty ones are left out unless all are.

    Neighbours with the same columns become one Arrow table first, so that hundreds of runs cost one conversion and not hundreds;
    the result is that of ``pd.concat`` of all of them.
    """
    filled = [table for table in tables if len(table)]
    if not filled:
        return as_frame(tables[0]).copy()  # runs may share one empty table
    groups = (list(group) for _, group in groupby(filled, key=_schema_of))
    frames = [as_frame(pa.concat_tables(group) if len(group) > 1 else group[0]) for group in groups]
    return frames[0].reset_index(drop=True) if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _schema_of(table: Table) -> Any:
    """Give the schema that tables must share to be joined; a frame, or a table with categories, is joined to no other."""
    if isinstance(table, pa.Table) and not any(map(pa.types.is_dictionary, table.schema.types)):
        return table.schema.remove_metadata()
    return object()


def concat_categories(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames below each other; columns that are categorical in all of them stay so, with the categories of all."""
    shared = [
        name
        for name in frames[0].columns
        if all(name in frame and isinstance(frame[name].dtype, pd.CategoricalDtype) for frame in frames)
    ]
    joined = {name: union_categoricals([frame[name] for frame in frames]) for name in shared}
    order = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    rest = pd.concat([frame.drop(columns=shared) for frame in frames], ignore_index=True)
    return rest.assign(**joined)[order]
