"""Keeps sums over paired rows as the states of a torchmetrics metric."""

from xling.metrics.sums import SumsMetric
from xling.similarity.marginal import Marginal
from xling.similarity.moments import Moments
from xling.similarity.recentre import merged, recentred
from xling.similarity.shapes import Ids, LayersX, LayersY


class MomentsMetric(SumsMetric[Moments, Marginal]):
    """A metric whose states are :class:`xling.similarity.Moments`; subclasses say what to compute from them.

    Args:
        base: ``Marginal.of(x)`` where it was computed before, see :class:`SumsMetric`.
        kwargs: further arguments of :class:`SumsMetric`.
    """

    sums = Moments
    merge = staticmethod(merged)
    recentre = staticmethod(recentred)

    def _add(self, x: LayersX, y: LayersY, groups: Ids | None) -> None:
        moments = self._started(x, y)
        moments.update(x, y, allow_tf32=self.allow_tf32)
        self.moments = moments
