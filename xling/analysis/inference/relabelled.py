"""Takes the values that relabelled languages bring to the cells of a design, for many draws at once."""

from collections.abc import Iterator

import numpy as np

CHUNK_ENTRIES = 300_000
"""Permuted values held at once: 2.4 MB, which a processor's cache holds, and a handful of temporary arrays of that size."""

_FEW_CELLS = 700
"""Up to so many cells one index for many draws is faster (3.6 times for 15 x 15 languages), beyond it rows are (40 x 40)."""


def rectangles(
    square: np.ndarray, rows: np.ndarray, columns: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Take the relabelled ``square[rows, columns]`` for many permutations.

    Args:
        square: float64 ``[n, n]``.
        rows: int ``[n_rows]``, positions of languages.
        columns: int ``[n_columns]``.
        labels: int ``[n_permutations, n]``.

    Yields:
        A part of `labels`, and its values ``[n_part, n_rows * n_columns]``.
    """
    size = len(rows) * len(columns)
    step = max(1, CHUNK_ENTRIES // max(1, size))
    take = _take_cells if size <= _FEW_CELLS else _take_rows
    for start in range(0, len(labels), step):
        chunk = labels[start : start + step]
        yield slice(start, start + len(chunk)), take(square, rows, columns, chunk).reshape(len(chunk), size)


def _take_cells(square: np.ndarray, rows: np.ndarray, columns: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Take the relabelled values ``[n_permutations, rows, columns]`` by one index per cell, for all permutations at once."""
    places = (labels[:, rows] * len(square))[:, :, None] + labels[:, columns][:, None, :]
    return square.ravel().take(places)


def _take_rows(square: np.ndarray, rows: np.ndarray, columns: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Take the same values as whole rows and then as columns of these, one permutation after the other."""
    drawn = np.empty((len(labels), len(rows), len(columns)))
    for label, out in zip(labels, drawn, strict=True):
        np.take(square.take(label[rows], axis=0), label[columns], axis=1, out=out, mode="clip")
    return drawn


def place_in_rectangle(cells: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the sources and targets of the cells, and the cells' places in the flat rectangle of both."""
    (rows, of_row), (columns, of_column) = (np.unique(side, return_inverse=True) for side in cells)
    return rows, columns, of_row * len(columns) + of_column


def gather_relabelled(
    square: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Take the relabelled values of single cells for many permutations.

    Args:
        square: float64 ``[n, n]``.
        cells: positions ``(sources, targets)``, int ``[n_cells]`` each.
        labels: int ``[n_permutations, n]``.

    Yields:
        A part of `labels`, and its values ``[n_part, n_cells]``.
    """
    rows, columns, places = place_in_rectangle(cells)
    for part, drawn in rectangles(square, rows, columns, labels):
        yield part, drawn.take(places, axis=1)
