"""Defines what examples of every task have in common: ids and groups, names in messages, how some of many are chosen."""

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
"""Columns that the examples of every task have. An example_id is unique. Examples of one group_id are not independent (three
hypotheses on one premise, two questions on one paragraph). Both are int64, at least 0 and below 2**47."""


ROW = "row"
"""Column that sources may give: the name of an example in messages, made of its file, its line and the user's own id."""

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
    """Name a row by its file, its line (or another place in it) and the user's own id, as every message does.

    >>> place_of("dev.de.tsv", 17, "n01")
    "dev.de.tsv, line 17 (id 'n01')"
    """
    place = f"line {line}" if not isinstance(line, str) else line
    return (f"{where}, " if str(where) else "") + place + (f" (id {str(own_id)!r})" if own_id is not None else "")


def numbered(frame: pd.DataFrame, prefix: str = "", where: Path | str = "") -> pd.DataFrame:
    """Number the examples of a file: the user's own ids and groups become the columns :data:`IDS`.

    Args:
        frame: examples, with the columns id and group where the file has them. Without an id, an example is named by its position,
            1, 2, ...; without a group, it is a group of its own. A column line, the number of its line (or another place, in
            words), becomes part of the column :data:`ROW`.
        prefix: text that goes before each name. It is empty for parallel files, where a name means the same content in every
            language, and the language otherwise, so that no two languages seem to share an example.
        where: path of the file, for the column :data:`ROW`.
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
    """Name the example at `position`, counted from 0, as messages do."""
    if ROW in frame:
        return str(frame[ROW].iloc[position])
    return f"example {frame['example_id'].iloc[position]}"


def check_examples(frame: pd.DataFrame, columns: Sequence[str], where: str) -> pd.DataFrame:
    """Refuse what cannot be examples of a task; return the examples with an index from 0.

    Args:
        frame: supposed examples.
        columns: columns that the task needs besides :data:`IDS`.
        where: name of the set in messages, e.g. ``dev.de``.

    Raises:
        XlingValueError: there are no rows, a column is missing, or an id occurs twice.
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
    """Leave out examples without a label, and log how many these are.

    Args:
        frame: examples.
        task: task whose method ``unlabelled(frame)`` says which examples have no label, bool [n]; a task without this method
            loses no example.
        where: name of the set in messages.
    """
    mark = getattr(task, "unlabelled", None)
    is_bare = np.zeros(len(frame), dtype=bool) if mark is None else np.asarray(mark(frame), dtype=bool)
    if is_bare.any():
        log.warning("%s: %d of %d examples have no label; they are left out", where, is_bare.sum(), len(frame))
    return frame[~is_bare].reset_index(drop=True)


def refuse_unlabelled(frame: pd.DataFrame, is_bare: np.ndarray, where: str, found: str, remedy: str = "") -> None:
    """Refuse a set in which examples have no label.

    Args:
        frame: examples.
        is_bare: whether an example has no label, bool [n].
        where: name of the set in messages.
        found: words for what is missing, with an article, e.g. ``a label``.
        remedy: further advice, besides leaving the examples out.

    Raises:
        XlingValueError: an example has no label; the message has their number and the first of them.
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
        frame: examples, from :func:`check_examples`.
        limit: largest number of rows; None: all.
        seed: seed of the choice.

    Raises:
        XlingValueError: `limit` is less than the number of rows in the first group chosen.
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
    """Keep the groups whose hash, as a number in 0..1, lies in [start, end).

    Intervals that do not overlap give disjoint parts of a file, and the same parts in every language of parallel files.

    Args:
        frame: examples, with the column group_id.
        start: lower end of the interval, 0..1.
        end: upper end of the interval, 0..1.
    """
    places = {group: _place(group) for group in frame["group_id"].unique()}
    place = frame["group_id"].map(places)
    return frame[(place >= start) & (place < end)].reset_index(drop=True)


def _place(group: int) -> float:
    return stable_number(f"part/{group}") / 2**64


def examples_fingerprint(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """Compute the sha256 of the examples' ids, their order and the task's columns."""
    return rows_fingerprint(*(frame[column].tolist() for column in (*IDS, *columns)))
