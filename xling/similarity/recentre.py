"""Moves the shift of accumulated sums, exactly: statistics with different shifts are added after this."""

from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.marginal import Marginal
from xling.similarity.moments import CROSS, Moments, check_layers
from xling.similarity.panels import add_product, times_vector
from xling.similarity.precision import similarity_precision
from xling.similarity.shapes import PerLayer, ShiftX, ShiftY


def moved_sums(
    n: Tensor | int,
    move: Annotated[Tensor, "[..., d] float"],
    total: Annotated[Tensor, "[..., d] float64"],
    sq: PerLayer,
) -> tuple[Annotated[Tensor, "[..., d] float64"], PerLayer]:
    """Give the sums of x and ``|x|^2`` over n rows once a further `move` ``[..., d]`` is subtracted from each row."""
    return total - n * move, sq - 2 * dot(move, total) + n * dot(move, move)


def moved_sq_xy(n, sq_xy, gram_move, x: tuple, y: tuple) -> Tensor:
    """Give the sum of ``|x|^2 |y|^2`` once moves m and k are subtracted: ``|x - m|^2 |y - k|^2`` multiplied out.

    Args:
        n: number of rows.
        sq_xy: the sum before, ``[...]``.
        gram_move: ``k' Y'X m``, ``[...]``.
        x: (m, sum of x, sum of ``|x|^2``, sum of ``|y|^2 x``) before.
        y: (k, sum of y, sum of ``|y|^2``, sum of ``|x|^2 y``) before.
    """
    (m, total_x, sq_x, y_sq_x), (k, total_y, sq_y, x_sq_y) = x, y
    mm, kk = dot(m, m), dot(k, k)
    linear = sq_xy - 2 * (dot(m, y_sq_x) + dot(k, x_sq_y)) + 4 * gram_move
    return linear + kk * (sq_x - 2 * dot(m, total_x)) + mm * (sq_y - 2 * dot(k, total_y)) + n * mm * kk


def recentred_marginal(side: Marginal, shift: Annotated[Tensor, "[L, d] float"]) -> Marginal:
    """Give the sums over the same rows with another `shift` ``[L, d]``."""
    move = shift.double() - side.shift
    total, sq = moved_sums(side.n, move, side.total, side.sq)
    sums = Marginal(side.n, shift, total, sq)
    if side.products is None:
        return sums
    gram, sq_sq, sq_vec = side.products
    gram, product = gram.clone(), times_vector(gram, move)
    add_product(gram, *_rank_two(move, side.total, move, total, gram.dtype))
    own = (move, side.total, side.sq, sq_vec)
    sq_sq = moved_sq_xy(side.n, sq_sq, dot(move, product), own, own)
    return replace(sums, gram=gram, sq_sq=sq_sq, sq_vec=_moved_vector(sq_vec, product, move, side.total, sq, move))


def recentred(moments: Moments, shift_x: ShiftX, shift_y: ShiftY) -> Moments:
    """Give the sums over the same pairs of rows with other shifts ``[L, d_x]`` and ``[L, d_y]``."""
    with similarity_precision(shift_x.device.type):
        x, y = moments.x, moments.y
        m, k = shift_x.double() - x.shift, shift_y.double() - y.shift
        new_x, new_y = recentred_marginal(x, shift_x), recentred_marginal(y, shift_y)
        left, right = _rank_two(k, y.total, m, new_x.total, moments.yx.dtype)
        yx_m, xy_k = _times(moments.yx, m), _times(moments.yx.mT, k)
        return replace(
            moments,
            x=new_x,
            y=new_y,
            yx=moments.yx.baddbmm(left.mT, right),
            sq_xy=moved_sq_xy(
                moments.n,
                moments.sq_xy,
                dot(k, yx_m),
                (m, x.total, x.sq, moments.y_sq_x),
                (k, y.total, y.sq, moments.x_sq_y),
            ),
            y_sq_x=_moved_vector(moments.y_sq_x, xy_k, k, x.total, new_y.sq, m),
            x_sq_y=_moved_vector(moments.x_sq_y, yx_m, m, y.total, new_x.sq, k),
        )


def merged(first: Moments, second: Moments) -> Moments:
    """Add the sums over different rows, both re-centred to their common mean, which is safe whatever their shifts were.

    Raises:
        XlingValueError: layers or widths differ, or one was started with a known base and the other without.
    """
    shifts = common_shifts(first, second)
    return added(recentred(first, *shifts), recentred(second, *shifts))


def common_shifts(first: Moments, second: Moments) -> tuple[ShiftX, ShiftY]:
    """Compute the means of x and of y over the rows of both.

    Raises:
        XlingValueError: layers or widths differ, or one was started with a known base and the other without.
    """
    for name, one, other in (("x", first.x, second.x), ("y", first.y, second.y)):
        check_layers(f"{name} of the first state", one.shift.shape, other.shift.shape)
    if (first.x.gram is None) != (second.x.gram is None):
        raise XlingValueError(
            "one of these states was started with a known base and the other without; start both the same way"
        )
    return common_shift([first.x, second.x]), common_shift([first.y, second.y])


def common_shift(sides: list[Marginal]) -> Annotated[Tensor, "[L, d] float"]:
    """Compute the mean over all rows of several marginals, ``[L, d]``; without any row, it is the first one's shift."""
    n = sum(side.n for side in sides)
    if not n:
        return sides[0].shift
    return (sum(side.n * side.shift.double() + side.total for side in sides) / n).to(sides[0].shift.dtype)


def dot(
    a: Annotated[Tensor, "[..., d] float"], b: Annotated[Tensor, "[..., d] float"]
) -> Annotated[Tensor, "[...] float"]:
    """Compute inner products over the last dimension."""
    return (a * b).sum(-1)


def added(first: Moments, second: Moments) -> Moments:
    """Add the sums over different rows, which have the same shifts."""

    def add(one: Marginal, other: Marginal) -> Marginal:
        others = other.tensors()
        return replace(one, **{name: value + others[name] for name, value in one.tensors().items() if name != "shift"})

    sums = {name: getattr(first, name) + getattr(second, name) for name in CROSS}
    return Moments(x=add(first.x, second.x), y=add(first.y, second.y), **sums)


def _rank_two(
    k: ShiftY, total_y: ShiftY, m: ShiftX, new_total_x: ShiftX, dtype: torch.dtype
) -> tuple[Annotated[Tensor, "[L, 2, d_y] float"], Annotated[Tensor, "[L, 2, d_x] float"]]:
    """Give the factors ``[L, 2, d]`` of the change of Y'X by moves m and k: ``- total_y m' - k new_total_x'``."""
    return -torch.stack([total_y, k], 1).to(dtype), torch.stack([m, new_total_x], 1).to(dtype)


def _moved_vector(
    vec: ShiftX, product: ShiftX, k: ShiftY, total_x: ShiftX, new_sq_y: Annotated[Tensor, "[L] float"], m: ShiftX
) -> ShiftX:
    """Give the sum of ``|y|^2 x`` once moves m (of x) and k (of y) are subtracted; `product` is ``X'Y k``."""
    return vec - 2 * product + dot(k, k).unsqueeze(-1) * total_x - m * new_sq_y.unsqueeze(-1)


def _times(
    matrices: Annotated[Tensor, "[L, d_y, d_x] float"], vectors: Annotated[Tensor, "[L, d_x] float64"]
) -> Annotated[Tensor, "[L, d_y] float64"]:
    return torch.stack([matrix.double() @ vector for matrix, vector in zip(matrices, vectors, strict=True)])
