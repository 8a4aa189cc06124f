"""Says which rows belong together: three hypotheses on one premise, the words of a sentence, the questions on a paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.shapes import Ids, LayersX, LayersY


@dataclass(frozen=True)
class Grouping:
    """Groups of rows, numbered 0, 1, ... in ascending order of their ids.

    Attributes:
        ids: ids of the groups, ascending, ``[G]`` integers.
        which: number of each row's group, ``[n]`` int64.
        sizes: number of rows of each group, ``[G]`` int64, all at least 1.
    """

    ids: Annotated[Tensor, "[G] int"]
    which: Annotated[Tensor, "[n] int64"]
    sizes: Annotated[Tensor, "[G] int64"]

    @classmethod
    def of(cls, ids: Ids) -> Grouping:
        """Group rows by their group ids, ``[n]`` integers in any order."""
        return cls(*ids.unique(return_inverse=True, return_counts=True))

    @classmethod
    def for_rows(cls, ids: Ids | None, x: LayersX, y: LayersY) -> Grouping:
        """Group paired rows ``[..., n, d]`` by their group ids ``[n]``; None: every row is a group by itself.

        Raises:
            XlingValueError: there is not one integer id per row.
        """
        n = x.shape[-2]
        if ids is None:
            ids = torch.arange(n)
        check_group_ids(ids, n, y.shape[-2])
        return cls.of(ids.to(x.device))

    @property
    def n(self) -> int:
        """Number of groups."""
        return len(self.sizes)

    @cached_property
    def by_size(self) -> list[tuple[Tensor, Tensor]]:
        """For each size that occurs: (numbers of the groups of that size ``[g]``, numbers of their rows ``[g, size]``)."""
        order = self.which.argsort(stable=True)
        starts = self.sizes.cumsum(0) - self.sizes
        by_size = []
        for size in self.sizes.unique().tolist():
            groups = (self.sizes == size).nonzero().flatten()
            places = starts[groups, None] + torch.arange(size, device=order.device)
            by_size.append((groups, order[places]))
        return by_size

    def sums(self, rows: Annotated[Tensor, "[..., n, d] float"]) -> Annotated[Tensor, "[..., G, d] float"]:
        """Sum over the rows of each group: ``[..., n, d]`` to ``[..., G, d]``."""
        return rows.new_zeros(*rows.shape[:-2], self.n, rows.shape[-1]).index_add(-2, self.which, rows)

    def split(
        self, rows: Annotated[Tensor, "[..., n, d] float"]
    ) -> tuple[Annotated[Tensor, "[..., G, d] float"], Annotated[Tensor, "[..., n, d] float"]]:
        """Split rows ``[..., n, d]`` into group means and residuals.

        Divided by the root of their group's size, the residuals of x and y have a plain cross-product that is the sum over groups
        of the mean product within a group.

        Returns:
            Means of the groups ``[..., G, d]``, and of each row the residual beside its group's mean, divided by the root of the
            group's size, ``[..., n, d]``.
        """
        means = self.sums(rows) / self.sizes.unsqueeze(-1).to(rows.dtype)
        residuals = rows - means.index_select(-2, self.which)
        is_alone = (self.sizes == 1).index_select(0, self.which).unsqueeze(-1)
        roots = self.sizes.to(rows.dtype).sqrt().index_select(0, self.which).unsqueeze(-1)
        return means, torch.where(is_alone, 0.0, residuals / roots)


def check_group_ids(groups: Tensor, n_x: int, n_y: int) -> None:
    """Refuse group ids that do not fit the rows.

    Raises:
        XlingValueError: there is not one integer id per row of x and of y.
    """
    if not groups.shape == (n_x,) == (n_y,) or groups.is_floating_point():
        raise XlingValueError(
            f"each pair of rows needs a group id, an integer; got {groups.dtype} {tuple(groups.shape)} for {n_x} and "
            f"{n_y} rows"
        )


@dataclass(frozen=True)
class OpenGroup:
    """The last group of a stream of batches, whose further rows the next batch may bring.

    Attributes:
        x: the group's rows of the base so far, ``[..., c, d_x]``.
        y: the group's rows of the other side so far, ``[..., c, d_y]``.
        groups: the group's id, once per row, ``[c]``.
        closed: ids of the groups that came before it, ``[k]``.
    """

    x: Annotated[Tensor, "[..., c, d_x] float"]
    y: Annotated[Tensor, "[..., c, d_y] float"]
    groups: Annotated[Tensor, "[c] int"]
    closed: Annotated[Tensor, "[k] int"]

    @classmethod
    def before(cls, x: LayersX, y: LayersY, groups: Ids) -> OpenGroup:
        """Make the state before the first batch, for rows of the shapes and types of this batch."""
        return cls(x[..., :0, :], y[..., :0, :], groups[:0], groups[:0])

    def add(
        self, x: LayersX, y: LayersY, groups: Ids
    ) -> tuple[
        tuple[
            Annotated[Tensor, "[..., w, d_x] float"],
            Annotated[Tensor, "[..., w, d_y] float"],
            Annotated[Tensor, "[w] int"],
        ],
        OpenGroup,
    ]:
        """Add a batch.

        Returns:
            Rows of x, rows of y and ids of the groups that are whole once this batch has come, and the group that is open then.

        Raises:
            XlingValueError: a group comes back after another one, so that its rows are not together.
        """
        x, y = torch.cat([self.x, x], -2), torch.cat([self.y, y], -2)
        groups = torch.cat([self.groups, groups])
        runs = torch.unique_consecutive(groups)
        check_together(torch.cat([self.closed, runs]))
        is_open = groups == runs[-1]
        still_open = OpenGroup(
            x[..., is_open, :], y[..., is_open, :], groups[is_open], torch.cat([self.closed, runs[:-1]])
        )
        return (x[..., ~is_open, :], y[..., ~is_open, :], groups[~is_open]), still_open

    @property
    def known(self) -> Annotated[Tensor, "[_] int"]:
        """Ids of all groups that have come, the open one included, each once, ``[k]`` or ``[k + 1]``."""
        return torch.cat([self.closed, self.groups[:1]])


def check_together(ids: Annotated[Tensor, "[_] int"]) -> None:
    """Refuse groups that occur twice among `ids`, each of which stands for a stretch of rows.

    Raises:
        XlingValueError: a group occurs twice.
    """
    values, counts = ids.unique(return_counts=True)
    if (counts > 1).any():
        raise XlingValueError(
            f"the rows of group {int(values[counts > 1][0])} are not together; put the rows of a group one after another, on "
            "one process, or give all rows at once"
        )


def batches_of_groups(grouping: Grouping, n_rows: int) -> Iterator[Tensor]:
    """Yield the numbers of rows ``[b]`` in batches of whole groups: at most `n_rows`, unless one group alone has more."""
    order = grouping.which.argsort(stable=True)
    ends = grouping.sizes.cumsum(0).cpu()
    start = 0
    while start < len(order):
        within = ends[(ends > start) & (ends <= start + n_rows)]
        stop = int(within[-1]) if len(within) else int(ends[ends > start][0])
        yield order[start:stop]
        start = stop
