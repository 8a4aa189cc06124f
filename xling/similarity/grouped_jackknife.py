"""Delete-group jackknife of the CKA debiased over groups: exact, at the cost of a few products of rows.

Leaving out a group changes the sums over group means as leaving out a row does, and the sums within groups by its own.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.deletion import GRAMS_BELOW, deleted_pairs, without
from xling.similarity.grouped import GroupedRows, GroupedTerms, mixed_of_each_group, of_each_group
from xling.similarity.grouping import Grouping
from xling.similarity.hsic import HsicTerms
from xling.similarity.shapes import PerGroup, PerRow, RowsX, RowsY


@dataclass(frozen=True)
class _Removed:
    """What leaving out group a changes, ``[G]`` float64; symbols as in :class:`xling.similarity.grouped.GroupedTerms`.

    Attributes:
        own: ``|D_a|_F^2``.
        within: ``<D, D_a>``.
        mixed: ``<N, D_a>``.
        across: ``y_a' D x_a``.
        mixed_own: ``y_a' D_a x_a``.
        on_mean: ``y_a`` times the sum of all ``D_b x_b``, plus ``x_a`` times the sum of all ``D_b' y_b``.
    """

    own: PerGroup
    within: PerGroup
    mixed: PerGroup
    across: PerGroup
    mixed_own: PerGroup
    on_mean: PerGroup


def without_each_group(
    terms: list[GroupedTerms], x: GroupedRows, y: GroupedRows, grouping: Grouping
) -> list[GroupedTerms]:
    """Terms of (x, x), (y, y) and (x, y) once each group is left out; fields ``[G]`` float64."""
    which = torch.arange(grouping.n, device=x.means.device)
    means = deleted_pairs(x.means, y.means, which, torch.ones_like(which))
    sides = _Side(x), _Side(y)
    pairs = zip(terms, means, ((0, 0), (1, 1), (0, 1)), strict=True)
    return [
        _without(whole, without(whole.between, of_means), _removed(sides[i], sides[j], grouping))
        for whole, of_means, (i, j) in pairs
    ]


class _Side:
    """The rows of one side, with their Gram matrices, which all its pairs share."""

    def __init__(self, rows: GroupedRows) -> None:
        self.rows = rows

    @cached_property
    def of_rows(self) -> Tensor:
        """Products of what is left of every two rows once their group's mean is taken off, ``[n, n]``."""
        return self.rows.left @ self.rows.left.mT

    @cached_property
    def of_means(self) -> Tensor:
        """Products of every group's mean with what is left of every row, ``[G, n]``."""
        return self.rows.means @ self.rows.left.mT


def _without(terms: GroupedTerms, between: HsicTerms, removed: _Removed) -> GroupedTerms:
    """The means that stay move by minus the removed one over G - 1, so N becomes ``N - G / (G - 1) y_a x_a'``."""
    g = terms.between.n
    factor = g / (g - 1)
    mixed_own = terms.mixed_own - factor**2 * removed.mixed_own
    return GroupedTerms(
        between,
        terms.within - 2 * removed.within + removed.own,
        terms.own - removed.own,
        terms.mixed - removed.mixed - factor * (removed.across - removed.mixed_own),
        mixed_own + removed.on_mean / (g - 1) + removed.across / (g - 1) ** 2,
    )


def _removed(side_x: _Side, side_y: _Side, grouping: Grouping) -> _Removed:
    x, y = side_x.rows, side_y.rows
    is_few = len(x.left) < GRAMS_BELOW * min(x.left.shape[-1], y.left.shape[-1])
    within, mixed, across = _by_grams(side_x, side_y) if is_few else _by_products(x, y)
    return _Removed(
        own=of_each_group(x.left, y.left, grouping),
        within=_by_group(within, grouping),
        mixed=_by_group(mixed, grouping),
        across=across,
        mixed_own=mixed_of_each_group(x, y, grouping),
        on_mean=_on_mean(x, y, grouping) + _on_mean(y, x, grouping),
    )


def _by_grams(x: _Side, y: _Side) -> tuple[PerRow, PerRow, PerGroup]:
    """``d_i' D e_i`` and ``d_i' N e_i`` per row ``[n]``, and ``y_a' D x_a`` per group ``[G]``, from products of rows."""
    rows = x.of_rows * y.of_rows
    both = x.of_means * y.of_means  # [G, n]
    f64 = torch.float64
    return rows.sum(1, dtype=f64), both.sum(0, dtype=f64), both.sum(1, dtype=f64)


def _by_products(x: GroupedRows, y: GroupedRows) -> tuple[PerRow, PerRow, PerGroup]:
    """The same from the d x d products D and N."""
    d, n = y.left.mT @ x.left, y.means.mT @ x.means
    return _sums(y.left, d, x.left), _sums(y.left, n, x.left), _sums(y.means, d, x.means)


def _sums(rows_y: RowsY, product: Annotated[Tensor, "[d_y, d_x] float"], rows_x: RowsX) -> PerRow:
    """``y_i' M x_i`` of each pair of rows, float64 ``[n]``."""
    return ((rows_y @ product) * rows_x).sum(-1, dtype=torch.float64)


def _on_mean(x: GroupedRows, y: GroupedRows, grouping: Grouping) -> PerGroup:
    """``y_a`` times the sum of all ``D_b x_b``, ``[G]``."""
    along = (x.left * x.means.index_select(0, grouping.which)).sum(-1, dtype=torch.float64)
    return y.means.double() @ (along @ y.left.double())


def _by_group(values: PerRow, grouping: Grouping) -> PerGroup:
    return grouping.sums(values.unsqueeze(-1)).squeeze(-1)
