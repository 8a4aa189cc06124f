"""Keeps sums over whole groups of rows as the states of a torchmetrics metric."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from xling.metrics.sums import SumsMetric
from xling.similarity.grouped_moments import GroupedMarginal, GroupedMoments, merged_groups, recentred_groups
from xling.similarity.grouping import OpenGroup, check_together
from xling.similarity.shapes import Ids, LayersX, LayersY

_OPEN = ("open_x", "open_y", "open_groups", "closed_groups")


class GroupedMomentsMetric(SumsMetric[GroupedMoments, GroupedMarginal]):
    """A metric whose states are :class:`xling.similarity.GroupedMoments` and the rows of the group that is still open.

    The rows of a group must follow one another, on one process, in one batch or several; a group is closed when another one
    begins, and the last one when the metric is evaluated.

    Args:
        base: ``GroupedMarginal.of(x, groups)`` where it was computed before, so that the base is not summed again.
        kwargs: further arguments of :class:`SumsMetric`.
    """

    sums = GroupedMoments
    merge = staticmethod(merged_groups)
    recentre = staticmethod(recentred_groups)

    open_x: Tensor
    open_y: Tensor
    open_groups: Tensor
    closed_groups: Tensor

    def __init__(self, base: GroupedMarginal | None = None, **kwargs: Any):
        super().__init__(base=base, **kwargs)
        for name in _OPEN:
            dtype = torch.float32 if name in _OPEN[:2] else torch.int64
            self.add_state(name, torch.zeros(0, dtype=dtype), dist_reduce_fx="sum")
        # sums and open group of this process alone, put aside while the states hold those of all processes
        self._before_sync: tuple[GroupedMoments | None, OpenGroup | None] | None = None

    @property
    def open(self) -> OpenGroup | None:
        """The group that is still open, with the ids of those that are closed; None before the first rows with ids."""
        if self.open_x.dim() < 2:
            return None
        return OpenGroup(*(getattr(self, name) for name in _OPEN))

    @open.setter
    def open(self, group: OpenGroup | None) -> None:
        for name, field in zip(_OPEN, ("x", "y", "groups", "closed"), strict=True):
            setattr(self, name, self._default(name) if group is None else getattr(group, field))

    def _add(self, x: LayersX, y: LayersY, groups: Ids | None) -> None:
        moments = self._started(x, y)
        if groups is not None:
            x, y, groups = x.detach(), y.detach(), groups.to(x.device)
            waiting = self.open or OpenGroup.before(x, y, groups)
            (x, y, groups), self.open = waiting.add(x, y, groups)
        if x.shape[-2]:
            moments.update(x, y, groups, allow_tf32=self.allow_tf32)
        self.moments = moments

    def whole(self) -> GroupedMoments | None:
        """Give the sums over all rows so far, with the open group counted as whole; None before the first rows."""
        moments, group = self.moments, self.open
        if moments is None or group is None or not len(group.groups):
            return moments
        last = GroupedMoments.start(group.x, group.y, self.base)
        last.update(group.x, group.y, group.groups, allow_tf32=self.allow_tf32)
        return merged_groups(moments, last)

    def _own_states(self) -> list[str]:
        return [name for name in self._defaults if name not in _OPEN]

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the groups of another metric, or of a dict of its states, to this one; its open group counts as whole.

        Raises:
            XlingValueError: the other metric is of another kind, a group occurs in both, layers or widths differ, or one was
                started with a base's sums and the other without.
        """
        states = self._checked(incoming_state)
        other = type(self)(base=self.base)
        for name, value in states.items():
            setattr(other, name, value)
        mine, theirs = self.open, other.open
        if mine is not None and theirs is not None:
            check_together(torch.cat([mine.known, theirs.known]))
        incoming = other.whole()
        if incoming is None:
            return
        self._merge_sums(incoming)
        if theirs is not None:
            mine = mine or OpenGroup.before(theirs.x, theirs.y, theirs.groups)
            self.open = OpenGroup(mine.x, mine.y, mine.groups, torch.cat([mine.closed, theirs.known]))
        self._count_updates(incoming_state)

    def _agree(self, gather: Callable[[Tensor], list[Tensor]]) -> None:
        """Agree as :class:`SumsMetric` does, with every process's open group counted as whole until :meth:`unsync`."""
        self._before_sync = (self.moments, self.open)
        known = torch.zeros(0, dtype=torch.int64, device=self.device) if self.open is None else self.open.known
        check_together(torch.cat([ids.to(self.device) for ids in gather(known)]))
        moments = self.whole()
        if moments is not None:
            self.moments = moments
        self.open = None
        super()._agree(gather)

    def unsync(self, should_unsync: bool = True) -> None:
        """Give this process its own sums and its open group back."""
        was_synced = self._is_synced
        super().unsync(should_unsync)
        if was_synced and not self._is_synced and self._before_sync is not None:
            moments, still_open = self._before_sync
            self.open = still_open
            self.reset_sums()
            if moments is not None:
                self.moments = moments
            self._before_sync = None
