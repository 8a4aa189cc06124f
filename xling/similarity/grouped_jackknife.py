"""Delete-group jackknife of the CKA debiased over groups: exact, at the cost of a few products of rows.

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
    means, sides = deleted_pairs(x.means, y.means, *_one_by_one(grouping)), (x, y)
    removed = [_removed_from_rows(sides[i], sides[j], grouping) for i, j in _PAIRS]
    return [_without(*parts) for parts in zip(terms, means, removed, strict=True)]


def without_each_group_of_grams(
    terms: list[GroupedTerms], x: GroupGrams, y: GroupGrams, grouping: Grouping
) -> list[GroupedTerms]:
    """The same from Gram matrices."""
    sides = x, y
    means = [deleted_by_grams(sides[i].means, sides[j].means, *_one_by_one(grouping)) for i, j in _PAIRS]
    removed = [_removed_from_grams(sides[i], sides[j], grouping) for i, j in _PAIRS]
    return [_without(*parts) for parts in zip(terms, means, removed, strict=True)]


def _one_by_one(grouping: Grouping) -> tuple[Tensor, Tensor]:
    """Numbers and sizes of groups of which every mean is one by itself."""
    which = torch.arange(grouping.n, device=grouping.which.device)
    return which, torch.ones_like(which)


def _without(terms: GroupedTerms, means: Deleted, removed: Removed) -> GroupedTerms:
    """The means that stay move by minus the removed one over G - 1, so N becomes ``N - G / (G - 1) y_a x_a'``."""
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
    left, mixed = x.left * y.left, x.mixed * y.mixed
    along_x, along_y = x.along_own_mean(grouping), y.along_own_mean(grouping)
    return Removed(
        own=sums_in_groups(left, grouping),
        within=_by_group(left.sum(1), grouping),
        mixed=_by_group(mixed.sum(0), grouping),
        across=mixed.sum(1),
        mixed_own=_by_group(along_x * along_y, grouping),
        on_mean=y.mixed @ along_x + x.mixed @ along_y,
    )


def _removed_from_rows(x: GroupedRows, y: GroupedRows, grouping: Grouping) -> Removed:
    """From the d x d products D and N."""
    d, n = y.left.mT @ x.left, y.means.mT @ x.means
    return Removed(
        own=of_each_group(x.left, y.left, grouping),
        within=_by_group(_sums(y.left, d, x.left), grouping),
        mixed=_by_group(_sums(y.left, n, x.left), grouping),
        across=_sums(y.means, d, x.means),
        mixed_own=mixed_of_each_group(x, y, grouping),
        on_mean=_on_mean(x, y, grouping) + _on_mean(y, x, grouping),
    )


def _sums(rows_y: RowsY, product: Annotated[Tensor, "[d_y, d_x] float"], rows_x: RowsX) -> PerRow:
    """``y_i' M x_i`` of each pair of rows, float64 ``[n]``."""
    return ((rows_y @ product) * rows_x).sum(-1, dtype=torch.float64)


def _on_mean(x: GroupedRows, y: GroupedRows, grouping: Grouping) -> PerGroup:
    """``y_a`` times the sum of all ``D_b x_b``, ``[G]``."""
    along = (x.left * x.means.index_select(0, grouping.which)).sum(-1, dtype=torch.float64)
    return y.means.double() @ (along @ y.left.double())


def _by_group(values: PerRow, grouping: Grouping) -> PerGroup:
    return grouping.sums(values.unsqueeze(-1)).squeeze(-1)
