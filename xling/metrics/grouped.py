"""Sums over whole groups of rows as the states of a torchmetrics metric."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xling.metrics.moments import MomentsMetric
from xling.similarity.grouped_moments import GroupedMarginal, GroupedMoments, merged_groups, recentred_groups
from xling.similarity.grouping import OpenGroup, check_together

_OPEN = ("open_x", "open_y", "open_groups", "closed_groups")


class GroupedMomentsMetric(MomentsMetric):
    """States of :class:`xling.similarity.GroupedMoments`, and the group that is still open.

    The rows of a group must follow one another, on one process, in one batch or several; a group is closed when another one
    begins, and the last one when the metric is evaluated.

    Args:
        base: ``GroupedMarginal.of(x, groups)`` where the base is known: then its self-term is not accumulated.
        kwargs: of :class:`MomentsMetric`.
    """

    sums = GroupedMoments
    merge = staticmethod(merged_groups)
    recentre = staticmethod(recentred_groups)

    def __init__(self, base: GroupedMarginal | None = None, **kwargs: Any):
        super().__init__(base=base, **kwargs)
        for name in _OPEN:
            dtype = torch.float32 if name in _OPEN[:2] else torch.int64
            self.add_state(name, torch.zeros(0, dtype=dtype), dist_reduce_fx="sum")
        self._local: tuple[GroupedMoments | None, OpenGroup | None] | None = None

    @property
    def open(self) -> OpenGroup | None:
        """The group that is still open, and which were closed; None before the first rows with ids."""
        if self.open_x.dim() < 2:
            return None
        return OpenGroup(*(getattr(self, name) for name in _OPEN))

    @open.setter
    def open(self, group: OpenGroup | None) -> None:
        for name, field in zip(_OPEN, ("x", "y", "groups", "closed"), strict=True):
            value = self._defaults[name].to(self.device) if group is None else getattr(group, field)
            setattr(self, name, value)

    def _add(self, x: Tensor, y: Tensor, groups: Tensor | None) -> None:
        moments = self._started(x, y)
        if groups is not None:
            x, y, groups = x.detach(), y.detach(), groups.to(x.device)
            waiting = self.open or OpenGroup.before(x, y, groups)
            (x, y, groups), self.open = waiting.add(x, y, groups)
        if x.shape[-2]:
            moments.update(x, y, groups, allow_tf32=self.allow_tf32)
        self.moments = moments

    def whole(self) -> GroupedMoments | None:
        """All rows so far, the open group counted as whole; None before the first rows."""
        moments, group = self.moments, self.open
        if moments is None or group is None or not len(group.groups):
            return moments
        last = GroupedMoments.start(group.x, group.y, self.base)
        last.update(group.x, group.y, group.groups, allow_tf32=self.allow_tf32)
        return merged_groups(moments, last)

    def _own_states(self) -> list[str]:
        return [name for name in self._defaults if name not in _OPEN]

    def merge_state(self, incoming_state: "dict[str, Tensor] | GroupedMomentsMetric") -> None:
        """Add the groups of another metric, or of a dict of its states, to this one; its open group counts as whole.

        Raises:
            XlingValueError: a group occurs in both, other layers or widths, or started with a base and without.
        """
        other = incoming_state
        if not isinstance(other, GroupedMomentsMetric):
            other = type(self)(base=self.base)
            for name, value in incoming_state.items():
                setattr(other, name, value)
        mine, theirs = self.open, other.open
        if mine is not None and theirs is not None:
            check_together(torch.cat([mine.known, theirs.known]))
        incoming = other.whole()
        if incoming is None:
            return
        self.moments = incoming if self.moments is None else merged_groups(self.moments, incoming)
        if theirs is not None:
            mine = mine or OpenGroup.before(theirs.x, theirs.y, theirs.groups)
            self.open = OpenGroup(mine.x, mine.y, mine.groups, torch.cat([mine.closed, theirs.known]))
        self._update_count += other.update_count if isinstance(incoming_state, GroupedMomentsMetric) else 1
        self._computed = None

    def _agree(self, gather: Callable[[Tensor], list[Tensor]]) -> None:
        """As :class:`MomentsMetric`, every process's open group counted as whole until :meth:`unsync`."""
        self._local = (self.moments, self.open)
        known = torch.zeros(0, dtype=torch.int64, device=self.device) if self.open is None else self.open.known
        check_together(torch.cat([ids.to(self.device) for ids in gather(known)]))
        if self.moments is not None:
            self.moments = self.whole()
        self.open = None
        super()._agree(gather)

    def unsync(self, should_unsync: bool = True) -> None:
        """Go on with this process's own rows."""
        was_synced = self._is_synced
        super().unsync(should_unsync)
        if was_synced and not self._is_synced and self._local is not None:
            moments, self.open = self._local
            self.reset_sums()
            if moments is not None:
                self.moments = moments
            self._local = None
