"""Takes the values that relabelled languages bring to the cells of a design, for many draws at once."""

from collections.abc import Iterator

import numpy as np

CHUNK_ENTRIES = 300_000
"""Permuted values held at once: 2.4 MB, which a processor's cache holds, and a handful of temporary arrays of that size."""

_ROUNDING = 1e-13
"""Difference between a square and its transposed that is rounding, in parts of its largest entry."""


def gather_relabelled(
    square: np.ndarray, cells: tuple[np.ndarray, np.ndarray], labels: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Take the relabelled values of single cells for many permutations.

    Args:
        square: float64 ``[n, n]``.
        cells: positions ``(sources, targets)``, int ``[n_cells]`` each.
        labels: int ``[n_permutations, n]``.

    Yields:
        A part of `labels`, and its values ``[n_part, n_cells]``, those of a cell next to each other in memory.
    """
    values, n = square.ravel(), len(square)
    step = max(1, CHUNK_ENTRIES // max(1, len(cells[0])))
    for start in range(0, len(labels), step):
        # With a language's labels in one piece of memory, whole rows are copied, several times faster than single labels.
        chunk = np.ascontiguousarray(labels[start : start + step].T)
        places = (chunk * n).take(cells[0], axis=0)
        places += chunk.take(cells[1], axis=0)
        yield slice(start, start + chunk.shape[1]), values.take(places).T


def fold(
    square: np.ndarray, cells: tuple[np.ndarray, np.ndarray], outcomes: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Join the two cells of each pair of languages where that leaves every relabelled sum of products as it is.

    Where the predictor has one value for both directions of a pair, as distances have, and all cells come in both directions,
    their outcomes can be added first, which halves the work.

    Args:
        square: float64 ``[n, n]``, finite.
        cells: positions ``(sources, targets)``, int ``[n_cells]`` each, S != T, which every relabelling maps to themselves.
        outcomes: float64 ``[n_outcomes, n_cells]``, finite.

    Returns:
        Cells and outcomes over them, with the same sums of ``square[label[source], label[target]] * outcome`` for every label:
        half as many, or those that were given.
    """
    spread = np.zeros((len(outcomes), *square.shape))
    spread[:, cells[0], cells[1]] = outcomes
    mask = np.zeros(square.shape, dtype=bool)
    mask[cells] = True
    if not (mask == mask.T).all() or np.abs(square - square.T)[mask].max() > _ROUNDING * np.abs(square[mask]).max():
        return cells, outcomes
    sources, targets = np.nonzero(np.triu(mask))
    return (sources, targets), (spread + spread.swapaxes(1, 2))[:, sources, targets]
