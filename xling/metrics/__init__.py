"""torchmetrics classes around the functions of :mod:`xling.similarity`."""

from xling.metrics.grouped import GroupedMomentsMetric
from xling.metrics.moments import MomentsMetric
from xling.metrics.similarity import CKA, SimilarityMetric

__all__ = ["CKA", "GroupedMomentsMetric", "MomentsMetric", "SimilarityMetric"]
