"""Computes lang2vec's distances from URIEL's vectors and family trees, as pure functions over arrays.

References:
    Littell et al. 2017, URIEL and lang2vec (https://aclanthology.org/E17-2002/).
"""

import numpy as np

GOLDEN_ANGLE = 137.50776
"""Degrees between neighbouring points of URIEL's Fibonacci lattice."""


def angular_distance(vectors: np.ndarray) -> np.ndarray:
    """Compute the normalised angle between all pairs of rows: ``(2 / pi) * arccos(u.v / (|u| |v|))``.

    This is an angle, not the cosine distance. Equal 0/1 rows give exactly 0, because their squared norms are whole numbers.

    Args:
        vectors: float or integer, [n, n_features], non-negative, no row entirely 0.

    Returns:
        float64, [n, n], in 0..1.

    >>> angular_distance(np.array([[1, 0], [1, 1], [0, 1]])).round(4).tolist()
    [[0.0, 0.5, 1.0], [0.5, 0.0, 0.5], [1.0, 0.5, 0.0]]
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    products = vectors @ vectors.T
    squared_norms = np.diag(products)
    cosines = products / np.sqrt(np.outer(squared_norms, squared_norms))
    return 2 / np.pi * np.arccos(np.clip(cosines, -1, 1))


def shared_angular_distance(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the normalised angle between all pairs of rows over the features observed for both, as URIEL+ defines it.

    Args:
        values: float or integer, [n, n_features], non-negative; below 0 = missing.

    Returns:
        Distances, float64, [n, n], in 0..1, NaN where a row has nothing but 0 among the common features; and coverage,
        int64, [n, n], the number of features observed for both.

    >>> distances, coverage = shared_angular_distance(np.array([[1, 0, -1], [1, 1, 1]]))
    >>> distances.round(4).tolist()[0], coverage.tolist()
    ([0.0, 0.5], [[2, 2], [2, 3]])
    """
    observed = np.asarray(values) >= 0
    known = np.where(observed, values, 0).astype(np.float64)
    squared_norms = known**2 @ observed.T  # [i, j]: of row i over the features that j has too
    products = np.sqrt(squared_norms * squared_norms.T)
    cosines = np.divide(known @ known.T, products, out=np.full(products.shape, np.nan), where=products > 0)
    coverage = observed.astype(np.int64) @ observed.T.astype(np.int64)
    return 2 / np.pi * np.arccos(np.clip(cosines, -1, 1)), coverage


def genetic_distance(nodes: np.ndarray, node_counts: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Compute the fraction of the family nodes that two languages do not share: ``1 - shared nodes / (nodes of a + 1)``.

    Language a is the one of the pair with the lower position.

    Args:
        nodes: 0/1, [n, n_nodes], the family nodes that each language belongs to.
        node_counts: [n], the number of nodes that each language is counted with, which for some is not that of `nodes`.
        positions: [n], the place of each language in lang2vec's order; it alone decides which language is a.

    Returns:
        float64, [n, n], symmetric, in 0..1; the diagonal is not 0 (a language shares n of n + 1).
    """
    nodes = np.asarray(nodes, dtype=np.float64)
    counts, positions = np.asarray(node_counts, dtype=np.float64), np.asarray(positions)
    comes_first = positions[:, None] <= positions[None, :]
    return 1 - nodes @ nodes.T / (np.where(comes_first, counts[:, None], counts[None, :]) + 1)


def lattice_points(n: int = 299) -> np.ndarray:
    """Compute unit vectors of URIEL's geographic reference points, a Fibonacci lattice.

    Point i has ``sin(lat) = -1 + 2i/n`` and ``lon = 180 - 137.50776 i`` degrees.

    Args:
        n: number of points; URIEL has 299.

    Returns:
        float64, [n, 3]: points i = 1..n as x (towards lat 0, lon 0), y (lat 0, lon 90), z (north pole).
    """
    index = np.arange(1, n + 1)
    height = -1 + 2 * index / n
    longitude = np.radians(180 - GOLDEN_ANGLE * index)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(longitude), radius * np.sin(longitude), height], axis=1)


def locate(angles: np.ndarray) -> np.ndarray:
    """Find the places whose central angles to the lattice points are given, by weighted least squares.

    A place p has ``p . point = cos(angle)`` for each point. URIEL rounds the angles, so each row is divided by
    sin(angle) to make an error of the angle, not of its cosine, count the same everywhere. Places are right to about 0.001
    degrees.

    Args:
        angles: [n, n_points], central angles divided by pi, in 0..1.

    Returns:
        float64, [n, 3], unit vectors.
    """
    radians = np.pi * np.asarray(angles, dtype=np.float64)
    weights = 1 / np.maximum(np.sin(radians), 0.01)  # the floor keeps a point next to the place from deciding alone
    points = lattice_points(radians.shape[1])
    places = [
        np.linalg.lstsq(points * w[:, None], np.cos(a) * w, rcond=None)[0]
        for a, w in zip(radians, weights, strict=True)
    ]
    return np.stack([place / np.linalg.norm(place) for place in places])


def great_circle_distance(places: np.ndarray) -> np.ndarray:
    """Compute the great-circle distance as a fraction of half the circumference.

    Args:
        places: float, [n, 3], unit vectors.

    Returns:
        float64, [n, n], in 0..1.

    >>> great_circle_distance(np.array([[0, 0, 1], [1, 0, 0], [0, 0, -1]])).tolist()[0]
    [0.0, 0.5, 1.0]
    """
    places = np.asarray(places, dtype=np.float64)
    return np.arccos(np.clip(places @ places.T, -1, 1)) / np.pi


def round_as_stored(distances: np.ndarray, decimals: int) -> np.ndarray:
    """Round to 4 decimals, then to `decimals`, half to even both times, as lang2vec's file was written.

    >>> round_as_stored(np.array([0.66504]), 2).tolist()
    [0.66]
    """
    return np.round(np.round(distances, 4), decimals)
