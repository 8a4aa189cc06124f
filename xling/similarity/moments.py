"""Sufficient statistics of paired representations: additive over batches, processes and time.

All layers of one comparison are one object. Rows are shifted before they are multiplied, by the mean of the base where
that is known and of the first batch otherwise, so that float32 sums stay safe at any mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.marginal import (
    ROWS_AT_ONCE,
    Marginal,
    flatten_layers,
    row_mean,
    shifted,
    squared_norms,
    weighted_sums,
)
from xling.similarity.precision import similarity_precision
from xling.similarity.shapes import LayersX, LayersY, ShiftX, ShiftY, StackX, StackY

CROSS = ("yx", "sq_xy", "y_sq_x", "x_sq_y", "n_changed")
"""Sums that belong to neither side alone."""


@dataclass
class Moments:
    """Sums over paired rows (x, y): with both marginals they give every measure that needs no rows.

    Attributes:
        x: marginal of the base; without products where the base is known.
        y: marginal of the other side.
        yx: Y'X, ``[L, d_y, d_x]``, the leading dimensions flattened.
        sq_xy: sum of ``|x|^2 |y|^2``, ``[L]`` float64.
        y_sq_x: sum of ``|y|^2 x``, ``[L, d_x]`` float64.
        x_sq_y: sum of ``|x|^2 y``, ``[L, d_y]`` float64.
        n_changed: rows found in which y differs from x in any bit, int64 ``[...]``, of the layers' own shape. 0 exactly
            where all are the same; not counted further once every layer has some.

    Example:
        >>> x = torch.randn(3, 100, 8)  # 3 layers, 100 examples, 8 features
        >>> moments = Moments.start(x[:, :64], x[:, :64])
        >>> moments.update(x[:, :64], x[:, :64])
        >>> moments.update(x[:, 64:], x[:, 64:])
        >>> int(moments.n), moments.n_changed.tolist()
        (100, [0, 0, 0])
    """

    x: Marginal
    y: Marginal
    yx: Annotated[Tensor, "[L, d_y, d_x] float"]
    sq_xy: Annotated[Tensor, "[L] float64"]
    y_sq_x: Annotated[Tensor, "[L, d_x] float64"]
    x_sq_y: Annotated[Tensor, "[L, d_y] float64"]
    n_changed: Annotated[Tensor, "[...] int64"]

    @classmethod
    def start(cls, x: LayersX, y: LayersY, base: Marginal | None = None) -> Moments:
        """No rows yet; the shifts are the means of this first batch ``[..., b, d]``, or the base's.

        Raises:
            XlingValueError: an empty batch, or a base of other layers or width.
        """
        check_rows(x, y)
        if not x.shape[-2]:
            raise XlingValueError("the first batch has no rows to take a shift from; start with one that has some")
        layers = x.shape[:-2]
        x, y = flatten_layers(x), flatten_layers(y)
        if base is not None:
            check_layers("the base", base.shift.shape, (x.shape[0], x.shape[-1]))
        with similarity_precision(x.device.type):
            shift_x = row_mean(x) if base is None else base.shift
            return cls.empty(layers, shift_x, row_mean(y), base_is_known=base is not None)

    @classmethod
    def empty(cls, layers: tuple[int, ...], shift_x: ShiftX, shift_y: ShiftY, *, base_is_known: bool) -> Moments:
        """No rows yet; `layers` is the shape that L flattens, shifts are ``[L, d]``; the products of a known base are left out."""
        x, y = Marginal.empty(shift_x, with_products=not base_is_known), Marginal.empty(shift_y)
        yx = shift_y.new_zeros(len(shift_y), shift_y.shape[-1], shift_x.shape[-1])
        n_changed = torch.zeros(layers, dtype=torch.int64, device=shift_x.device)
        return cls(x, y, yx, x.sq.clone(), x.total.clone(), y.total.clone(), n_changed)

    @classmethod
    def of(cls, x: LayersX, y: LayersY, base: Marginal | None = None, *, allow_tf32: bool = False) -> Moments:
        """All rows ``[..., n, d]`` at once; any sequence of updates gives the same."""
        moments = cls.start(x[..., :ROWS_AT_ONCE, :], y[..., :ROWS_AT_ONCE, :], base)
        moments.update(x, y, allow_tf32=allow_tf32)
        return moments

    def tensors(self) -> dict[str, Tensor]:
        """Everything held, by name: to store, or as the states of a metric; :meth:`from_tensors` restores."""
        sides = {f"{side}_{name}": value for side in "xy" for name, value in getattr(self, side).tensors().items()}
        return sides | {f"cross_{name}": getattr(self, name) for name in CROSS}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Moments:
        """Inverse of :meth:`tensors`; shares their storage."""
        parts: dict[str, dict[str, Tensor]] = {"x": {}, "y": {}, "cross": {}}
        for name, value in tensors.items():
            part, _, own = name.partition("_")
            parts[part][own] = value
        return cls(Marginal(**parts["x"]), Marginal(**parts["y"]), **parts["cross"])

    @property
    def n(self) -> Annotated[Tensor, "[] int64"]:
        """Number of paired rows, int64 scalar."""
        return self.x.n

    @property
    def sides(self) -> tuple[Marginal, Marginal]:
        """Sums over the rows of x and of y."""
        return self.x, self.y

    @property
    def layers(self) -> torch.Size:
        """The layers' own shape, which L flattens."""
        return self.n_changed.shape

    def update(self, x: LayersX, y: LayersY, *, allow_tf32: bool = False) -> None:
        """Add paired rows.

        Args:
            x: ``[..., b, d_x]`` any floating dtype, b >= 0, on the device of the sums.
            y: ``[..., b, d_y]``, the same examples in the same order.
            allow_tf32: multiply in TF32 on a GPU that can.

        Raises:
            XlingValueError: rows, layers or widths that do not fit each other or what was added before.
        """
        self.check(x, y)
        x, y = flatten_layers(x), flatten_layers(y)
        with similarity_precision(x.device.type, allow_tf32=allow_tf32):
            for rows_x, rows_y in zip(x.split(ROWS_AT_ONCE, -2), y.split(ROWS_AT_ONCE, -2), strict=True):
                self.count_changed(rows_x, rows_y)
                self.add_shifted(shifted(rows_x, self.x.shift), shifted(rows_y, self.y.shift))

    def check(self, x: LayersX, y: LayersY) -> None:
        """Refuse rows ``[..., b, d]`` that do not fit each other or what was added before.

        Raises:
            XlingValueError: rows, layers or widths do not fit.
        """
        check_rows(x, y)
        for name, side, rows in (("x", self.x, x), ("y", self.y, y)):
            check_layers(f"what {name} held before", side.shift.shape, (rows.shape[:-2].numel(), rows.shape[-1]))

    def add_shifted(self, x: StackX, y: StackY) -> None:
        """Add paired rows ``[L, b, d]`` whose shifts are taken off, in the accumulators' dtype and precision."""
        sq_x, sq_y = squared_norms(x), squared_norms(y)
        one = torch.ones_like(sq_x)
        sums_x, sums_y = weighted_sums(x, one, sq_x, sq_y), weighted_sums(y, one, sq_y, sq_x)
        self.x.add(x, sq_x, sums_x)
        self.y.add(y, sq_y, sums_y)
        self.yx.baddbmm_(y.mT, x)
        self.sq_xy += (sq_x.double() * sq_y).sum(-1)
        self.y_sq_x += sums_x[:, 2]
        self.x_sq_y += sums_y[:, 2]

    def count_changed(self, x: StackX, y: StackY) -> None:
        """Count the rows ``[L, b, d]`` that differ, while some layer has none: after training all have in the first batch."""
        if self.n_changed.all():
            return
        changed = (x != y).any(-1).sum(-1) if x.shape[-1] == y.shape[-1] else x.shape[-2]
        self.n_changed.view(-1).add_(changed)


def check_rows(x: LayersX, y: LayersY) -> None:
    """Refuse representations that cannot be paired row by row.

    Raises:
        XlingValueError: not floating point, fewer than two dimensions, other layers, or other numbers of rows.
    """
    for name, rows in (("x", x), ("y", y)):
        if rows.ndim < 2 or not rows.is_floating_point():
            raise XlingValueError(
                f"representations are floating-point [..., examples, features]; {name} is {rows.dtype} of shape "
                f"{tuple(rows.shape)}; convert or reshape it"
            )
    if x.shape[:-1] != y.shape[:-1]:
        raise XlingValueError(
            f"x and y must hold the same layers and examples; got {tuple(x.shape[:-1])} and {tuple(y.shape[:-1])} "
            "(layers..., examples); pair the rows by example id first"
        )


def check_layers(what: str, expected: tuple[int, ...], got: tuple[int, ...]) -> None:
    """Refuse statistics of other layers or widths.

    Raises:
        XlingValueError: (number of layers, width) differ.
    """
    if tuple(expected) != tuple(got):
        raise XlingValueError(
            f"{what} has (layers, width) {tuple(expected)}, these have {tuple(got)}; layers of different shapes need "
            "an object each"
        )
