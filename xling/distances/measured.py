"""Computes the distances that are measured on the base model and the probe set, as pure functions over arrays.

References:
    Pires et al. 2019 (arXiv:1906.01502) for the overlap of word-piece sets; Wu & Dredze 2019 (arXiv:1904.09077) for
    the share of the target's sub-words that occur in the source; Kornblith et al. 2019 (arXiv:1905.00414) for CKA.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from xling.distances.result import Distances, Matrix
from xling.distances.sources import check_names
from xling.errors import XlingValueError

WEIGHTINGS = ("types", "tokens")
MEASURES = ("cosine", "cka")


def vocabulary_overlap_distances(token_counts: Mapping[str, np.ndarray], weighting: str = "types") -> Distances:
    """Compute one minus the overlap of the sub-words that languages' probe texts are made of.

    ``types`` gives ``1 - |A & B| / |A | B|`` over the sets of sub-words (Jaccard, symmetric). ``tokens`` gives the fraction of the
    target's tokens whose sub-word never occurs in the source (directed).

    Args:
        token_counts: language to whole numbers, [vocabulary], how often each token id occurs in its probe text; special
            tokens set to 0 by the caller.
        weighting: ``types`` or ``tokens``.

    Returns:
        Kind ``vocabulary_overlap`` in 0..1, source language in rows; its coverage is the number of tokens of the
        shorter text.

    Raises:
        XlingValueError: the weighting is unknown, vectors differ in length, a count is negative, or a text has no tokens.

    >>> counts = {"de": np.array([3, 1, 0]), "en": np.array([1, 0, 4])}
    >>> vocabulary_overlap_distances(counts, "tokens").values["vocabulary_overlap"].loc["de"].tolist()
    [0.0, 0.8]
    """
    check_names("weighting", [weighting], WEIGHTINGS)
    counts = _stacked(token_counts, "token counts")
    totals = counts.sum(axis=1)
    if counts.ndim != 2 or (counts < 0).any() or not totals.all():
        raise XlingValueError(
            "expected a vector of non-negative token counts, not all 0, per language; count its probe text"
        )
    occurs = (counts > 0).astype(np.float64)
    if weighting == "types":
        shared = occurs @ occurs.T
        sizes = occurs.sum(axis=1)
        values = 1 - shared / (sizes[:, None] + sizes[None, :] - shared)
    else:
        values = 1 - occurs @ counts.T / totals[None, :]
    matrix = Matrix(values, np.minimum.outer(totals, totals), np.zeros(values.shape, dtype=bool))
    return Distances.from_matrices("vocabulary_overlap", token_counts, {"vocabulary_overlap": matrix})


def representation_distances(
    representations: Mapping[str, np.ndarray],
    ids: Mapping[str, Sequence[str]],
    measure: str = "cosine",
    layer: int | None = None,
) -> Distances:
    """Compute how far apart the base model puts the same sentences in two languages.

    Args:
        representations: language to pooled representations of the probe set, float, [n_layers + 1, n_examples, hidden].
        ids: language to the examples' ids, [n_examples]; parallel sentences share an id.
        measure: ``cosine`` or ``cka``, see :func:`representation_distance`.
        layer: 0 = embedding output, i = output of encoder block i; None = the mean over the layers 1 and above.

    Returns:
        Kind ``representation``, symmetric, in the range of `measure`; its coverage is the number of examples compared.

    Raises:
        XlingValueError: the measure is unknown, the layer is out of range, or shapes or ids do not match.
    """
    check_names("measure", [measure], MEASURES)
    _check_ids(ids, list(representations))
    stacked = _stacked(representations, "representations")
    if stacked.ndim != 4:
        raise XlingValueError(f"expected representations [n_layers + 1, n_examples, hidden], got {stacked.shape[1:]}")
    n_languages, n_layers, n_examples, _ = stacked.shape
    if layer is not None and not 0 <= layer < n_layers:
        raise XlingValueError(
            f"expected a layer in 0..{n_layers - 1}, got {layer}; choose one of these, or null for the mean"
        )
    values = np.zeros((n_languages, n_languages))
    for i, j in zip(*np.triu_indices(n_languages, k=1), strict=True):
        layers = range(1, n_layers) if layer is None else [layer]
        by_layer = [representation_distance(stacked[i, k], stacked[j, k], measure) for k in layers]
        values[i, j] = values[j, i] = np.mean(by_layer)
    matrix = Matrix(values, np.full(values.shape, n_examples), np.zeros(values.shape, dtype=bool))
    return Distances.from_matrices("representation", representations, {"representation": matrix})


def representation_distance(first: np.ndarray, second: np.ndarray, measure: str = "cosine") -> float:
    """Compute the distance between two representations of the same sentences, one sentence per row.

    ``cosine`` is the mean of ``1 - cos(first_i, second_i)``, in 0..2. ``cka`` is 1 - debiased linear CKA: 0 = the same up to
    rotation and scale, about 1 = unrelated.

    Args:
        first: float, [n_examples, hidden].
        second: float, [n_examples, hidden].
        measure: ``cosine`` or ``cka``.

    Returns:
        The distance; for ``cosine`` NaN where a row is all zeros.

    Raises:
        UndefinedSimilarityError: CKA of these representations is undefined (``cka``).

    >>> representation_distance(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0]]))
    0.5
    """
    if measure == "cka":
        return _one_minus_cka(first, second)
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    if not norms.all():
        return float("nan")
    return float(np.mean(1 - (first * second).sum(axis=1) / norms))


def _one_minus_cka(first: np.ndarray, second: np.ndarray) -> float:
    import torch  # slow to import, and only this measure needs it

    from xling.similarity import linear_cka

    return 1 - float(linear_cka(torch.as_tensor(first), torch.as_tensor(second), debiased=True))


def _stacked(arrays: Mapping[str, np.ndarray], what: str) -> np.ndarray:
    shapes = {np.shape(array) for array in arrays.values()}
    if len(shapes) != 1:
        raise XlingValueError(
            f"expected {what} of one shape for all languages, got {sorted(shapes)}; compute them anew"
        )
    return np.stack([np.asarray(array) for array in arrays.values()])


def _check_ids(ids: Mapping[str, Sequence[str]], languages: list[str]) -> None:
    for language in languages:
        if list(ids[language]) != list(ids[languages[0]]):
            raise XlingValueError(
                f"expected the same probe ids in the same order in every language, but those of {language!r} differ "
                f"from those of {languages[0]!r}; compare parallel sentences only"
            )
