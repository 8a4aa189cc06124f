"""Splits the lines of CSV and TSV files into fields, and keeps the numbers of the lines for messages."""

import csv
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from xling.data.sources.text import numbered_lines, opened
from xling.errors import XlingValueError

log = logging.getLogger(__name__)

NumberedRow = tuple[int, list[str]]

QUOTING = ("csv", "none")
"""``csv``: fields may be quoted, as CSV defines it and pandas writes it; ``none``: every quote, also a doubled one, is text."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_USUAL = {".csv": "csv", ".tsv": "none"}


def read_rows(path: Path, quoting: str | None = None) -> list[NumberedRow]:
    """Read the fields of every line that is not empty.

    Args:
        path: a file whose name ends in .csv or .tsv.
        quoting: see :data:`QUOTING`; None: as is usual for files of that name, with a warning where a .tsv looks quoted.

    Raises:
        XlingValueError: a line has another number of fields than the first one, a quote does not end, or the file is not UTF-8.
    """
    if (quoting or _USUAL[path.suffix]) == "csv":
        return _of_one_width(path, _split_quoted(path), "")
    delimiter = DELIMITERS[path.suffix]
    lines = ((number, line.split(delimiter)) for number, line in numbered_lines(path) if line)
    hint = "; if fields with tabs are quoted, set data.quoting=csv" if quoting is None else ""
    rows = _of_one_width(path, lines, hint)
    if quoting is None:
        _warn_of_quotes(path, rows)
    return rows


def _split_quoted(path: Path) -> Iterator[NumberedRow]:
    with opened(path, newline="") as file:
        reader = csv.reader(file, delimiter=DELIMITERS[path.suffix], strict=True)
        start = 1
        try:
            for row in reader:
                if row:
                    yield start, row
                start = reader.line_num + 1
        except csv.Error as error:
            raise XlingValueError(
                f"{path}, line {start}: expected fields quoted as in CSV; {error}; quote them so, or set data.quoting=none"
            ) from error


def _of_one_width(path: Path, rows: Iterable[NumberedRow], hint: str) -> list[NumberedRow]:
    found: list[NumberedRow] = []
    for number, row in rows:
        width = len(found[0][1]) if found else len(row)
        if len(row) != width:
            raise XlingValueError(
                f"{path}, line {number}: expected {width} columns as in the first line, found {len(row)}{hint}"
            )
        found.append((number, row))
    return found


def _warn_of_quotes(path: Path, rows: list[NumberedRow]) -> None:
    quoted = [number for number, row in rows if any(_is_quoted(field, row) for field in row)]
    if quoted:
        log.warning(
            "%s: %d of %d lines have fields that look quoted as CSV (the first is line %d); if they are, set data.quoting=csv, "
            "and data.quoting=none if these quotes are text",
            path, len(quoted), len(rows), quoted[0],
        )  # fmt: skip


def _is_quoted(field: str, row: list[str]) -> bool:
    """Whether a CSV writer may have quoted a field: quotes around it, and doubled ones inside or around all others too."""
    if len(field) < 2 or field[0] != '"' or field[-1] != '"':
        return False
    inside = field[1:-1]
    if '"' in inside.replace('""', ""):
        return False
    return '""' in inside or all(len(other) > 1 and other[0] == other[-1] == '"' for other in row)
