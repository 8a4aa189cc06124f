"""Linear CKA straight from one layer's rows, in few calls of torch: for few rows, calls cost more than the arithmetic.

The values are those of :func:`xling.similarity.cka.centred_cka` up to rounding. Products are in the rows' own precision, sums
over them in float64, and what is left to do with a handful of sums is done in Python's own floats.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from xling.similarity.centred import CONSTANT, MINIMUM
from xling.similarity.hsic import ROUNDING
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.shapes import RowsX, RowsY

_FAR = 1e5
"""Squared norm of the mean, in total variances, from which on rounding the mean would be seen in the products of rows."""

_NEARLY_ONE = 1e-4

_TINY = 2**16
"""Multiplications up to which float64 costs nothing; what has no structure is then told from rounding."""


@dataclass(frozen=True)
class _Sums:
    """Sums over centred rows.

    Attributes:
        cross: ``|X'X|_F^2``, ``|Y'Y|_F^2`` and ``|Y'X|_F^2``.
        sq: sum of ``|x|^2`` and of ``|y|^2``.
        paired: sum of ``|x|^4``, of ``|y|^4`` and of ``|x|^2 |y|^2``, which only the debiased estimator needs.
    """

    cross: tuple[float, float, float]
    sq: tuple[float, float]
    paired: tuple[float, float, float] | None


def direct_cka(x: RowsX, y: RowsY, *, debiased: bool) -> float:
    """Compute linear CKA of one layer's rows; to be called without gradients, in the precision of similarities.

    Args:
        x: base rows, ``[n, d_x]``, any floating dtype.
        y: other rows, ``[n, d_y]``, the same examples in the same order.
        debiased: whether to take the unbiased HSIC (Song 2012) or the biased one.

    Returns:
        CKA; exactly 1 where all rows are bit by bit the same.

    Raises:
        UndefinedSimilarityError: there are fewer than 4 rows, non-finite values or constant features, or the unbiased HSIC of a
            side with itself is not positive.
    """
    n = len(x)
    if n < MINIMUM:
        raise UndefinedSimilarityError(f"{n} examples, at least {MINIMUM} are needed")
    width = max(x.shape[-1], y.shape[-1])
    is_tiny = n * width * min(n, width) <= _TINY
    dtype = torch.float64 if is_tiny else torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    x_rows, y_rows = x.to(dtype), y.to(dtype)
    means = x_rows.mean(0), y_rows.mean(0)
    x_rows, y_rows = x_rows - means[0], y_rows - means[1]
    sums = _sums(x_rows, y_rows, debiased=debiased)
    of_means = [n * torch.dot(mean, mean).item() for mean in means]
    _check(sums, of_means)
    if any(of_mean > _FAR * sq for of_mean, sq in zip(of_means, sums.sq, strict=True)):
        sums = _sums(x_rows - x_rows.mean(0), y_rows - y_rows.mean(0), debiased=debiased)
    value = _cka(n, sums)
    return 1.0 if abs(value - 1) < _NEARLY_ONE and torch.equal(x, y) else value


def _sums(x: Tensor, y: Tensor, *, debiased: bool) -> _Sums:
    return (_by_grams if len(x) < min(x.shape[-1], y.shape[-1]) else _by_products)(x, y, debiased)


def _by_grams(x: Tensor, y: Tensor, debiased: bool) -> _Sums:
    grams = torch.stack([x @ x.mT, y @ y.mT]).double()
    flat, sq = grams.flatten(1), grams.diagonal(dim1=1, dim2=2)
    (of_x, of_both), (_, of_y) = (flat @ flat.mT).tolist()
    return _Sums((of_x, of_y, of_both), tuple(sq.sum(1).tolist()), _paired(sq) if debiased else None)


def _by_products(x: Tensor, y: Tensor, debiased: bool) -> _Sums:
    products = x.mT @ x, y.mT @ y, y.mT @ x
    of_x, of_y, of_both = (torch.linalg.vector_norm(each, dtype=torch.float64).item() ** 2 for each in products)
    if debiased:
        sq = torch.stack([torch.linalg.vector_norm(rows, dim=-1) for rows in (x, y)]).double().square()
        return _Sums((of_x, of_y, of_both), tuple(sq.sum(1).tolist()), _paired(sq))
    return _Sums((of_x, of_y, of_both), (products[0].trace().item(), products[1].trace().item()), None)


def _paired(sq: Tensor) -> tuple[float, float, float]:
    (of_x, of_both), (_, of_y) = (sq @ sq.mT).tolist()
    return of_x, of_y, of_both


def _check(sums: _Sums, of_means: list[float]) -> None:
    """Refuse what :func:`xling.similarity.centred.check_defined` refuses."""
    for name, sq, of_mean in zip("xy", sums.sq, of_means, strict=True):
        if not math.isfinite(sq):
            raise UndefinedSimilarityError(f"{name} holds non-finite values")
        if sq <= CONSTANT**2 * of_mean:
            raise UndefinedSimilarityError(f"{name} is constant over the examples")


def _cka(n: int, sums: _Sums) -> float:
    """Compute :func:`xling.similarity.hsic.cka` of Python's numbers."""
    of_x, of_y, of_both = sums.cross
    if sums.paired is not None:
        (a, b), (xx, yy, xy) = sums.sq, sums.paired
        of_x, of_y, of_both = (
            cross + first * second / ((n - 1) * (n - 2)) - n / (n - 2) * paired
            for cross, first, second, paired in ((of_x, a, a, xx), (of_y, b, b, yy), (of_both, a, b, xy))
        )
    for name, value, before in (("x", of_x, sums.cross[0]), ("y", of_y, sums.cross[1])):
        if not value > ROUNDING * before:
            raise UndefinedSimilarityError(f"the unbiased HSIC of {name} with itself, {value:.3g}, is not positive")
    return of_both / (math.sqrt(of_x) * math.sqrt(of_y))
