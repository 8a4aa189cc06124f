"""What examples have in common, whatever the task: ids and groups; and how a number or a part of them is chosen."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xling.errors import XlingValueError
from xling.storage.hashing import rows_fingerprint, sha256, stable_number

log = logging.getLogger(__name__)

IDS = ("example_id", "group_id")
"""Columns that every task's examples have: example_id, unique; group_id, examples that share one are not independent
(three hypotheses on one premise, two questions on one paragraph). Both int64, >= 0 and below 2**47."""


ROW = "row"
"""Column that sources may give: what an example is called in messages, by its file, line and the user's own id."""

_ID_BITS = 46


def stable_id(name: str) -> int:
    """Turn an example's name in its file into a number, the same on every machine and in every language.

    Whole numbers stay themselves; anything else is hashed to a number in 2**46 .. 2**47 - 1.

    >>> stable_id("17"), stable_id("n01001011") == stable_id("n01001011") >= 2**46
    (17, True)
    """
    if name.isascii() and name.isdigit() and int(name) < 1 << _ID_BITS:
        return int(name)
    return stable_number(name) % (1 << _ID_BITS) + (1 << _ID_BITS)


def place_of(where: Path | str, line: int | str, own_id: Any = None) -> str:
    """Call a row by its file, its line (or another place in it) and the user's own id; every message does it so.

    >>> place_of("dev.de.tsv", 17, "n01")
    "dev.de.tsv, line 17 (id 'n01')"
    """
    place = f"line {line}" if not isinstance(line, str) else line
    return (f"{where}, " if str(where) else "") + place + (f" (id {str(own_id)!r})" if own_id is not None else "")


def numbered(frame: pd.DataFrame, prefix: str = "", where: Path | str = "") -> pd.DataFrame:
    """Number the examples of a file: columns id and group, where there are, become :data:`IDS`.

    Args:
        frame: without an id, an example is named by its position, 1, 2, ...; without a group, it is one by itself. A column
            line, the number of its line (or another place, in words), becomes part of the column :data:`ROW`.
        prefix: goes before each name; ``""`` for parallel files, where a name means the same content in every language, and
            the language otherwise, so that no two languages seem to share an example.
        where: the file.
    """
    names = frame["id"] if "id" in frame else pd.Series(range(1, len(frame) + 1), index=frame.index)
    ids = {"example_id": names, "group_id": frame.get("group", names)}
    numbers: dict[str, list[Any]] = {
        column: [stable_id(f"{prefix}{name}") for name in values] for column, values in ids.items()
    }
    if "line" in frame:
        own = frame["id"] if "id" in frame else [None] * len(frame)
        numbers[ROW] = [place_of(where, line, own_id) for line, own_id in zip(frame["line"], own, strict=True)]
    return frame.drop(columns=["id", "group", "line"], errors="ignore").assign(**numbers)


def row_name(frame: pd.DataFrame, position: int) -> str:
    """What a message calls the example at `position`, counted from 0."""
    if ROW in frame:
        return str(frame[ROW].iloc[position])
    return f"example {frame['example_id'].iloc[position]}"


def check_examples(frame: pd.DataFrame, columns: Sequence[str], where: str) -> pd.DataFrame:
    """Return `frame` if it holds examples.

    Args:
        frame: examples.
        columns: that the task needs beside :data:`IDS`.
        where: what to call it in an error, e.g. ``dev.de``.

    Raises:
        XlingValueError: no rows, a missing column, or an id that occurs twice.
    """
    missing = [column for column in (*IDS, *columns) if column not in frame.columns]
    if missing:
        raise XlingValueError(
            f"{where}: expected columns {', '.join((*IDS, *columns))}, found no {', '.join(missing)}; add them, or feed "
            "another task with data.task"
        )
    if frame.empty:
        raise XlingValueError(f"{where}: expected at least one example, found none; check the split and the limits")
    is_second = frame["example_id"].duplicated().to_numpy()
    if is_second.any():
        second = int(is_second.argmax())
        first = int((frame["example_id"] == frame["example_id"].iloc[second]).to_numpy().argmax())
        raise XlingValueError(
            f"{where}: the id of {row_name(frame, first)} occurs twice, the second time in {row_name(frame, second)}; "
            "ids must be unique within a split"
        )
    return frame.reset_index(drop=True)


def without_unlabelled(frame: pd.DataFrame, task: Any, where: str) -> pd.DataFrame:
    """Leave out examples that have nothing to be scored by, and say how many.

    Args:
        frame: examples.
        task: one that has ``unlabelled(frame)``, True for each such example; of another task nothing is left out.
        where: what to call it in a message.
    """
    mark = getattr(task, "unlabelled", None)
    is_bare = np.zeros(len(frame), dtype=bool) if mark is None else np.asarray(mark(frame), dtype=bool)
    if is_bare.any():
        log.warning("%s: %d of %d examples have no label; they are left out", where, is_bare.sum(), len(frame))
    return frame[~is_bare].reset_index(drop=True)


def refuse_unlabelled(frame: pd.DataFrame, is_bare: np.ndarray, where: str, found: str, remedy: str = "") -> None:
    """Refuse a set of which examples have no label.

    Args:
        frame: examples.
        is_bare: True for each that has none, [n].
        where: what to call the set.
        found: what one lacks, in words, e.g. ``label``.
        remedy: what else may be done than leaving them out.

    Raises:
        XlingValueError: their number, and the first of them.
    """
    if not is_bare.any():
        return
    n, first = int(is_bare.sum()), row_name(frame, int(is_bare.argmax()))
    advice = "choose a split that has them" if n == len(frame) else "leave them out with data.drop_unlabelled=true"
    raise XlingValueError(
        f"{where}: expected {found} for every example, found none for {n} of {len(frame)}, the first of them {first}; "
        f"{advice}{remedy}"
    )


def limit_examples(frame: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """Keep at most `limit` rows, whole groups only, chosen by a hash of the group's id.

    The choice depends on ids and `seed` alone: every language of a parallel set keeps the same rows, files sorted by
    label do no harm, and a larger limit keeps what a smaller one kept. Rows stay in their order.

    Args:
        frame: examples as of :func:`check_examples`.
        limit: number of rows, or None for all.
        seed: another seed, another choice.

    Raises:
        XlingValueError: `limit` is below the rows of one group.
    """
    if limit is None or limit >= len(frame):
        return frame
    sizes = frame.groupby("group_id", sort=False).size()
    order = sorted(sizes.index, key=lambda group: sha256(f"{seed}/{group}"))
    kept = np.cumsum(sizes.loc[order].to_numpy()) <= limit
    if not kept.any():
        raise XlingValueError(
            f"a limit of {limit} rows holds not even one group of examples that belong together, such as those on one "
            f"premise ({sizes.iloc[0]} rows); choose a larger limit"
        )
    chosen = set(np.asarray(order)[kept].tolist())
    return frame[frame["group_id"].isin(chosen)].reset_index(drop=True)


def cut_part(frame: pd.DataFrame, start: float, end: float) -> pd.DataFrame:
    """Keep the groups whose hash lies in [start, end) of 0..1: disjoint parts of one file, alike in every language.

    Args:
        frame: with column group_id.
        start: 0..1.
        end: 0..1.
    """
    places = {group: _place(group) for group in frame["group_id"].unique()}
    place = frame["group_id"].map(places)
    return frame[(place >= start) & (place < end)].reset_index(drop=True)


def _place(group: int) -> float:
    return stable_number(f"part/{group}") / 2**64


def examples_fingerprint(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """Fingerprint ids, order and the task's columns (sha256)."""
    return rows_fingerprint(*(frame[column].tolist() for column in (*IDS, *columns)))
