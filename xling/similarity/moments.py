"""Accumulates the sufficient statistics of paired representations: additive over batches, processes and time.

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
    """Sums over paired rows (x, y), which give every measure that does not need the rows themselves.

    Attributes:
        x: sums over the base alone; without products where the base's own sums are known.
        y: sums over the other side alone.
        yx: Y'X, ``[L, d_y, d_x]``, the layers' own dimensions flattened into L.
        sq_xy: sum of ``|x|^2 |y|^2``, ``[L]`` float64.
        y_sq_x: sum of ``|y|^2 x``, ``[L, d_x]`` float64.
        x_sq_y: sum of ``|x|^2 y``, ``[L, d_y]`` float64.
        n_changed: number of rows in which y differs from x, int64 ``[...]``, of the layers' own shape. It is 0 exactly where all
            rows are the same; counting ends once every layer has a changed row.

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
        """Make sums of no rows yet, with shifts from a first batch, which is not added.

        Args:
            x: base rows of the first batch, ``[..., b, d_x]``.
            y: other rows, ``[..., b, d_y]``; their mean is the shift of y.
            base: the base's own sums where they are known; their shift is that of x, which else is the mean of `x`.

        Raises:
            XlingValueError: the batch is empty, or the base has other layers or another width.
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
        """Make sums of no rows yet.

        Args:
            layers: the layers' own shape, which L flattens.
            shift_x: vector that will be subtracted from every row of the base, ``[L, d_x]``.
            shift_y: vector that will be subtracted from every row of the other side, ``[L, d_y]``.
            base_is_known: whether the base's own sums are known, so that its products are not summed.
        """
        x, y = Marginal.empty(shift_x, with_products=not base_is_known), Marginal.empty(shift_y)
        yx = shift_y.new_zeros(len(shift_y), shift_y.shape[-1], shift_x.shape[-1])
        n_changed = torch.zeros(layers, dtype=torch.int64, device=shift_x.device)
        return cls(x, y, yx, x.sq.clone(), x.total.clone(), y.total.clone(), n_changed)

    @classmethod
    def of(cls, x: LayersX, y: LayersY, base: Marginal | None = None, *, allow_tf32: bool = False) -> Moments:
        """Sum all rows ``[..., n, d]`` at once; any sequence of updates gives the same."""
        moments = cls.start(x[..., :ROWS_AT_ONCE, :], y[..., :ROWS_AT_ONCE, :], base)
        moments.update(x, y, allow_tf32=allow_tf32)
        return moments

    def tensors(self) -> dict[str, Tensor]:
        """Give all sums by name, to store them or as the states of a metric; :meth:`from_tensors` is the inverse."""
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
            x: base rows ``[..., b, d_x]``, any floating dtype, b >= 0, on the device of the sums.
            y: other rows ``[..., b, d_y]``, the same examples in the same order.
            allow_tf32: whether a GPU may multiply in TF32.

        Raises:
            XlingValueError: rows, layers or widths do not fit each other or what was added before.
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
        """Add paired rows ``[L, b, d]`` from which the shifts were subtracted, in the dtype of the sums."""
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
        """Count the rows ``[L, b, d]`` that differ, as long as some layer has none.

        This ends with the first batch where training has moved every layer, so that it costs nothing.
        """
        if self.n_changed.all():
            return
        changed = (x != y).any(-1).sum(-1) if x.shape[-1] == y.shape[-1] else x.shape[-2]
        self.n_changed.view(-1).add_(changed)


def check_rows(x: LayersX, y: LayersY) -> None:
    """Refuse representations that cannot be paired row by row.

    Raises:
        XlingValueError: a side is not floating point or has fewer than two dimensions, or layers or numbers of rows differ.
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
        XlingValueError: the numbers of layers or the widths differ.
    """
    if tuple(expected) != tuple(got):
        raise XlingValueError(
            f"{what} has (layers, width) {tuple(expected)}, these have {tuple(got)}; layers of different shapes need "
            "an object each"
        )
