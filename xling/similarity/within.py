"""Accumulates sums over the rows less their group's mean, and moves these sums with the shift of the means."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.grouped import of_each_group
from xling.similarity.grouping import Grouping
from xling.similarity.marginal import shifted
from xling.similarity.panels import add_product, empty_panels, times_vector
from xling.similarity.recentre import dot
from xling.similarity.shapes import ShiftX, ShiftY


@dataclass
class Within:
    """Sums over the residuals of rows beside their group's mean, of L layers.

    The residuals e of x and d of y are divided by the root of their group's size, so that ``D_a``, the sum of ``d_i e_i'`` over
    group a, is the group's mean product.

    Attributes:
        product: D, the sum of all D_a: ``[L, d_y, d_x]``, or packed as in :mod:`xling.similarity.panels` for one side alone.
        own: sum of ``|D_a|_F^2``, ``[L]`` float64.
        mixed_own: sum of ``y_a' D_a x_a`` over shifted means, ``[L]`` float64.
        on_x: sum of ``D_a' y_a``, ``[L, d_x]`` float64.
        on_y: sum of ``D_a x_a``, ``[L, d_y]`` float64; None for one side alone, where it is `on_x`.
    """

    product: Tensor
    own: Annotated[Tensor, "[L] float64"]
    mixed_own: Annotated[Tensor, "[L] float64"]
    on_x: Annotated[Tensor, "[L, d_x] float64"]
    on_y: Annotated[Tensor, "[L, d_y] float64"] | None = None

    @classmethod
    def of_side(cls, shift: Annotated[Tensor, "[L, d] float"]) -> Within:
        """Make sums of no rows yet for one side with itself; `shift` is ``[L, d]``."""
        on_x = torch.zeros_like(shift, dtype=torch.float64)
        n_layers, d = shift.shape
        return cls(empty_panels(n_layers, d, like=shift), on_x.sum(-1), on_x.sum(-1), on_x)

    @classmethod
    def of_pair(cls, shift_x: ShiftX, shift_y: ShiftY) -> Within:
        """Make sums of no rows yet for two sides."""
        on_x, on_y = (torch.zeros_like(shift, dtype=torch.float64) for shift in (shift_x, shift_y))
        product = shift_y.new_zeros(len(shift_y), shift_y.shape[-1], shift_x.shape[-1])
        return cls(product, on_x.sum(-1), on_x.sum(-1), on_x, on_y)

    def add(self, x: Parts, y: Parts, grouping: Grouping) -> None:
        """Add rows of whole groups; for one side with itself `x` and `y` are the same."""
        self.own += of_each_group(x.residuals, y.residuals, grouping).sum(-1)
        self.mixed_own += dot(x.along, y.along)
        self.on_x += _weighted(x.residuals, y.along)
        if self.on_y is None:
            add_product(self.product, x.residuals, x.residuals)
        else:
            self.on_y += _weighted(y.residuals, x.along)
            self.product.baddbmm_(y.residuals.mT, x.residuals)

    def moved(self, m: Annotated[Tensor, "[L, d_x] float64"], k: Annotated[Tensor, "[L, d_y] float64"]) -> Within:
        """Give the sums once further moves m ``[L, d_x]`` and k ``[L, d_y]`` are subtracted from the group means."""
        if self.on_y is None:
            d_m = d_k = times_vector(self.product, m)
        else:
            d_m = (self.product.double() @ m.unsqueeze(-1)).squeeze(-1)
            d_k = (self.product.double().mT @ k.unsqueeze(-1)).squeeze(-1)
        on_y = self.on_x if self.on_y is None else self.on_y
        mixed_own = self.mixed_own - dot(k, on_y) - dot(m, self.on_x) + dot(k, d_m)
        return replace(self, mixed_own=mixed_own, on_x=self.on_x - d_k, on_y=None if self.on_y is None else on_y - d_m)

    def __add__(self, other: Within) -> Within:
        """Add the sums over other groups, which have the same shifts."""
        others = other.tensors()
        return Within(**{name: value + others[name] for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Give the sums that are held by name."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in held.items() if value is not None}

    def to(self, device: torch.device | str) -> Within:
        """Give the same sums on `device`."""
        return Within(**{name: value.to(device) for name, value in self.tensors().items()})


@dataclass(frozen=True)
class Parts:
    """Rows of whole groups, split into means and residuals.

    Attributes:
        means: mean of each group's rows, from which the shift was subtracted, ``[L, G, d]``.
        residuals: each row without its group's mean, divided by the root of its group's size, ``[L, n, d]``.
        along: product of each residual with its group's mean, ``[L, n]`` float64.
    """

    means: Annotated[Tensor, "[L, G, d] float"]
    residuals: Annotated[Tensor, "[L, n, d] float"]
    along: Annotated[Tensor, "[L, n] float64"]

    @classmethod
    def of(
        cls, rows: Annotated[Tensor, "[L, n, d] float"], shift: Annotated[Tensor, "[L, d] float"], grouping: Grouping
    ) -> Parts:
        """Split rows ``[L, n, d]`` of whole groups after `shift` is subtracted from them."""
        means, residuals = grouping.split(shifted(rows, shift))
        along = (residuals * means.index_select(-2, grouping.which)).sum(-1, dtype=torch.float64)
        return cls(means, residuals, along)


def _weighted(
    rows: Annotated[Tensor, "[L, n, d] float"], weights: Annotated[Tensor, "[L, n] float64"]
) -> Annotated[Tensor, "[L, d] float64"]:
    """Sum the rows times their weights."""
    return (weights.to(rows.dtype).unsqueeze(-2) @ rows).squeeze(-2).double()
