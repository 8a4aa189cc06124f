"""Readers of tables: CSV, TSV and JSONL with named (or numbered) columns."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

import pandas as pd

from xling.errors import XlingValueError, close_matches


class TableReader:
    """Reads a file by its suffix: .csv (quoted as CSV is), .tsv (no quoting), .jsonl (one object a line).

    Args:
        columns: the task's column (text, text_pair, label, id, group) -> its name in the file, or its number from 0 where
            the file has no header; entries that are None are left out.
    """

    def __init__(self, columns: Mapping[str, str | int | None]) -> None:
        self.columns = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
        self.has_header = not all(isinstance(theirs, int) for theirs in self.columns.values())

    def __call__(self, path: Path, language: str) -> pd.DataFrame:
        """Read the columns as text.

        Raises:
            XlingValueError: not such a file, a missing column, or a line without a value.
        """
        frame = self._read(path)
        for theirs in self.columns.values():
            if theirs not in frame.columns:
                found = ", ".join(map(str, frame.columns)) or "none"
                hint = close_matches(str(theirs), map(str, frame.columns))
                raise XlingValueError(f"{path}: expected a column {theirs!r}, found {found}{hint}; see data.columns")
        return pd.DataFrame({ours: frame[theirs] for ours, theirs in self.columns.items()})

    def _read(self, path: Path) -> pd.DataFrame:
        if path.suffix not in _LINES:
            raise XlingValueError(
                f"{path}: expected a file named {', '.join(_LINES)}, found {path.suffix!r}; rename it"
            )
        try:
            with path.open(encoding="utf-8", newline="" if path.suffix == ".csv" else "\n") as file:
                rows = list(_LINES[path.suffix](path, file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise XlingValueError(f"{path}: expected a {path.suffix} file in UTF-8; {error}") from error
        if path.suffix == ".jsonl":
            return self._complete(path, pd.DataFrame(rows))
        header = (rows.pop(0) if rows else []) if self.has_header else range(len(rows[0]) if rows else 0)
        return pd.DataFrame(rows, columns=list(header), dtype=str)

    def _complete(self, path: Path, frame: pd.DataFrame) -> pd.DataFrame:
        for theirs in self.columns.values():
            if theirs in frame and frame[theirs].isna().any():
                line = int(frame[theirs].isna().to_numpy().argmax()) + 1
                raise XlingValueError(f"{path}, line {line}: expected a value for {theirs!r}, found none; complete it")
        return frame


def _split_csv(path: Path, file: TextIO) -> Iterator[list[str]]:
    reader = csv.reader(file)
    return _of_one_width(path, ((reader.line_num, row) for row in reader if row))


def _split_tsv(path: Path, file: TextIO) -> Iterator[list[str]]:
    lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(file, start=1))
    return _of_one_width(path, ((number, line.split("\t")) for number, line in lines if line))


def _of_one_width(path: Path, rows: Iterable[tuple[int, list[str]]]) -> Iterator[list[str]]:
    width = None
    for number, row in rows:
        width = width or len(row)
        if len(row) != width:
            raise XlingValueError(
                f"{path}, line {number}: expected {width} columns as in the first line, found {len(row)}"
            )
        yield row


def _parse_jsonl(path: Path, file: TextIO) -> Iterator[dict[str, str | None]]:
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise XlingValueError(
                f"{path}, line {number}: expected a JSON object, found {line.strip()[:40]!r}"
            ) from error
        yield {name: None if value is None else str(value) for name, value in row.items()}


_LINES = {".csv": _split_csv, ".tsv": _split_tsv, ".jsonl": _parse_jsonl}
