"""Finds the largest complete part of an incomplete design: sources and targets with every pair S != T measured."""

import numpy as np

_BUDGET = 2_000
"""Parts looked at; without a bound the search takes exponential time (92 languages, 1 % of the cells missing)."""


def largest_complete_part(observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find sources and targets among which every pair S != T is observed, with as many such pairs as possible.

    Branch and bound: the source or target with the most gaps is left out, or it is kept and those that it has no pair
    with are. Its first descent is the greedy choice; the search ends after 2,000 parts with the best so far, which is the
    largest one wherever gaps are few (the tests compare with all subsets).

    Args:
        observed: bool ``[n, n]``, rows sources, columns targets; the diagonal is ignored.

    Returns:
        Positions of the sources and of the targets, ascending; a language may be in both.

    >>> sources, targets = largest_complete_part(np.array([[0, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]] + [[0] * 4], bool))
    >>> sources.tolist(), targets.tolist()
    ([0, 1], [0, 1, 3])
    """
    other = ~np.eye(len(observed), dtype=bool)
    observed = observed & other
    nobody = np.zeros(len(observed), dtype=bool)
    best, best_size = (nobody, nobody), 0
    parts: list[tuple[np.ndarray, np.ndarray]] = [(np.any(observed, axis=1), np.any(observed, axis=0))]
    for _ in range(_BUDGET):
        if not parts:
            break
        rows, columns = parts.pop()
        inside = np.outer(rows, columns) & other
        gaps = inside & ~observed
        size = int((inside & observed).sum())
        if size <= best_size:
            continue
        if not gaps.any():
            best, best_size = (rows, columns), size
            continue
        parts += _branch(rows, columns, gaps)
    return np.flatnonzero(best[0]), np.flatnonzero(best[1])


def _branch(rows: np.ndarray, columns: np.ndarray, gaps: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Keep the row or column with the most gaps, or leave it out (last, so that it is looked at first)."""
    of_row, of_column = gaps.sum(axis=1), gaps.sum(axis=0)
    if of_row.max() > of_column.max():
        i = int(of_row.argmax())
        without = np.arange(len(rows)) != i
        return [(rows, columns & ~gaps[i]), (rows & without, columns)]
    i = int(of_column.argmax())
    without = np.arange(len(columns)) != i
    return [(rows & ~gaps[:, i], columns), (rows, columns & without)]
