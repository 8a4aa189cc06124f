"""Computes HSIC with linear kernels from a handful of sums over centred rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.shapes import PerLayer

ROUNDING = 1e-7
"""Relative error of float32 sums: a difference of sums that is smaller than this fraction of them is rounding."""


@dataclass(frozen=True)
class HsicTerms:
    """The sums that both estimators of HSIC(K, L) need, where K = X X', L = Y Y' and the columns of X and Y have mean zero.

    Attributes:
        n: number of examples.
        cross: ``|Y'X|_F^2`` = tr(KL).
        sq_x: sum of ``|x|^2`` = tr(K).
        sq_y: sum of ``|y|^2`` = tr(L).
        sq_xy: sum of ``|x|^2 |y|^2`` = tr(KL) on the diagonals alone.
    """

    n: int | Tensor
    cross: PerLayer
    sq_x: PerLayer
    sq_y: PerLayer
    sq_xy: PerLayer


def hsic(terms: HsicTerms, *, debiased: bool) -> PerLayer:
    """Compute HSIC, biased or unbiased, up to the factor that CKA cancels.

    Biased (Gretton 2005): ``tr(K L)``. Unbiased (Song 2012, eq. 5), with K~ and L~ the Gram matrices without their
    diagonals: ``tr(K~ L~) + 1'K~1 1'L~1 / ((n-1)(n-2)) - 2/(n-2) 1'K~L~1``. The estimator ignores the mean of
    the rows, so they may be centred; then the row sums of K vanish, those of K~ are ``-|x|^2``, and the three terms
    become the sums below.

    Args:
        terms: sums over centred rows, float64.
        debiased: whether to take the unbiased estimator, which needs n >= 4.

    Returns:
        Scalar float64; the biased one is >= 0, the unbiased one is 0 on average for independent data.

    References:
        Song et al. 2012 (JMLR 13); Kornblith et al. 2019 (arXiv:1905.00414); Nguyen et al. 2021 (arXiv:2010.15327).
    """
    if not debiased:
        return terms.cross
    n = terms.n
    return terms.cross + terms.sq_x * terms.sq_y / ((n - 1) * (n - 2)) - n / (n - 2) * terms.sq_xy


def cka(xx: HsicTerms, yy: HsicTerms, xy: HsicTerms, *, debiased: bool) -> PerLayer:
    """Compute linear CKA, ``HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))``.

    Returns:
        Scalar float64. Biased: 0..1. Debiased: <= 1, slightly negative for unrelated data; never clamped.

    Raises:
        UndefinedSimilarityError: the unbiased HSIC of a side with itself is not positive, as with very few rows.
    """
    of_x, of_y = hsic(xx, debiased=debiased), hsic(yy, debiased=debiased)
    check_own_hsic((of_x, xx.cross), (of_y, yy.cross))
    return hsic(xy, debiased=debiased) / (torch.sqrt(of_x) * torch.sqrt(of_y))


def check_own_hsic(*sides: tuple[Tensor, Tensor]) -> None:
    """Refuse an HSIC of a side with itself that is negative, or no larger than the rounding of the sum that it was computed from.

    Args:
        sides: (HSIC, the sum of products before the bias was subtracted) of x and of y.

    Raises:
        UndefinedSimilarityError: there is no structure to compare.
    """
    for name, (value, before) in zip("xy", sides, strict=True):
        if not value > ROUNDING * before:
            raise UndefinedSimilarityError(
                f"the unbiased HSIC of {name} with itself, {float(value):.3g}, is not positive"
            )
