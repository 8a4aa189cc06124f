"""Few rows of many features through their n x n Gram matrix: what is debiased over groups follows from sums of its entries.

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
    """Whether `n` rows of these widths are compared by their Gram matrices."""
    return n < GRAMS_BELOW * min(widths)


@dataclass(frozen=True)
class GroupGrams:
    """One side in groups; products of what :class:`xling.similarity.grouped.GroupedRows` holds, float64.

    Attributes:
        means: of the centred group means, ``[G, G]``.
        mixed: of these with what is left of each row, ``[G, n]``.
        left: of what is left of every two rows, ``[n, n]``.
    """

    means: Annotated[Tensor, "[G, G] float64"]
    mixed: Annotated[Tensor, "[G, n] float64"]
    left: Gram

    @classmethod
    def of(cls, gram: Gram, grouping: Grouping) -> GroupGrams:
        """From the products of every two rows, whatever constant row has been taken off them."""
        which, sizes = grouping.which, grouping.sizes.to(gram.dtype)
        roots = torch.where(sizes == 1, 0.0, sizes.rsqrt())[which]  # nothing is left of a row that is a group by itself
        rows = grouping.sums(gram) / sizes[:, None]  # every group's mean with every row, [G, n]
        means = grouping.sums(rows.mT) / sizes[:, None]
        of_own = means.index_select(1, which)
        half = (rows - of_own / 2).index_select(0, which)
        left = (gram - half).sub_(half.mT).mul_(roots).mul_(roots[:, None])
        mixed = (rows - of_own) * roots
        means = means - means.mean(0)
        return cls(means - means.mean(1, keepdim=True), mixed - mixed.mean(0), left)

    def without_directions(
        self, gram: Gram, scores: Annotated[Tensor, "[n, k] float64"], grouping: Grouping
    ) -> GroupGrams:
        """What stays once the rows' parts along orthonormal, centred `scores` ``[n, k]`` are taken off.

        ``(I - U U') K (I - U U') = K - U V' - V U'`` with ``V = K U - U (U' K U) / 2``, U and V being taken apart as rows are.
        """
        along = gram @ scores
        half = along - scores @ (scores.mT @ along) / 2
        (u, of_u), (v, of_v) = grouping.split(scores), grouping.split(half)
        u, v = u - u.mean(0), v - v.mean(0)
        means, of_means = torch.cat([u, v], 1), torch.cat([v, u], 1)
        left, of_left = torch.cat([of_u, of_v], 1), torch.cat([of_v, of_u], 1)
        return GroupGrams(
            self.means.addmm(means, of_means.mT, alpha=-1),
            self.mixed.addmm(means, of_left.mT, alpha=-1),
            self.left.addmm(left, of_left.mT, alpha=-1),
        )

    def of_groups(self, groups: Annotated[Tensor, "[g] int64"], rows: Annotated[Tensor, "[m] int64"]) -> GroupGrams:
        """The same of some groups alone, given by their numbers, and of their rows."""
        means = self.means.index_select(0, groups).index_select(1, groups)
        mixed = self.mixed.index_select(0, groups).index_select(1, rows)
        left = self.left.index_select(0, rows).index_select(1, rows)
        means = means - means.mean(0)
        return GroupGrams(means - means.mean(1, keepdim=True), mixed - mixed.mean(0), left)

    @property
    def spread(self) -> Scalar:
        """Sum of squares of the group means and of what is left of the rows."""
        return self.means.trace() + self.left.trace()

    def along_own_mean(self, grouping: Grouping) -> PerRow:
        """Products of what is left of each row with its own group's mean, ``[n]``."""
        return self.mixed.gather(0, grouping.which[None]).squeeze(0)


def sums_in_groups(matrix: Gram, grouping: Grouping) -> PerGroup:
    """Sum of the entries whose row and column belong to the group, ``[G]``."""
    found = matrix.new_zeros(grouping.n)
    for groups, rows in grouping.by_size:
        found[groups] = matrix[rows[:, :, None], rows[:, None, :]].sum((1, 2))
    return found


def terms_of_grams(x: GroupGrams, y: GroupGrams, grouping: Grouping) -> GroupedTerms:
    """Terms of the grouped HSIC between two sides; equals :func:`xling.similarity.grouped.grouped_terms`."""
    of_x, of_y = x.means.diagonal(), y.means.diagonal()
    left = x.left * y.left
    return GroupedTerms(
        between=HsicTerms(grouping.n, (x.means * y.means).sum(), of_x.sum(), of_y.sum(), of_x @ of_y),
        within=left.sum(),
        own=sums_in_groups(left, grouping).sum(),
        mixed=(x.mixed * y.mixed).sum(),
        mixed_own=x.along_own_mean(grouping) @ y.along_own_mean(grouping),
    )


def layer_of_grams(x: GroupGrams, y: GroupGrams, grouping: Grouping, *, is_identical: bool = False) -> GroupedLayer:
    """One layer's sides; equals :func:`xling.similarity.grouped.grouped_layer`."""
    of_x, of_y, of_both = (terms_of_grams(*pair, grouping) for pair in ((x, x), (y, y), (x, y)))
    return GroupedLayer(of_x, of_y, of_both, is_identical=is_identical)
