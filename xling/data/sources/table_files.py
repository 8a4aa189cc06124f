"""Reads tables, which are CSV, TSV or JSONL files with named (or numbered) columns."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xling.data.examples import place_of
from xling.data.sources.delimited_lines import DELIMITERS, QUOTING, NumberedRow, read_rows
from xling.data.sources.text import check_unicode, numbered_lines
from xling.errors import XlingValueError, check_known, close_matches

Columns = Mapping[str, str | int]

_JSONL = ".jsonl"
_NAMES = ("id", "group", "split")
_HEADER_WORDS = {"text", "sentence", "sentence1", "sentence2", "premise", "hypothesis", "utt"} | {
    *("label", "labels", "gold_label", "class", "category", "intent", "target"),
}


class TableReader:
    """Reads a file in the format its suffix names: .csv (with quoting), .tsv (without), .jsonl (one object per line).

    Args:
        columns: column of the task (text, text_pair, label, id, group) -> its name in the file, or its number from 0 where the
            file has no header; entries that are None are left out. ``split`` is the column that names a row's split, where one
            file has the rows of several splits.
        header: column of the task -> its name in the first line, for data sets of which some files have a header and others do
            not. It replaces `columns` in files whose first line has all of these names.
        quoting: see :data:`xling.data.sources.delimited_lines.QUOTING`; None: as is usual for the suffix.

    Raises:
        XlingValueError: `quoting` is unknown.
    """

    def __init__(
        self,
        columns: Mapping[str, str | int | None],
        header: Mapping[str, str] | None = None,
        quoting: str | None = None,
    ) -> None:
        check_known("data.quoting", quoting, (*QUOTING, None))
        self.columns = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
        self.header, self.quoting = dict(header or {}), quoting

    @property
    def has_splits(self) -> bool:
        """Whether a column says which split a row belongs to."""
        return "split" in self.columns

    def __call__(self, path: Path, language: str) -> pd.DataFrame:
        """Read one file: texts and names become text, labels stay as they are, and column line has the number of each row's line.

        Raises:
            XlingValueError: the file is of another kind, lacks a column, or has a line without a value.
        """
        if path.suffix == _JSONL:
            frame = self._objects(path)
        elif path.suffix in DELIMITERS:
            frame = self._table(path)
        else:
            names = ", ".join([*DELIMITERS, _JSONL])
            raise XlingValueError(f"{path}: expected a file named {names}, found {path.suffix!r}; rename it")
        for column in frame.columns.drop("line"):
            check = _label if column == "label" else _text
            cells = zip(frame[column], frame["line"], strict=True)
            frame[column] = pd.Series([check(value, path, line, column) for value, line in cells], dtype=object)
        return frame

    def _objects(self, path: Path) -> pd.DataFrame:
        rows = list(_parse_jsonl(path))
        known = dict.fromkeys(name for _, row in rows for name in row)
        for theirs in self.columns.values():
            _check_name(path, theirs, list(known))
        cells = {ours: [row.get(str(theirs)) for _, row in rows] for ours, theirs in self.columns.items()}
        return _frame(cells, [line for line, _ in rows])

    def _table(self, path: Path) -> pd.DataFrame:
        rows = read_rows(path, self.quoting)
        columns: Columns = self.columns
        if self.header and rows and set(self.header.values()) <= set(rows[0][1]):
            columns = self.header
        names: Sequence[Any] = range(len(rows[0][1]) if rows else 0)
        if all(isinstance(theirs, int) for theirs in columns.values()):
            _refuse_header(path, rows, columns)
        else:
            names = rows.pop(0)[1] if rows else []
        for theirs in columns.values():
            _check_name(path, theirs, names)
        places = {ours: list(names).index(theirs) for ours, theirs in columns.items()}
        cells = {ours: [row[place] for _, row in rows] for ours, place in places.items()}
        return _frame(cells, [line for line, _ in rows])


def _frame(cells: Mapping[str, list[Any]], lines: list[int]) -> pd.DataFrame:
    columns = {name: pd.Series(values, dtype=object) for name, values in cells.items()}
    return pd.DataFrame(columns | {"line": pd.Series(lines, dtype="int64")})


def _check_name(path: Path, wanted: str | int, names: Sequence[Any]) -> None:
    if list(names).count(wanted) == 1:
        return
    found = ", ".join(map(str, names)) or "none"
    if wanted in names:
        raise XlingValueError(f"{path}: expected one column {wanted!r}, found several among {found}; rename the others")
    hint = close_matches(str(wanted), map(str, names))
    raise XlingValueError(f"{path}: expected a column {wanted!r}, found {found}{hint}; see data.columns")


def _refuse_header(path: Path, rows: Sequence[NumberedRow], columns: Columns) -> None:
    """Refuse a header in a file whose columns are numbered, since it would be read as an example."""
    if not rows:
        return
    line, first = rows[0]
    cells = [first[int(place)].strip().lower() for place in columns.values() if int(place) < len(first)]
    if len(set(cells) & _HEADER_WORDS) >= min(2, len(cells)):
        names = ", ".join(first)
        raise XlingValueError(
            f"{path}, line {line}: expected an example, as columns are numbered, found a header ({names}); name the columns in "
            "data.columns, or delete that line"
        )


def _text(value: Any, path: Path, line: int, column: str) -> str:
    """Read a text or a name as text; a number becomes text too, and a list or group of values is refused."""
    where = place_of(path, line)
    if value is None or value != value or (column in _NAMES and value == ""):  # JSON's NaN is not itself
        raise XlingValueError(f"{where}: expected a value for {column!r}, found none; complete it")
    return check_unicode(str(_single(value, where, column)), where)


def _label(value: Any, path: Path, line: int, column: str) -> Any:
    """Read a label as it is, since the task decides what counts as a label."""
    return _single(value, place_of(path, line), column)


def _single(value: Any, where: str, column: str) -> Any:
    if isinstance(value, list | dict):
        raise XlingValueError(
            f"{where}: expected a single value for {column!r}, found {json.dumps(value, ensure_ascii=False)[:40]}; write one"
        )
    return value


def _parse_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise XlingValueError(
                f"{place_of(path, number)}: expected a JSON object, found {line.strip()[:40]!r}; write one per line"
            ) from error
        if not isinstance(row, dict):
            raise XlingValueError(
                f"{place_of(path, number)}: expected a JSON object with named values, found {line.strip()[:40]!r}; "
                "write one object a line"
            )
        yield number, row
