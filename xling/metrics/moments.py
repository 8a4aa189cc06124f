"""Keeps sums over paired rows, or the rows as long as they are few, as the states of a torchmetrics metric."""

from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from xling.metrics.sums import SumsMetric
from xling.similarity.marginal import Marginal
from xling.similarity.moments import Moments, check_layers
from xling.similarity.recentre import merged, recentred
from xling.similarity.shapes import Ids, LayersX, LayersY

FEW = 2**19
"""Rows are kept as they are up to so many numbers a side and layer (2 MB), or up to as many rows as there are features, whichever
is more: products of all features with each other would cost more memory and time than such rows."""

_FEW_ROWS = ("few_x", "few_y")


class MomentsMetric(SumsMetric[Moments, Marginal]):
    """A metric whose states are the rows while they are few, and :class:`xling.similarity.Moments` from then on.

    Subclasses say what to compute from either. Rows are summed when they become many (:data:`FEW`), when processes add up what they
    hold, and when `moments` are asked for; where the base's sums are known, they are summed at once.

    Args:
        base: ``Marginal.of(x)`` where it was computed before, see :class:`SumsMetric`.
        kwargs: further arguments of :class:`SumsMetric`.
    """

    sums = Moments
    merge = staticmethod(merged)
    recentre = staticmethod(recentred)

    few_x: list[Tensor]
    few_y: list[Tensor]

    def __init__(self, base: Marginal | None = None, **kwargs: Any):
        super().__init__(base=base, **kwargs)
        for name in _FEW_ROWS:
            self.add_state(name, [], dist_reduce_fx="cat")

    @property
    def few_rows(self) -> tuple[Tensor, Tensor] | None:
        """All rows so far, ``[..., n, d_x]`` and ``[..., n, d_y]``, as long as they are few; else None."""
        if not len(self.few_x):  # a list, or after torchmetrics' sync a tensor without entries
            return None
        x, y = (dim_zero_cat(rows).movedim(0, -2) for rows in (self.few_x, self.few_y))
        return x, y

    def _add(self, x: LayersX, y: LayersY, groups: Ids | None) -> None:
        if self._are_few(x, y):
            # copies, with the axis of examples first, along which torchmetrics concatenates states
            self.few_x.append(x.detach().movedim(-2, 0).clone())
            self.few_y.append(y.detach().movedim(-2, 0).clone())
            return
        moments = self._started(x, y)
        moments.update(x, y, allow_tf32=self.allow_tf32)
        self.moments = moments

    def _are_few(self, x: LayersX, y: LayersY) -> bool:
        """Say whether these rows can be kept beside those that are kept already."""
        for name, kept, rows in (("x", self.few_x, x), ("y", self.few_y, y)):
            if len(kept):
                check_layers(f"what {name} held before", kept[0].shape[1:], rows.shape[:-2] + rows.shape[-1:])
        if self.base is not None or self._summed() is not None:
            return False
        n = sum(map(len, self.few_x)) + x.shape[-2]
        return n <= max(min(x.shape[-1], y.shape[-1]), FEW // max(x.shape[-1], y.shape[-1]))

    def _settle(self) -> None:
        rows = self.few_rows
        if rows is not None:
            self.few_x, self.few_y = [], []
            self.moments = Moments.of(*rows, allow_tf32=self.allow_tf32)

    def _own_states(self) -> list[str]:
        return [name for name in self._defaults if name not in _FEW_ROWS]

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the rows of another metric, or of a dict of its states, to this one.

        Raises:
            XlingValueError: the other metric is of another kind, layers or widths differ, or one was started with a base's sums and
                the other without.
        """
        states = self._checked(incoming_state)
        if len(states["few_x"]):
            x, y = (dim_zero_cat(states[name]).movedim(0, -2) for name in _FEW_ROWS)
            self._add(x, y, None)
            self._count_updates(incoming_state)
        else:
            super().merge_state(incoming_state)
