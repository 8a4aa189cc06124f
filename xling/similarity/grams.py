"""Compares few rows of many features by their n x n Gram matrix: what is debiased over groups follows from sums of its entries.

A side's matrix is made once, in float64. Centring, taking means of groups and leaving out rows or directions are then
operations on it, so that CKA, its jackknife and its parts together cost two products of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.grouped import GroupedLayer, GroupedTerms
from xling.similarity.grouping import Grouping
from xling.similarity.hsic import HsicTerms
from xling.similarity.shapes import PerGroup, PerRow, Scalar

GRAMS_BELOW = 2
"""Fewer rows than this many times the width are compared by n x n Gram matrices, which then cost less than d x d ones."""

Gram = Annotated[Tensor, "[n, n] float64"]


def are_few(n: int, *widths: int) -> bool:
    """Whether `n` rows of these widths are compared by their n x n Gram matrices."""
    return n < GRAMS_BELOW * min(widths)


@dataclass(frozen=True)
class GroupGrams:
    """One side in groups: inner products of the means and residuals of :class:`xling.similarity.grouped.GroupedRows`, float64.

    Attributes:
        means: products of every two centred group means, ``[G, G]``.
        mixed: products of each of these means with each row's residual, ``[G, n]``.
        residuals: products of every two rows' residuals, ``[n, n]``.
    """

    means: Annotated[Tensor, "[G, G] float64"]
    mixed: Annotated[Tensor, "[G, n] float64"]
    residuals: Gram

    @classmethod
    def of(cls, gram: Gram, grouping: Grouping) -> GroupGrams:
        """Compute them from the products of every two rows, from which any constant row may have been subtracted."""
        which, sizes = grouping.which, grouping.sizes.to(gram.dtype)
        roots = torch.where(sizes == 1, 0.0, sizes.rsqrt())[
            which
        ]  # the residual of a row that is a group by itself is 0
        rows = grouping.sums(gram) / sizes[:, None]  # every group's mean with every row, [G, n]
        means = grouping.sums(rows.mT) / sizes[:, None]
        of_own = means.index_select(1, which)
        half = (rows - of_own / 2).index_select(0, which)
        residuals = (gram - half).sub_(half.mT).mul_(roots).mul_(roots[:, None])
        mixed = (rows - of_own) * roots
        means = means - means.mean(0)
        return cls(means - means.mean(1, keepdim=True), mixed - mixed.mean(0), residuals)

    def without_directions(
        self, gram: Gram, scores: Annotated[Tensor, "[n, k] float64"], grouping: Grouping
    ) -> GroupGrams:
        """Compute the products once the rows' parts along some directions are subtracted.

        ``(I - U U') K (I - U U') = K - U V' - V U'`` with ``V = K U - U (U' K U) / 2``, where U and V are split into means and
        residuals as rows are.

        Args:
            gram: K, the products of every two centred rows, ``[n, n]``.
            scores: U, the rows' orthonormal, centred scores on the k directions, ``[n, k]``.
            grouping: groups of the rows.
        """
        along = gram @ scores
        half = along - scores @ (scores.mT @ along) / 2
        (u, of_u), (v, of_v) = grouping.split(scores), grouping.split(half)
        u, v = u - u.mean(0), v - v.mean(0)
        means, of_means = torch.cat([u, v], 1), torch.cat([v, u], 1)
        residuals, of_residuals = torch.cat([of_u, of_v], 1), torch.cat([of_v, of_u], 1)
        return GroupGrams(
            self.means.addmm(means, of_means.mT, alpha=-1),
            self.mixed.addmm(means, of_residuals.mT, alpha=-1),
            self.residuals.addmm(residuals, of_residuals.mT, alpha=-1),
        )

    def of_groups(self, groups: Annotated[Tensor, "[g] int64"], rows: Annotated[Tensor, "[m] int64"]) -> GroupGrams:
        """Take some groups alone, given by their numbers ``[g]`` and by the numbers of their rows ``[m]``."""
        means = self.means.index_select(0, groups).index_select(1, groups)
        mixed = self.mixed.index_select(0, groups).index_select(1, rows)
        residuals = self.residuals.index_select(0, rows).index_select(1, rows)
        means = means - means.mean(0)
        return GroupGrams(means - means.mean(1, keepdim=True), mixed - mixed.mean(0), residuals)

    @property
    def spread(self) -> Scalar:
        """Sum of squares of the group means and of the residuals."""
        return self.means.trace() + self.residuals.trace()

    def along_own_mean(self, grouping: Grouping) -> PerRow:
        """Products of each row's residual with its own group's mean, ``[n]``."""
        return self.mixed.gather(0, grouping.which[None]).squeeze(0)


def sums_in_groups(matrix: Gram, grouping: Grouping) -> PerGroup:
    """Sum, for each group, the entries whose row and column both belong to it, ``[G]``."""
    found = matrix.new_zeros(grouping.n)
    for groups, rows in grouping.by_size:
        found[groups] = matrix[rows[:, :, None], rows[:, None, :]].sum((1, 2))
    return found


def terms_of_grams(x: GroupGrams, y: GroupGrams, grouping: Grouping) -> GroupedTerms:
    """Compute the terms of the grouped HSIC between two sides; equals :func:`xling.similarity.grouped.grouped_terms`."""
    of_x, of_y = x.means.diagonal(), y.means.diagonal()
    residuals = x.residuals * y.residuals
    return GroupedTerms(
        between=HsicTerms(grouping.n, (x.means * y.means).sum(), of_x.sum(), of_y.sum(), of_x @ of_y),
        within=residuals.sum(),
        own=sums_in_groups(residuals, grouping).sum(),
        mixed=(x.mixed * y.mixed).sum(),
        mixed_own=x.along_own_mean(grouping) @ y.along_own_mean(grouping),
    )


def layer_of_grams(x: GroupGrams, y: GroupGrams, grouping: Grouping, *, is_identical: bool = False) -> GroupedLayer:
    """Compute the terms of one layer's sides; equals :func:`xling.similarity.grouped.grouped_layer`."""
    of_x, of_y, of_both = (terms_of_grams(*pair, grouping) for pair in ((x, x), (y, y), (x, y)))
    return GroupedLayer(of_x, of_y, of_both, is_identical=is_identical)
