"""Estimates how far one CKA can be trusted: delete-group jackknife and the influence of single groups.

Both work on the rows of one layer and one language. An impact is 1 - CKA: it has the same standard error, the
interval turned round, and influences of opposite sign.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import torch
from scipy.stats import t as student
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.centred import MINIMUM
from xling.similarity.deletion import deleted_pairs, without
from xling.similarity.grouped import grouped_cka
from xling.similarity.grouping import Grouping, check_group_ids
from xling.similarity.hsic import cka, hsic
from xling.similarity.paired import PairedRows
from xling.similarity.precision import similarity_precision
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.rows import centred_rows, pair_terms
from xling.similarity.shapes import Ids, PerGroup, RowsX, RowsY, Scalar

NOTHING_LEFT = 1e-6
"""An HSIC without a group that is below this fraction of the sum over all rows is rounding, as a difference of float32 sums."""


@dataclass(frozen=True)
class Jackknife:
    """A CKA with what its sampling of groups says about it.

    Attributes:
        value: CKA over all rows, scalar float64.
        standard_error: standard error of `value` by the delete-group jackknife, scalar float64.
        interval: (low, high) around `value`, by Student's t with n_groups - 1 degrees of freedom.
        groups: the group ids, ascending, ``[n_groups]``.
        influence: `value` minus CKA without that group, ``[n_groups]`` float64.
    """

    value: Scalar
    standard_error: Scalar
    interval: tuple[float, float]
    groups: Annotated[Tensor, "[G] int"]
    influence: PerGroup

    def most_influential(self, k: int = 10) -> list[tuple[int, float]]:
        """List (id, influence) of the k groups whose absence changes the value most, strongest first."""
        order = self.influence.abs().argsort(descending=True, stable=True)[:k]
        return list(zip(self.groups[order].tolist(), self.influence[order].tolist(), strict=True))


def jackknife_cka(
    x: RowsX, y: RowsY, groups: Ids, *, debiased: bool, over_groups: bool = False, level: float = 0.95
) -> Jackknife:
    """Compute the delete-group jackknife of linear CKA; exact, at a few times the cost of CKA itself.

    Deleting a group is a low-rank change of ``Y'X``; its Frobenius norm follows from the products ``y_i' (Y'X) x_i`` of
    the deleted rows, or, with few rows, from Gram matrices, so no group needs moments of its own. Groups of different sizes
    are weighted as in Busing 1999; where the value is debiased over groups, all groups count alike.

    Args:
        x: base rows ``[n, d_x]``.
        y: other rows ``[n, d_y]``, same examples.
        groups: group id of each row, ``[n]`` integers; rows of one group (three XNLI pairs of one premise) are deleted together.
        debiased: whether to take the unbiased estimator of HSIC or the biased one.
        over_groups: whether to debias over groups, as ``linear_cka(..., groups=groups)`` does; else CKA is debiased over single
            rows, which is right only where they are independent.
        level: coverage of the interval, 0..1.

    Raises:
        UndefinedSimilarityError: CKA is undefined on these rows, or there are too few groups to leave one out.
        XlingValueError: there is not one group id per row, or the biased estimator is asked for over groups.

    References:
        Busing, Meijer & van der Leeden 1999, Statistics and Computing 9.
    """
    check_groups(groups, len(x), len(y))
    if over_groups and not debiased:
        raise XlingValueError("the biased estimator knows no groups; expected debiased=True with over_groups=True")
    if over_groups:
        return grouped_jackknife(PairedRows(x, y, groups), level)
    grouping = Grouping.of(groups.to(x.device))
    with similarity_precision(x.device.type):
        value, deleted = _over_rows(x, y, grouping, debiased=debiased)
    return _jackknife(value, deleted, grouping.sizes.double(), grouping, level)


def grouped_jackknife(pair: PairedRows, level: float = 0.95) -> Jackknife:
    """Compute the jackknife of the CKA debiased over groups, from rows that other measures use as well.

    Raises:
        UndefinedSimilarityError: CKA is undefined on these rows, or there are too few groups to leave one out.
    """
    layer = pair.grouped
    deleted = _ratio(*pair.hsic_without_each_group, (layer.xx.uncorrected, layer.yy.uncorrected), pair.grouping)
    return _jackknife(grouped_cka(layer), deleted, torch.ones_like(deleted), pair.grouping, level)


def _jackknife(value: Scalar, deleted: PerGroup, weights: PerGroup, grouping: Grouping, level: float) -> Jackknife:
    error = _standard_error(value, deleted, weights / weights.sum())
    reach = _students_quantile((1 + level) / 2, grouping.n - 1) * float(error)
    return Jackknife(value, error, (float(value) - reach, float(value) + reach), grouping.ids, value - deleted)


@lru_cache  # all layers and languages of a probe set have the same number of groups
def _students_quantile(probability: float, degrees_of_freedom: int) -> float:
    return float(student.ppf(probability, degrees_of_freedom))


def _over_rows(x: RowsX, y: RowsY, grouping: Grouping, *, debiased: bool) -> tuple[Scalar, PerGroup]:
    """Compute CKA over all rows, and without each group ``[G]``."""
    x, y = centred_rows(x, "x"), centred_rows(y, "y")
    whole = [pair_terms(*pair) for pair in ((x, x), (y, y), (x, y))]
    parts = deleted_pairs(x, y, grouping.which, grouping.sizes)
    xx, yy, xy = (hsic(without(*pair), debiased=debiased) for pair in zip(whole, parts, strict=True))
    deleted = _ratio(xx, yy, xy, (whole[0].cross, whole[1].cross), grouping)
    return cka(*whole, debiased=debiased), deleted


def _ratio(xx: Tensor, yy: Tensor, xy: Tensor, whole: tuple[Tensor, Tensor], grouping: Grouping) -> Tensor:
    is_undefined = (xx <= NOTHING_LEFT * whole[0]) | (yy <= NOTHING_LEFT * whole[1])
    if is_undefined.any():
        group = int(grouping.ids[is_undefined.nonzero()[0, 0]])
        raise UndefinedSimilarityError(f"without group {group} the remaining rows have no structure left to compare")
    return xy / (xx.sqrt() * yy.sqrt())


def check_groups(groups: Tensor, n_x: int, n_y: int) -> None:
    """Refuse group ids that do not fit the rows.

    Raises:
        XlingValueError: there is not one id per row.
        UndefinedSimilarityError: there are fewer than 2 groups, or fewer than 4 rows are left without one of them.
    """
    check_group_ids(groups, n_x, n_y)
    sizes = groups.unique(return_counts=True)[1]
    if len(sizes) < 2 or n_x - int(sizes.max()) < MINIMUM:
        raise UndefinedSimilarityError(
            f"{len(sizes)} groups over {n_x} rows, the largest of {int(sizes.max())}: at least 2 groups are needed "
            f"and {MINIMUM} rows must be left without any of them"
        )


def _standard_error(value: Scalar, deleted: PerGroup, shares: PerGroup) -> Scalar:
    """Compute the delete-m_j jackknife's standard error (Busing 1999, eq. 10).

    With g groups of equal size it is ``sqrt((g - 1) / g sum (deleted - mean)^2)``.

    Args:
        value: the statistic over all rows.
        deleted: the statistic without each group, ``[G]``.
        shares: fraction of the rows that each group has, ``[G]``.
    """
    g, h = len(deleted), 1 / shares
    pseudo = h * value - (h - 1) * deleted
    estimate = g * value - ((1 - shares) * deleted).sum()
    return ((pseudo - estimate).square() / (h - 1)).mean().sqrt()
