"""Computes distance matrices between ISO 639-3 codes from URIEL's features, with coverage and placeholders marked.

A matrix is filled in as lang2vec fills it, placeholders included; the source decides what becomes of the placeholders.
"""

import numpy as np

from xling.distances import formulas, uriel
from xling.distances.result import Matrix

KINDS = ("genetic", "geographic", "syntactic", "inventory", "phonological", "featural")
"""URIEL's kinds of distance."""


def compute_matrix(
    kind: str, codes: list[str], empty_rows: frozenset[str] = frozenset(), filling: str = "union"
) -> Matrix:
    """Compute one kind of distance between all pairs of languages.

    Args:
        kind: one of KINDS.
        codes: ISO 639-3 codes that URIEL has.
        empty_rows: codes that are treated as if URIEL had no data for them.
        filling: how typological features are filled in, see :func:`xling.distances.uriel.kind_vectors`.

    Returns:
        Values (not rounded), coverage (the number of features observed for both languages) and placeholders (where one of the
        languages has no data, or no feature was observed for both unless features are predicted); a language's distance to itself
        is 0 and no placeholder.
    """
    is_empty = np.isin(codes, list(empty_rows))
    compute = {"genetic": _genetic, "geographic": _geographic}.get(kind)
    matrix = compute(codes, is_empty) if compute else _typological(kind, codes, is_empty, filling)
    is_same = np.asarray(codes)[:, None] == np.asarray(codes)[None, :]
    matrix.values[is_same] = 0
    matrix.placeholders[is_same] = False
    return matrix


def _typological(kind: str, codes: list[str], is_empty: np.ndarray, filling: str) -> Matrix:
    observed = (uriel.kind_values(kind, codes) >= 0) & ~is_empty[:, None]
    vectors = uriel.kind_vectors(kind, codes, filling)
    vectors[is_empty] = 0
    is_blank = ~np.asarray(vectors.any(axis=1))
    vectors[is_blank] = 1  # lang2vec's placeholder
    values = formulas.angular_distance(vectors)
    if kind == "phonological":  # not 0 in lang2vec's file, because of rounding noise in its arccos
        values[np.outer(is_blank, is_blank)] = uriel.rules()["phonological_distance_of_two_empty_rows"]
    coverage = observed.astype(np.int64) @ observed.T.astype(np.int64)
    is_unobserved = (coverage == 0) & (filling != "knn")
    return Matrix(values, coverage, _either(is_blank) | is_unobserved)


def _genetic(codes: list[str], is_empty: np.ndarray) -> Matrix:
    table, order = uriel.families(), uriel.genetic_order()
    nodes = table.nodes[[table.rows[code] for code in codes]].astype(np.int64)
    nodes[is_empty] = 0
    recorded: np.ndarray = nodes.sum(axis=1)
    counts = [uriel.rules()["family_node_counts"].get(code, n) for code, n in zip(codes, recorded, strict=True)]
    # A code that lang2vec's list does not know (none of URIEL's today) comes after all others, in alphabetical order.
    ranks = {
        code: rank for rank, code in enumerate(sorted(codes, key=lambda code: (order.get(code, len(order)), code)))
    }
    values = formulas.genetic_distance(nodes, np.array(counts), np.array([ranks[code] for code in codes]))
    return Matrix(values, np.minimum.outer(recorded, recorded), _either(recorded == 0))


def _geographic(codes: list[str], is_empty: np.ndarray) -> Matrix:
    table = uriel.geography()
    angles = table.angles[[table.rows[code] for code in codes]]
    is_unplaced: np.ndarray = is_empty | (angles < 0).any(axis=1)
    angles = np.where(is_unplaced[:, None], 0, angles)
    values = formulas.great_circle_distance(formulas.locate(angles))
    values[_either(is_unplaced)] = 1.0  # lang2vec's placeholder
    coverage = np.where(_either(is_unplaced), 0, angles.shape[1])
    return Matrix(values, coverage, _either(is_unplaced))


def _either(mask: np.ndarray) -> np.ndarray:
    """Mark the pairs [n, n] of which at least one language is in the mask [n]."""
    return mask[:, None] | mask[None, :]
