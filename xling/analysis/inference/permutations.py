"""Finds which relabellings of the languages leave a study's design as it is, and draws them.

A permutation test asks what else could have come out of the *same* design. Sources were fine-tuned on, other targets were
not, so a relabelling may exchange languages only within a role: sources that are targets too, targets that are no sources,
sources that are no targets. On a complete square all languages have one role, and all of them are exchanged. Exchanging all
languages where few are sources rejects a true null hypothesis too often (docs/statistics.md has the rates).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

MIN_ARRANGEMENTS = 20
"""With fewer arrangements of the languages no exact p-value can be .05 or less."""


@dataclass(frozen=True)
class Permutations:
    """Relabellings of n languages.

    Attributes:
        labels: int ``[n_permutations, n]``; row ``pi`` sends position i to ``pi[i]``, which is in the same group.
        groups: int ``[n]``, the group that each language is exchanged within.
        exact: whether all arrangements are there (the identity among them); otherwise they are independent uniform draws.
    """

    labels: np.ndarray
    groups: np.ndarray
    exact: bool

    def __len__(self) -> int:
        return len(self.labels)


def positions_of(observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the sources and targets, int ``[n_cells]`` each, of the true cells of a square ``[n, n]``, row by row."""
    sources, targets = np.nonzero(observed)
    return sources, targets


def language_roles(sources: np.ndarray, targets: np.ndarray, n: int) -> np.ndarray:
    """Number the role of every language in the observed cells: 3 = source and target, 2 = source, 1 = target, 0 = none.

    Args:
        sources: int ``[n_cells]``, positions of languages.
        targets: int ``[n_cells]``.
        n: number of languages.

    Returns:
        int ``[n]``.

    >>> language_roles(np.array([0, 0, 1]), np.array([1, 2, 2]), 4).tolist()
    [2, 3, 1, 0]
    """
    languages = np.arange(n)
    return 2 * np.isin(languages, sources) + np.isin(languages, targets)


def count_arrangements(groups: np.ndarray) -> int:
    """Count the relabellings that keep every language in its group.

    >>> count_arrangements(np.array([1, 1, 1, 0, 0]))
    12
    """
    return math.prod(math.factorial(int(size)) for size in np.unique(groups, return_counts=True)[1])


def draw_permutations(groups: np.ndarray | int, n_draws: int, seed: int) -> Permutations:
    """Enumerate all relabellings within groups where there are no more than `n_draws`, else draw that many.

    Args:
        groups: int ``[n]``, the group of every language; or n, for n languages of one group.
        n_draws: number of random draws.
        seed: seed of the generator.

    >>> draw_permutations(3, 10, seed=0).labels.tolist()
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    >>> draw_permutations(np.array([0, 1, 1]), 10, seed=0).labels.tolist()
    [[0, 1, 2], [0, 2, 1]]
    """
    groups = np.zeros(groups, dtype=np.intp) if isinstance(groups, int) else np.asarray(groups)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    exact = count_arrangements(groups) <= n_draws
    if exact:
        orders = list(itertools.product(*(itertools.permutations(own) for own in members)))
        drawn = [np.array([order[i] for order in orders], dtype=np.intp) for i in range(len(members))]
    else:
        generator = np.random.default_rng(seed)
        drawn = [generator.permuted(np.broadcast_to(own, (n_draws, len(own))), axis=1) for own in members]
    labels = np.empty((len(drawn[0]) if drawn else 1, len(groups)), dtype=np.intp)
    for own, moved in zip(members, drawn, strict=True):
        labels[:, own] = moved
    return Permutations(labels, groups, exact)


def keep_in_place(permutations: Permutations, fixed: np.ndarray) -> Permutations:
    """Take languages out of permutations: each of them maps to itself, its cycle closes over it.

    A uniform permutation of n labels becomes a uniform one of the rest (each of the (n-1)! arises from n of the n!),
    and stays as close to the original as it can, so predictors with different gaps remain jointly permuted.

    Args:
        permutations: permutations of n languages.
        fixed: bool ``[n]``, True = keep in place.

    Returns:
        The same number of permutations; a fixed language is a group of its own.

    >>> keep_in_place(draw_permutations(3, 10, seed=0), np.array([False, False, True])).labels[3].tolist()
    [1, 0, 2]
    """
    moved = np.flatnonzero(fixed & (permutations.labels != np.arange(len(fixed))).any(axis=0))
    labels = permutations.labels.copy() if len(moved) else permutations.labels
    for i in moved:
        to_i = labels == i  # one True per row
        np.copyto(labels, labels[:, [i]], where=to_i)
        labels[:, i] = i
    alone = permutations.groups.max(initial=0) + 1 + np.arange(len(fixed))
    return Permutations(labels, np.where(fixed, alone, permutations.groups), permutations.exact)


def keep_unknown_in_place(
    permutations: Permutations, matrix: np.ndarray, cells: tuple[np.ndarray, np.ndarray]
) -> Permutations:
    """Take the languages that a predictor knows nothing about out of permutations (:func:`keep_in_place`).

    Only values count that a relabelling can bring into the observed cells: where three languages are sources and a hundred are
    targets, the distance between two targets never gets there, and a target whose distance from every source is unknown is
    unknown. Left to move, it would take its gaps to the places of others in every draw.

    Args:
        permutations: permutations of n labels.
        matrix: float64 ``[n, n]``, the predictor for every ordered pair, NaN = missing; the diagonal is never used.
        cells: positions ``(sources, targets)`` of the observed cells, S != T.

    Returns:
        The same number of permutations; a language without values is a group of its own.

    >>> matrix = np.array([[np.nan, 1, np.nan], [1, np.nan, 1], [np.nan, 1, np.nan]])
    >>> cells = np.array([0, 0]), np.array([1, 2])
    >>> keep_unknown_in_place(draw_permutations(np.array([0, 1, 1]), 10, seed=0), matrix, cells).labels.tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    finite = np.isfinite(matrix) & reachable(cells, permutations.groups)
    return keep_in_place(permutations, ~(finite.any(axis=0) | finite.any(axis=1)))


def reachable(pairs: tuple[np.ndarray, np.ndarray], groups: np.ndarray) -> np.ndarray:
    """Say where relabellings can bring some ordered pairs: all places S != T between the groups of one of them.

    Args:
        pairs: positions of both languages of each pair, int ``[n_pairs]`` each, S != T.
        groups: int ``[n]``.

    Returns:
        bool ``[n, n]``.

    >>> reachable((np.array([0]), np.array([1])), np.array([0, 1, 1])).astype(int).tolist()
    [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    """
    names, of_language = np.unique(groups, return_inverse=True)
    has_pairs = np.zeros((len(names), len(names)), dtype=bool)
    has_pairs[of_language[pairs[0]], of_language[pairs[1]]] = True
    return has_pairs[np.ix_(of_language, of_language)] & ~np.eye(len(groups), dtype=bool)


def is_kept(cells: np.ndarray, groups: np.ndarray) -> bool:
    """Say whether every relabelling within `groups` maps a set of cells to itself.

    Args:
        cells: bool ``[n, n]``; the diagonal is ignored.
        groups: int ``[n]``.
    """
    other = ~np.eye(len(cells), dtype=bool)
    for a, b in itertools.product(np.unique(groups), repeat=2):
        inside = cells[np.outer(groups == a, groups == b) & other]
        if inside.any() and not inside.all():
            return False
    return True
