"""Reads distances and pre-training sizes from a user's CSV files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from xling.distances.codes import plain_code
from xling.distances.result import COVERAGE_SUFFIX, Distances, Matrix
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError, close_matches

PAIR = ["source_language", "target_language"]


def load_distances(path: str | Path, languages: Iterable[str], kinds: str | Iterable[str] | None = None) -> Distances:
    """Read distances from a CSV file in one of two layouts.

    A square file has the languages in its first column (sources) and in its header (targets), and holds one kind. A long file has
    columns source_language, target_language and one per kind, with an optional ``<kind>_coverage``; where it never lists a pair in
    both directions, the one given serves for both. An empty cell is a missing distance.

    Args:
        path: path of the file.
        languages: the languages wanted; the file may call them by ISO 639-1 or 639-3 or any label of its own.
        kinds: columns to read of a long file (default all), or the name of a square file's kind (default its file name).

    Returns:
        The distances, source ``csv``, at least 0; a coverage that the file does not state is NaN.

    Raises:
        MissingFileError: there is no such file.
        CorruptArtefactError: the file cannot be read as CSV.
        XlingValueError: a language or column is missing, a pair is listed twice, or a value is no distance.
    """
    path, languages = Path(path), list(languages)
    frame = _read(path)
    wanted = [kinds] if isinstance(kinds, str) else None if kinds is None else list(kinds)
    squares = _squares_of_long(frame, wanted, path) if set(PAIR) <= set(frame) else _one_square(frame, wanted, path)
    matrices = {}
    for kind, square in squares.items():
        if kind.endswith(COVERAGE_SUFFIX):
            continue
        values = _checked(_select(square, languages, path), kind, path)
        coverage = squares.get(kind + COVERAGE_SUFFIX)
        counts = np.full(values.shape, np.nan) if coverage is None else _select(coverage, languages, path).to_numpy()
        matrices[kind] = Matrix(values, counts, np.zeros(values.shape, dtype=bool))
    return Distances.from_matrices("csv", languages, matrices)


def load_pretraining_sizes(path: str | Path, languages: Iterable[str]) -> dict[str, float]:
    """Read how much text of each language a model saw in pre-training, in any one unit.

    Args:
        path: CSV file with the columns language and size.
        languages: the languages wanted.

    Returns:
        Language as given -> size; languages that the file does not list are left out.

    Raises:
        MissingFileError: there is no such file.
        CorruptArtefactError: the file cannot be read as CSV.
        XlingValueError: a column is missing, a language is listed twice, or a size is not a positive number.
    """
    frame = _read(Path(path))
    if not {"language", "size"} <= set(frame):
        raise XlingValueError(
            f"expected columns language and size in {path}, got {', '.join(map(str, frame))}; rename the columns"
        )
    sizes = pd.to_numeric(frame["size"], errors="coerce")
    keys = frame["language"].map(_key)
    if not (sizes > 0).all() or not np.isfinite(sizes).all() or keys.duplicated().any():
        raise XlingValueError(
            f"expected each language once with a positive size in {path}; mend or remove the other rows"
        )
    known = dict(zip(keys, sizes.astype(float), strict=True))
    return {language: known[_key(language)] for language in languages if _key(language) in known}


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise MissingFileError(f"expected a CSV file at {path} and there is none; check the path")
    try:
        # Namibia's and Min Nan's codes are words that pandas would take for missing values.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, comment="#")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CorruptArtefactError(
            f"{path} cannot be read as UTF-8 CSV ({error}); save it again as comma-separated text"
        ) from error
    return frame


def _one_square(frame: pd.DataFrame, kinds: list[str] | None, path: Path) -> dict[str, pd.DataFrame]:
    square = frame.set_index(frame.columns[0])
    if sorted(square.index) != sorted(square.columns) or square.index.has_duplicates:
        raise XlingValueError(
            f"expected {path} to be a square matrix with the same languages in first column and header, or to "
            f"have the columns {', '.join(PAIR)}; got rows {list(square.index)[:5]}, columns {list(square.columns)[:5]}"
        )
    if kinds and len(kinds) != 1:
        raise XlingValueError(f"expected one kind for the square matrix {path}, got {', '.join(kinds)}; name one")
    return {(kinds or [path.stem])[0]: _numbers(square, path)}


def _squares_of_long(frame: pd.DataFrame, kinds: list[str] | None, path: Path) -> dict[str, pd.DataFrame]:
    found = [column for column in frame if column not in PAIR]
    wanted = kinds or [column for column in found if not column.endswith(COVERAGE_SUFFIX)]
    for kind in wanted or ["a distance"]:
        if kind not in found:
            raise XlingValueError(
                f"expected a column {kind!r} in {path}, got {', '.join(frame)}{close_matches(kind, found)}"
            )
    if frame.duplicated(PAIR).any():
        first = " ".join(frame.loc[frame.duplicated(PAIR), PAIR].iloc[0])
        raise XlingValueError(f"expected each pair of languages once in {path}, got {first} again; remove one")
    columns = [column for kind in wanted for column in (kind, kind + COVERAGE_SUFFIX) if column in found]
    return {column: _pivot(frame, column, path) for column in columns}


def _pivot(frame: pd.DataFrame, column: str, path: Path) -> pd.DataFrame:
    pairs = set(map(tuple, frame[PAIR].to_numpy()))
    labels = sorted({label for pair in pairs for label in pair})
    cells = frame.assign(value=_numbers(frame[[column]], path)[column])
    square = cells.pivot(index=PAIR[0], columns=PAIR[1], values="value").reindex(index=labels, columns=labels)
    is_one_directed = not any((b, a) in pairs for a, b in pairs if a != b)
    return square.fillna(square.T) if is_one_directed else square


def _numbers(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    is_missing = frame.isin(["", "NaN", "nan", "NA"])
    wrong = frame.to_numpy()[(numbers.isna() & ~is_missing).to_numpy()]
    if len(wrong):
        raise XlingValueError(f"expected numbers in {path}, got {wrong[0]!r}; leave missing distances empty")
    return numbers.astype(float)


def _select(square: pd.DataFrame, languages: list[str], path: Path) -> pd.DataFrame:
    labels = {_key(label): label for label in square.index} | {label: label for label in square.index}
    for language in languages:
        if language not in labels and _key(language) not in labels:
            known = [str(label) for label in square.index]
            raise XlingValueError(
                f"expected distances for {language!r} in {path}, which has {', '.join(known[:20])}"
                f"{', ...' if len(known) > 20 else ''}; add it or leave it out of the study"
            )
    wanted = [labels.get(language) or labels[_key(language)] for language in languages]
    return square.loc[wanted, wanted]


def _checked(square: pd.DataFrame, kind: str, path: Path) -> np.ndarray:
    values = square.to_numpy(copy=True)
    if (values < 0).any() or np.isinf(values).any():
        raise XlingValueError(
            f"expected finite distances of at least 0 as {kind!r} in {path}; leave missing ones empty"
        )
    if np.nan_to_num(np.diag(values)).any():
        raise XlingValueError(f"expected distance 0 of a language to itself as {kind!r} in {path}; is it a similarity?")
    np.fill_diagonal(values, 0)
    return values


def _key(label: str) -> str:
    """Reduce a label to the code by which labels of file and study are matched."""
    try:
        return plain_code(label)
    except XlingValueError:  # a table may have rows for labels that are no single language
        return str(label).lower()


def sizes_of(sizes: Mapping[str, float] | str | Path | None, languages: list[str]) -> dict[str, float]:
    """Give pre-training sizes that the user states as a mapping, as a CSV file or not at all, as a mapping."""
    if sizes is None:
        return {}
    return dict(sizes) if isinstance(sizes, Mapping) else load_pretraining_sizes(sizes, languages)
