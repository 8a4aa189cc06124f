"""Finds the single language that carries a coefficient: without it, as source or as target, little of the coefficient is left."""

from collections.abc import Iterator

import numpy as np

from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.demeaned import correlate_demeaned

CARRIES = 0.5
"""A language carries a coefficient if less than this share of it is left without that language."""


def leave_one_out(
    x: np.ndarray, y: np.ndarray, sources: np.ndarray, targets: np.ndarray, demeaned: bool
) -> tuple[list[tuple[int, str]], np.ndarray]:
    """Correlate again without each language as source, and without each as target.

    Args:
        x: float64 ``[n_x, n_pairs]``, NaN = missing.
        y: float64 ``[n_y, n_pairs]``, NaN = missing.
        sources: int ``[n_pairs]``, positions of languages.
        targets: int ``[n_pairs]``.
        demeaned: remove source and target effects from both sides.

    Returns:
        What was left out, (position, "source" or "target"), and the correlations, float64 ``[n_left_out, n_x, n_y]``, NaN
        where none is left.
    """
    left_out, correlations = [], []
    for what, others in _each(sources, targets):
        values = x[:, others], y[:, others]
        cells = sources[others], targets[others]
        left_out.append(what)
        correlations.append(correlate_demeaned(*values, *cells) if demeaned else correlate(*values))
    return left_out, np.array(correlations).reshape(-1, len(x), len(y))


def _each(sources: np.ndarray, targets: np.ndarray) -> Iterator[tuple[tuple[int, str], np.ndarray]]:
    """Yield each language in each of its roles, and which pairs ``[n_pairs]`` are left without it; never the only one of a role."""
    for role, side in (("source", sources), ("target", targets)):
        for language in np.unique(side):
            if len(np.unique(side)) > 1:
                yield (int(language), role), side != language


def name_carriers(
    observed: np.ndarray, left_out: list[tuple[int, str]], without: np.ndarray, languages: tuple[str, ...]
) -> np.ndarray:
    """Name the language without which least is left of each coefficient, where that is less than half, or of other sign.

    Args:
        observed: float64 ``[n_x, n_y]``.
        left_out: languages that were left out, from :func:`leave_one_out`.
        without: the correlations without each of them, from the same function, ``[n_left_out, n_x, n_y]``.
        languages: names by position.

    Returns:
        str ``[n_x, n_y]`` such as ``"sw as source"``; empty where no single language carries the coefficient.

    >>> without = np.array([[[-0.1]], [[-0.4]]])
    >>> name_carriers(np.array([[-0.5]]), [(0, "source"), (1, "target")], without, ("de", "sw")).tolist()
    [['de as source']]
    """
    names = np.array([f"{languages[i]} as {role}" for i, role in left_out] or [""], dtype=object)
    if not left_out:
        return np.full(observed.shape, "", dtype=object)
    share = np.where(np.isfinite(without), without * np.sign(observed), np.inf)
    least = share.argmin(axis=0)
    carried = share.min(axis=0) < CARRIES * np.abs(observed)
    return np.where(carried, names[least], "")


def defined_range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the smallest and largest defined value over the first axis, NaN where there is none."""
    known = np.isfinite(values)
    if not len(values):
        return (np.full(values.shape[1:], np.nan),) * 2
    low = np.where(known, values, np.inf).min(axis=0)
    high = np.where(known, values, -np.inf).max(axis=0)
    return np.where(known.any(axis=0), low, np.nan), np.where(known.any(axis=0), high, np.nan)
