"""Takes the exact means off the sums of one layer: every measure of moments is a function of what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.hsic import HsicTerms
from xling.similarity.marginal import Marginal
from xling.similarity.moments import Moments
from xling.similarity.panels import dense, frobenius_sq, quadratic_and_frobenius
from xling.similarity.recentre import moved_sq_xy, moved_sums
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.shapes import RowsX, RowsY, Scalar

MINIMUM = 4
"""Examples without which the unbiased estimator does not exist."""

CONSTANT = 8 * torch.finfo(torch.float32).eps
"""Features whose standard deviation is below this fraction of their mean are constant: only rounding varies."""


@dataclass(frozen=True)
class Side:
    """One side of one layer, centred, float64.

    Attributes:
        n: number of rows.
        sq: sum of ``|x|^2``, the trace of `gram`.
        sq_sq: sum of ``|x|^4``.
        cross: ``|X'X|_F^2``.
        mean: mean that was subtracted from the rows, ``[d]``.
        unpack: function that gives `gram`, called only by the measures that need it (CKA does not).
    """

    n: int
    sq: Scalar
    sq_sq: Scalar
    cross: Scalar
    mean: Annotated[Tensor, "[d] float64"]
    unpack: Callable[[], Tensor]

    @cached_property
    def gram(self) -> Annotated[Tensor, "[d, d] float64"]:
        """X'X, ``[d, d]``."""
        return self.unpack()

    @property
    def terms(self) -> HsicTerms:
        """Terms of the HSIC of this side with itself."""
        return HsicTerms(self.n, self.cross, self.sq, self.sq, self.sq_sq)


@dataclass(frozen=True)
class Centred:
    """One layer of a comparison, centred, float64.

    Attributes:
        x: side of the base.
        y: side of the other representation.
        cross: ``|Y'X|_F^2``.
        sq_xy: sum of ``|x|^2 |y|^2``.
        is_identical: whether every row of y equals its row of x bit by bit.
        unpack: function that gives `yx`, called only by the measures that need it (CKA does not).
        rows: the centred rows of both sides, ``[n, d]`` each; None where only sums over them were kept.
    """

    x: Side
    y: Side
    cross: Scalar
    sq_xy: Scalar
    is_identical: bool
    unpack: Callable[[], Tensor]
    rows: tuple[RowsX, RowsY] | None = None

    @cached_property
    def yx(self) -> Annotated[Tensor, "[d_y, d_x] float64"]:
        """Y'X, ``[d_y, d_x]``."""
        return self.unpack()

    @property
    def terms(self) -> HsicTerms:
        """Terms of the HSIC between the sides."""
        return HsicTerms(self.x.n, self.cross, self.x.sq, self.y.sq, self.sq_xy)


def centred_layer(
    moments: Moments,
    layer: int,
    base: Marginal | None = None,
    *,
    beside: tuple[Tensor | float, Tensor | float] = (0.0, 0.0),
    of: str = "examples",
) -> Centred:
    """Centre one layer of a comparison.

    Args:
        moments: the accumulated sums.
        layer: index into the flattened leading dimensions.
        base: sums of the base alone, where `moments` was started with them.
        beside: sums of squares of x and of y within groups, where the rows are means of groups: these means may be constant as
            long as the rows of a group differ.
        of: what an error calls the rows where they are too few.

    Raises:
        UndefinedSimilarityError: there are fewer than 4 rows, non-finite values or constant features.
        XlingValueError: the sums of the base are missing, or were computed from other rows.
    """
    x, y = moments.x, moments.y
    for name, side, more in (("x", x, beside[0]), ("y", y, beside[1])):
        mean = _mean(side, layer)
        sq = moved_sums(int(side.n), mean, side.total[layer], side.sq[layer])[1]
        check_defined(name, int(side.n), sq + more, side.shift[layer] + mean, of)
    if base is not None:
        _check_same_rows(x, base, layer)
    elif x.products is None:
        raise XlingValueError(
            "these sums were started with a known base, whose own sums they leave out; give the same base to evaluate them"
        )
    n, m, k = int(moments.n), _mean(x, layer), _mean(y, layer)
    yx = moments.yx[layer].to(torch.float64, copy=True)
    sums_x = (m, x.total[layer], x.sq[layer], moments.y_sq_x[layer])
    sums_y = (k, y.total[layer], y.sq[layer], moments.x_sq_y[layer])
    sq_xy = moved_sq_xy(n, moments.sq_xy[layer], k @ (yx @ m), sums_x, sums_y)
    is_identical = not moments.n_changed.flatten()[layer]
    full = x if base is None else base
    yx = yx.addr_(k, m, alpha=-n)
    sides = centred_side(full, layer), centred_side(y, layer)
    return Centred(*sides, frobenius_sq(yx), sq_xy, is_identical, lambda: yx)


def centred_side(side: Marginal, layer: int) -> Side:
    """Centre one layer of a marginal with its products."""
    assert side.products is not None
    gram, sq_sq, sq_vec = side.products
    n, mean, total, sq = int(side.n), _mean(side, layer), side.total[layer], side.sq[layer]
    n_layers, d = side.shift.shape
    quadratic, frobenius = quadratic_and_frobenius(gram, n_layers, d, layer, mean)
    sums = (mean, total, sq, sq_vec[layer])
    return Side(
        n=n,
        sq=moved_sums(n, mean, total, sq)[1],
        sq_sq=moved_sq_xy(n, sq_sq[layer], quadratic, sums, sums),
        cross=frobenius - 2 * n * quadratic + (n * mean @ mean) ** 2,  # |X'X - n m m'|^2 multiplied out
        mean=side.shift[layer] + mean,
        unpack=lambda: dense(gram, n_layers, d, layer).addr_(mean, mean, alpha=-n),
    )


def _mean(side: Marginal, layer: int) -> Annotated[Tensor, "[d] float64"]:
    """Mean of the shifted rows."""
    return side.total[layer] / side.n


def check_defined(
    name: str, n: int, sq: Annotated[Tensor, "[] float"], mean: Annotated[Tensor, "[d] float"], of: str = "examples"
) -> None:
    """Refuse representations between which no similarity exists.

    Args:
        name: name of this side in the error.
        n: number of rows, or of groups.
        sq: sum of squares of the centred rows, a scalar.
        mean: mean of the rows, ``[d]``.
        of: what the error calls the things that `n` counts.

    Raises:
        UndefinedSimilarityError: there are fewer than 4 rows, non-finite values or constant features.
    """
    if n < MINIMUM:
        raise UndefinedSimilarityError(f"{n} {of}, at least {MINIMUM} are needed")
    if not torch.isfinite(sq):
        raise UndefinedSimilarityError(f"{name} holds non-finite values")
    if sq <= n * CONSTANT**2 * mean.square().sum():
        raise UndefinedSimilarityError(f"{name} is constant over the examples")


def _check_same_rows(seen: Marginal, base: Marginal, layer: int) -> None:
    """Refuse sums of a base whose variance is not that of the base's rows `seen` in the pass.

    Sums of squares about the mean are compared, since different shifts may have been subtracted from the two.
    """
    met, known = (moved_sums(s.n, _mean(s, layer), s.total[layer], s.sq[layer])[1] for s in (seen, base))
    # float32 sums over the same rows in another order differ by far less than a thousandth
    if seen.n != base.n or not torch.isclose(met, known, rtol=1e-3):
        raise XlingValueError(
            f"the sums of the base cover {int(base.n)} rows with a sum of squares of {float(known):.6g}, the pass met "
            f"{int(seen.n)} rows with {float(met):.6g}; compute them from the same rows, each met once"
        )
