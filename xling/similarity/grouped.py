"""Computes HSIC and CKA of rows in groups, as a U-statistic over groups, since the rows of a group are not independent.

Derivation in docs/similarity.md. With N the cross-product of the centred group means and D the sum over groups of the mean
cross-product of what is left of a group's rows, everything is a handful of inner products of N, D and the groups' own D_a.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.centred import check_defined
from xling.similarity.grouping import Grouping
from xling.similarity.hsic import HsicTerms, check_own_hsic, hsic
from xling.similarity.panels import frobenius_sq
from xling.similarity.rows import cross_sq, pair_terms
from xling.similarity.shapes import LayersX, LayersY, PerGroup, PerLayer, RowsX, RowsY, Scalar


@dataclass(frozen=True)
class GroupedTerms:
    """The sums that the grouped HSIC(K, L) is computed from.

    x_a and y_a are centred group means, and D_a is the mean of ``d_i e_i'`` over a group's rows, where e_i and d_i are the
    residuals of x_i and y_i.

    Attributes:
        between: terms of the group means; their n is the number of groups.
        within: ``|D|_F^2``, D the sum of all D_a.
        own: sum of ``|D_a|_F^2``.
        mixed: ``<N, D>``, N the sum of ``y_a x_a'``.
        mixed_own: sum of ``y_a' D_a x_a``.
    """

    between: HsicTerms
    within: PerLayer
    own: PerLayer
    mixed: PerLayer
    mixed_own: PerLayer

    @property
    def uncorrected(self) -> PerLayer:
        """``|N + D|_F^2``, the HSIC before pairs of rows of one group are left out."""
        return self.between.cross + 2 * self.mixed + self.within


def grouped_hsic(terms: GroupedTerms) -> PerLayer:
    """Compute the unbiased HSIC over groups, up to the factor that CKA cancels; groups of one row give Song's estimator.

    It is ``A + B - 2 C`` with A the mean of ``K_ij L_ij`` over rows of two different groups, B that of ``K_ij L_qr`` over rows of
    four, and C that of ``K_ij L_iq`` over rows of three, where every group counts alike. It needs at least 4 groups.
    """
    g = terms.between.n
    within = (g - 3) / (g - 1) * (terms.within - terms.own)
    mixed = (g - 3) / (g - 2) * (terms.mixed - g / (g - 1) * terms.mixed_own)
    return hsic(terms.between, debiased=True) + within + 2 * mixed


@dataclass(frozen=True)
class GroupedLayer:
    """One layer of a comparison in groups.

    Attributes:
        xx: terms of the base with itself.
        yy: terms of the other side with itself.
        xy: terms between the two sides.
        is_identical: whether every row of y equals its row of x bit by bit.
    """

    xx: GroupedTerms
    yy: GroupedTerms
    xy: GroupedTerms
    is_identical: bool


def grouped_cka(layer: GroupedLayer) -> PerLayer:
    """Compute linear CKA debiased over groups, scalar float64; up to 1, about 0 for groups paired at random, never clamped.

    Raises:
        UndefinedSimilarityError: the unbiased HSIC of a side with itself is not positive.
    """
    of_x, of_y = grouped_hsic(layer.xx), grouped_hsic(layer.yy)
    check_own_hsic((of_x, layer.xx.uncorrected), (of_y, layer.yy.uncorrected))
    value = grouped_hsic(layer.xy) / (torch.sqrt(of_x) * torch.sqrt(of_y))
    return torch.ones_like(value) if layer.is_identical else value


@dataclass(frozen=True)
class GroupedRows:
    """One side's rows, split into group means and residuals.

    Attributes:
        means: group means, centred by their own mean, ``[G, d]``.
        residuals: each row without its group's mean, divided by the root of its group's size, ``[n, d]``.
    """

    means: Annotated[Tensor, "[G, d] float"]
    residuals: Annotated[Tensor, "[n, d] float"]


def grouped_rows(rows: Annotated[Tensor, "[n, d] float"], grouping: Grouping, name: str) -> GroupedRows:
    """Split rows ``[n, d]`` into group means and residuals; `name` is that of the side in errors.

    Raises:
        UndefinedSimilarityError: there are fewer than 4 groups, non-finite values or constant features.
    """
    dtype = torch.promote_types(rows.dtype, torch.float32)
    mean = rows.mean(0, dtype=torch.float64)
    means, residuals = grouping.split(rows.to(dtype) - mean.to(dtype))
    means = means - means.mean(0)
    spread = frobenius_sq(means) + frobenius_sq(residuals)
    check_defined(name, grouping.n, spread.detach(), mean.detach(), of="groups")
    return GroupedRows(means, residuals)


def grouped_terms(x: GroupedRows, y: GroupedRows, grouping: Grouping) -> GroupedTerms:
    """Compute the terms of the grouped HSIC between two sides, over whichever of n x n and d x d matrices are smaller."""
    own = of_each_group(x.residuals, y.residuals, grouping).sum()
    mixed_own = mixed_of_each_group(x, y, grouping).sum()
    return GroupedTerms(pair_terms(x.means, y.means), cross_sq(x.residuals, y.residuals), own, _mixed(x, y), mixed_own)


def of_each_group(
    residuals_x: LayersX, residuals_y: LayersY, grouping: Grouping
) -> Annotated[Tensor, "[..., G] float64"]:
    """Compute ``|D_a|_F^2`` of every group, ``[..., G]`` float64, from the residuals ``[..., n, d]`` of both sides."""

    def of_size(groups: Tensor, rows: Tensor) -> Tensor:
        grams = (_gathered(side, rows) for side in (residuals_x, residuals_y))
        k, l = (side @ side.mT for side in grams)  # noqa: E741  (K and L in the field)
        return (k.double() * l).sum((-2, -1))

    return _by_size(of_size, grouping, residuals_x)


def mixed_of_each_group(x: GroupedRows, y: GroupedRows, grouping: Grouping) -> PerGroup:
    """Compute ``y_a' D_a x_a`` of every group, ``[G]`` float64."""
    along = (side.residuals * side.means.index_select(-2, grouping.which) for side in (x, y))
    of_x, of_y = (products.sum(-1, dtype=torch.float64) for products in along)
    return grouping.sums((of_x * of_y).unsqueeze(-1)).squeeze(-1)


def _mixed(x: GroupedRows, y: GroupedRows) -> Scalar:
    """Compute ``<N, D>``, over whichever of G x n and d x d matrices are smaller."""
    g, n = len(x.means), len(x.residuals)
    if g * n < x.means.shape[-1] * y.means.shape[-1]:
        return ((x.means @ x.residuals.mT).double() * (y.means @ y.residuals.mT)).sum()
    return ((y.means.mT @ x.means).double() * (y.residuals.mT @ x.residuals)).sum()


def _gathered(
    rows: Annotated[Tensor, "[..., n, d] float"], which: Annotated[Tensor, "[g, s] int64"]
) -> Annotated[Tensor, "[..., g, s, d] float"]:
    """Gather the rows of groups of one size, ``[..., g, size, d]``; `which` holds their numbers."""
    return rows.index_select(-2, which.flatten()).unflatten(-2, which.shape)


def _by_size(of_size: Callable[[Tensor, Tensor], Tensor], grouping: Grouping, like: Tensor) -> Tensor:
    """Compute a number of every group, ``[..., G]`` float64, for all groups of one size at once."""
    values = torch.zeros(*like.shape[:-2], grouping.n, dtype=torch.float64, device=like.device)
    for groups, rows in grouping.by_size:
        if rows.shape[-1] > 1:  # the residual of a row that is a group by itself is 0
            values = values.index_copy(-1, groups, of_size(groups, rows))
    return values


def grouped_pair(x: RowsX, y: RowsY, grouping: Grouping) -> GroupedLayer:
    """Compute the terms of one layer from its paired rows ``[n, d_x]`` and ``[n, d_y]``.

    Raises:
        UndefinedSimilarityError: there are fewer than 4 groups, non-finite values or constant features.
    """
    return grouped_layer(
        grouped_rows(x, grouping, "x"), grouped_rows(y, grouping, "y"), grouping, is_identical=torch.equal(x, y)
    )


def grouped_layer(x: GroupedRows, y: GroupedRows, grouping: Grouping, *, is_identical: bool) -> GroupedLayer:
    """Compute the terms of one layer from its two sides, split into means and residuals."""
    of_x, of_y, of_both = (grouped_terms(*pair, grouping) for pair in ((x, x), (y, y), (x, y)))
    return GroupedLayer(of_x, of_y, of_both, is_identical=is_identical)
