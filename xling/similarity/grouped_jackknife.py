"""Computes the delete-group jackknife of the CKA debiased over groups: exact, at the cost of a few products of rows.

Leaving out a group changes the sums over group means as leaving out a row does, and the sums within groups by its own.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.deletion import Deleted, deleted_by_grams, deleted_pairs, without
from xling.similarity.grams import GroupGrams, sums_in_groups
from xling.similarity.grouped import GroupedRows, GroupedTerms, mixed_of_each_group, of_each_group
from xling.similarity.grouping import Grouping
from xling.similarity.shapes import PerGroup, PerRow, RowsX, RowsY

_PAIRS = ((0, 0), (1, 1), (0, 1))


@dataclass(frozen=True)
class Removed:
    """The sums by which leaving out each group a changes the terms of one pair of sides, ``[G]`` float64.

    The symbols are those of :class:`xling.similarity.grouped.GroupedTerms`.

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
    """Compute the terms of (x, x), (y, y) and (x, y) once each group is left out.

    Args:
        terms: terms of the three pairs over all groups.
        x: rows of the base, split into means and residuals.
        y: rows of the other side, split alike.
        grouping: groups of the rows.

    Returns:
        The three terms, whose fields are ``[G]`` float64: entry a is the value without group a.
    """
    means, sides = deleted_pairs(x.means, y.means, *_one_by_one(grouping)), (x, y)
    removed = [_removed_from_rows(sides[i], sides[j], grouping) for i, j in _PAIRS]
    return [_without(*parts) for parts in zip(terms, means, removed, strict=True)]


def without_each_group_of_grams(
    terms: list[GroupedTerms], x: GroupGrams, y: GroupGrams, grouping: Grouping
) -> list[GroupedTerms]:
    """Compute what :func:`without_each_group` gives from Gram matrices."""
    sides = x, y
    means = [deleted_by_grams(sides[i].means, sides[j].means, *_one_by_one(grouping)) for i, j in _PAIRS]
    removed = [_removed_from_grams(sides[i], sides[j], grouping) for i, j in _PAIRS]
    return [_without(*parts) for parts in zip(terms, means, removed, strict=True)]


def _one_by_one(grouping: Grouping) -> tuple[Tensor, Tensor]:
    """Give numbers and sizes ``[G]`` of groups that consist of one group mean each."""
    which = torch.arange(grouping.n, device=grouping.which.device)
    return which, torch.ones_like(which)


def _without(terms: GroupedTerms, means: Deleted, removed: Removed) -> GroupedTerms:
    """Take the removed sums from the terms.

    The means that stay are centred again, which moves them by ``-x_a / (G - 1)``, so that N becomes
    ``N - G / (G - 1) y_a x_a'``.
    """
    g = terms.between.n
    factor = g / (g - 1)
    mixed_own = terms.mixed_own - factor**2 * removed.mixed_own
    return GroupedTerms(
        without(terms.between, means),
        terms.within - 2 * removed.within + removed.own,
        terms.own - removed.own,
        terms.mixed - removed.mixed - factor * (removed.across - removed.mixed_own),
        mixed_own + removed.on_mean / (g - 1) + removed.across / (g - 1) ** 2,
    )


def _removed_from_grams(x: GroupGrams, y: GroupGrams, grouping: Grouping) -> Removed:
    residuals, mixed = x.residuals * y.residuals, x.mixed * y.mixed
    along_x, along_y = x.along_own_mean(grouping), y.along_own_mean(grouping)
    return Removed(
        own=sums_in_groups(residuals, grouping),
        within=_by_group(residuals.sum(1), grouping),
        mixed=_by_group(mixed.sum(0), grouping),
        across=mixed.sum(1),
        mixed_own=_by_group(along_x * along_y, grouping),
        on_mean=y.mixed @ along_x + x.mixed @ along_y,
    )


def _removed_from_rows(x: GroupedRows, y: GroupedRows, grouping: Grouping) -> Removed:
    """Compute the sums from the d x d products D and N."""
    d, n = y.residuals.mT @ x.residuals, y.means.mT @ x.means
    return Removed(
        own=of_each_group(x.residuals, y.residuals, grouping),
        within=_by_group(_sums(y.residuals, d, x.residuals), grouping),
        mixed=_by_group(_sums(y.residuals, n, x.residuals), grouping),
        across=_sums(y.means, d, x.means),
        mixed_own=mixed_of_each_group(x, y, grouping),
        on_mean=_on_mean(x, y, grouping) + _on_mean(y, x, grouping),
    )


def _sums(rows_y: RowsY, product: Annotated[Tensor, "[d_y, d_x] float"], rows_x: RowsX) -> PerRow:
    """Compute ``y_i' M x_i`` of each pair of rows, float64 ``[n]``, where M is `product`."""
    return ((rows_y @ product) * rows_x).sum(-1, dtype=torch.float64)


def _on_mean(x: GroupedRows, y: GroupedRows, grouping: Grouping) -> PerGroup:
    """Compute the product of each ``y_a`` with the sum of all ``D_b x_b``, ``[G]`` float64."""
    along = (x.residuals * x.means.index_select(0, grouping.which)).sum(-1, dtype=torch.float64)
    return y.means.double() @ (along @ y.residuals.double())


def _by_group(values: PerRow, grouping: Grouping) -> PerGroup:
    return grouping.sums(values.unsqueeze(-1)).squeeze(-1)
