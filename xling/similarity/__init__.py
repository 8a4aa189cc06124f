"""Similarity of representations: exact, streaming, additive over processes.

Pure functions of tensors; the torchmetrics classes over them are in :mod:`xling.metrics`.
"""

from xling.similarity.chance import above_chance, chance_levels
from xling.similarity.cka import cka_of_moments, linear_cka
from xling.similarity.grouped_moments import GroupedMarginal, GroupedMoments, merged_groups
from xling.similarity.marginal import Marginal
from xling.similarity.moments import Moments
from xling.similarity.null import ShuffledNull, shuffled_null
from xling.similarity.parallel import check_same_examples
from xling.similarity.recentre import merged
from xling.similarity.registry import MAPS, MEASURES, Measure, get_measure
from xling.similarity.result import Result, UndefinedSimilarityError
from xling.similarity.rows import cka_matrix
from xling.similarity.uncertainty import Jackknife, jackknife_cka

__all__ = [
    "MAPS",
    "MEASURES",
    "GroupedMarginal",
    "GroupedMoments",
    "Jackknife",
    "Marginal",
    "Measure",
    "Moments",
    "Result",
    "ShuffledNull",
    "UndefinedSimilarityError",
    "above_chance",
    "chance_levels",
    "check_same_examples",
    "cka_matrix",
    "cka_of_moments",
    "get_measure",
    "jackknife_cka",
    "linear_cka",
    "merged",
    "merged_groups",
    "shuffled_null",
]
