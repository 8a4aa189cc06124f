"""A distance: 0 where two languages share the order of subject, verb and object, 1 where they do not."""

import numpy as np

from xling.distances import Distances, computed_from
from xling.distances.result import Matrix
from xling.errors import XlingValueError

ORDERS = {"ar": "VSO", "de": "none", "en": "SVO", "hi": "SOV", "ru": "SVO", "sw": "SVO", "tr": "SOV", "zh": "SVO"}
"""Dominant orders after Dryer 2013, WALS feature 81A."""


@computed_from("languages")
def word_order(languages: list[str]) -> Distances:
    """Compare dominant word orders.

    Raises:
        XlingValueError: a language that is not in the table.
    """
    unknown = [language for language in languages if language not in ORDERS]
    if unknown:
        raise XlingValueError(f"expected languages among {', '.join(ORDERS)}, got {', '.join(unknown)}")
    orders = np.array([ORDERS[language] for language in languages])
    values = (orders[:, None] != orders[None, :]).astype(float)
    matrix = Matrix(values, np.ones_like(values), np.zeros(values.shape, dtype=bool))
    return Distances.from_matrices("word_order", languages, {"word_order": matrix})
