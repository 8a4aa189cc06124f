"""Which rows belong together: three hypotheses on one premise, the words of a sentence, the questions on a paragraph."""

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
    """Rows of groups numbered 0, 1, ... in ascending order of their ids.

    Attributes:
        ids: the groups' ids, ascending, ``[G]``.
        which: number of each row's group, ``[n]`` int64.
        sizes: rows of each group, ``[G]`` int64, all at least 1.
    """

    ids: Annotated[Tensor, "[G] int"]
    which: Annotated[Tensor, "[n] int64"]
    sizes: Annotated[Tensor, "[G] int64"]

    @classmethod
    def of(cls, ids: Ids) -> Grouping:
        """Of one id per row, ``[n]`` integers in any order."""
        return cls(*ids.unique(return_inverse=True, return_counts=True))

    @classmethod
    def for_rows(cls, ids: Ids | None, x: LayersX, y: LayersY) -> Grouping:
        """Of paired rows ``[..., n, d]``; None: every row is a group by itself.

        Raises:
            XlingValueError: not one id per row.
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
        """For each size that occurs: (numbers of its groups ``[g]``, their rows ``[g, size]``)."""
        order = self.which.argsort(stable=True)
        starts = self.sizes.cumsum(0) - self.sizes
        found = []
        for size in self.sizes.unique().tolist():
            groups = (self.sizes == size).nonzero().flatten()
            places = starts[groups, None] + torch.arange(size, device=order.device)
            found.append((groups, order[places]))
        return found

    def sums(self, rows: Annotated[Tensor, "[..., n, d] float"]) -> Annotated[Tensor, "[..., G, d] float"]:
        """Sum over the rows of each group: ``[..., n, d]`` to ``[..., G, d]``."""
        return rows.new_zeros(*rows.shape[:-2], self.n, rows.shape[-1]).index_add(-2, self.which, rows)

    def split(
        self, rows: Annotated[Tensor, "[..., n, d] float"]
    ) -> tuple[Annotated[Tensor, "[..., G, d] float"], Annotated[Tensor, "[..., n, d] float"]]:
        """Means of the groups ``[..., G, d]``, and what is left of each row over the root of its group's size ``[..., n, d]``.

        So scaled, the remainders' plain cross-product is the sum over groups of the mean product within a group.
        """
        means = self.sums(rows) / self.sizes.unsqueeze(-1).to(rows.dtype)
        left = rows - means.index_select(-2, self.which)
        is_alone = (self.sizes == 1).index_select(0, self.which).unsqueeze(-1)
        roots = self.sizes.to(rows.dtype).sqrt().index_select(0, self.which).unsqueeze(-1)
        return means, torch.where(is_alone, 0.0, left / roots)


def check_group_ids(groups: Tensor, n_x: int, n_y: int) -> None:
    """Refuse group ids that do not fit the rows.

    Raises:
        XlingValueError: not one integer per row.
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
        x: its rows of the base so far, ``[..., c, d_x]``.
        y: its rows of the other side.
        groups: its id, once per row, ``[c]``.
        closed: ids of the groups before it, ``[k]``.
    """

    x: Annotated[Tensor, "[..., c, d_x] float"]
    y: Annotated[Tensor, "[..., c, d_y] float"]
    groups: Annotated[Tensor, "[c] int"]
    closed: Annotated[Tensor, "[k] int"]

    @classmethod
    def before(cls, x: LayersX, y: LayersY, groups: Ids) -> OpenGroup:
        """No rows yet, for such rows."""
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
        """The rows and ids of groups that are whole once this batch has come, and the group that is open then.

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
        """Ids of all groups met, each once, ``[k]`` or ``[k + 1]``."""
        return torch.cat([self.closed, self.groups[:1]])


def check_together(ids: Annotated[Tensor, "[_] int"]) -> None:
    """Refuse groups that occur twice among `ids`, each of which stands for a stretch of rows.

    Raises:
        XlingValueError: one does.
    """
    values, counts = ids.unique(return_counts=True)
    if (counts > 1).any():
        raise XlingValueError(
            f"the rows of group {int(values[counts > 1][0])} are not together; put the rows of a group one after another, on "
            "one process, or give all rows at once"
        )


def batches_of_groups(grouping: Grouping, n_rows: int) -> Iterator[Tensor]:
    """Rows in batches of whole groups, about `n_rows` each: indices ``[b]``."""
    order = grouping.which.argsort(stable=True)
    ends = grouping.sizes.cumsum(0).cpu()
    start = 0
    while start < len(order):
        within = ends[(ends > start) & (ends <= start + n_rows)]
        stop = int(within[-1]) if len(within) else int(ends[ends > start][0])
        yield order[start:stop]
        start = stop
