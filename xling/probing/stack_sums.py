"""Accumulates sums over the rows of a stack of layers of one width, beside those of the base."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity import GroupedMarginal, GroupedMoments, Marginal, Moments, Result
from xling.similarity.grouping import Grouping, batches_of_groups
from xling.similarity.marginal import ROWS_AT_ONCE
from xling.similarity.registry import Measure
from xling.similarity.shapes import Ids


class StackSums:
    """The sums of one stack: over rows, over whole groups, or both, as the measures of the comparison need.

    Args:
        base: the base's rows at each layer of the stack, ``[n, d]``.
        stack: positions of these layers among all layers.
        measures: the measures that will be evaluated.
        groups: group id of each of the base's rows, ``[n]``; None where no measure knows groups.

    Attributes:
        moments: sums over rows; None before the first rows, or where no measure needs them.
        grouped: sums over whole groups; None before the first group, or where no measure needs them.
    """

    def __init__(
        self,
        base: list[Annotated[Tensor, "[n, d] float"]],
        stack: list[int],
        measures: Sequence[Measure],
        groups: Ids | None,
    ) -> None:
        self.stack, self._base, self._groups = stack, base, None if groups is None else groups.to(base[0].device)
        self._has_rows = any(not measure.knows_groups for measure in measures)
        self._has_groups = any(measure.knows_groups for measure in measures)
        self.moments: Moments | None = None
        self.grouped: GroupedMoments | None = None
        self._n_summed = 0
        self._of_base: Marginal | None = None
        self._of_groups: GroupedMarginal | None = None

    def start(self, rows: Annotated[Tensor, "[r] int64"]) -> None:
        """Sum the base over `rows`, in batches, so that no copy of all of them is made."""
        self._n_summed = len(rows)
        if self._has_rows:
            self._of_base = Marginal.of_batches(self._rows(some) for some in rows.split(ROWS_AT_ONCE))
        if self._has_groups:
            self._of_groups = GroupedMarginal.of_batches(self._in_groups(rows))

    def _in_groups(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of whole groups of the base: representations ``[L, b, d]`` and group ids ``[b]``."""
        assert self._groups is not None
        groups = self._groups[rows.to(self._groups.device)]
        for some in batches_of_groups(Grouping.of(groups), ROWS_AT_ONCE):
            yield self._rows(rows[some.to(rows.device)]), groups[some]

    def add(self, rows: Annotated[Tensor, "[n] int64"], now: Annotated[Tensor, "[L, n, d] float"]) -> None:
        """Add a batch.

        Args:
            rows: numbers of the base's rows, ``[b]`` int64.
            now: present representations of the same examples at the layers of the stack, ``[L, b, d]``.
        """
        if self._has_rows:
            before = self._rows(rows)
            self.moments = self.moments or Moments.start(before, now, self._of_base)
            self.moments.update(before, now)

    def add_groups(self, rows: Annotated[Tensor, "[n] int64"], now: Annotated[Tensor, "[L, n, d] float"]) -> None:
        """Add a batch of whole groups; arguments as in :meth:`add`."""
        assert self._groups is not None
        before = self._rows(rows)
        self.grouped = self.grouped or GroupedMoments.start(before, now, self._of_groups)
        self.grouped.update(before, now, self._groups[rows])

    def evaluate(self, measure: Measure, seen: Annotated[Tensor, "[_] int64"]) -> Result:
        """Evaluate a measure for every layer of the stack.

        Args:
            measure: one of the measures.
            seen: numbers of the base's rows that have come, ``[_]`` int64; where these are not all, the base is summed anew over
                them.
        """
        if len(seen) != self._n_summed:
            self.start(seen)
        if measure.knows_groups:
            assert self.grouped is not None
            return measure.of_moments(self.grouped, self._of_groups)
        assert self.moments is not None
        return measure.of_moments(self.moments, self._of_base)

    def _rows(self, rows: Annotated[Tensor, "[n] int64"]) -> Annotated[Tensor, "[L, n, d] float"]:
        return torch.stack([layer[rows] for layer in self._base])
