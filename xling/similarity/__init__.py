"""Similarity of representations: exact, streaming, additive over processes.

Pure functions of tensors; the torchmetrics classes over them are in :mod:`xling.metrics`.
"""

from xling.similarity.cka import cka_of_moments, linear_cka
from xling.similarity.marginal import Marginal
from xling.similarity.moments import Moments
from xling.similarity.recentre import merged
from xling.similarity.result import Result, UndefinedSimilarityError

__all__ = [
    "Marginal",
    "Moments",
    "Result",
    "UndefinedSimilarityError",
    "cka_of_moments",
    "linear_cka",
    "merged",
]
