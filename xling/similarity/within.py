"""Sums over what is left of rows beside their group's mean, and how they move with the shift of the means."""

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
    """Sums over what is left of rows beside their group's mean, of L layers; e of x, d of y, both over the root of the
    group's size, so that ``D_a = sum of d_i e_i'`` over a group is its mean product.

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
        """No rows yet, of one side alone; `shift` is ``[L, d]``."""
        on_x = torch.zeros_like(shift, dtype=torch.float64)
        n_layers, d = shift.shape
        return cls(empty_panels(n_layers, d, like=shift), on_x.sum(-1), on_x.sum(-1), on_x)

    @classmethod
    def of_pair(cls, shift_x: ShiftX, shift_y: ShiftY) -> Within:
        """No rows yet, of two sides."""
        on_x, on_y = (torch.zeros_like(shift, dtype=torch.float64) for shift in (shift_x, shift_y))
        product = shift_y.new_zeros(len(shift_y), shift_y.shape[-1], shift_x.shape[-1])
        return cls(product, on_x.sum(-1), on_x.sum(-1), on_x, on_y)

    def add(self, x: Parts, y: Parts, grouping: Grouping) -> None:
        """Add rows of whole groups."""
        self.own += of_each_group(x.left, y.left, grouping).sum(-1)
        self.mixed_own += dot(x.along, y.along)
        self.on_x += _weighted(x.left, y.along)
        if self.on_y is None:
            add_product(self.product, x.left, x.left)
        else:
            self.on_y += _weighted(y.left, x.along)
            self.product.baddbmm_(y.left.mT, x.left)

    def moved(self, m: Annotated[Tensor, "[L, d_x] float64"], k: Annotated[Tensor, "[L, d_y] float64"]) -> Within:
        """The same once further moves m ``[L, d_x]`` and k ``[L, d_y]`` are taken off the group means."""
        if self.on_y is None:
            d_m = d_k = times_vector(self.product, m)
        else:
            d_m = (self.product.double() @ m.unsqueeze(-1)).squeeze(-1)
            d_k = (self.product.double().mT @ k.unsqueeze(-1)).squeeze(-1)
        on_y = self.on_x if self.on_y is None else self.on_y
        mixed_own = self.mixed_own - dot(k, on_y) - dot(m, self.on_x) + dot(k, d_m)
        return replace(self, mixed_own=mixed_own, on_x=self.on_x - d_k, on_y=None if self.on_y is None else on_y - d_m)

    def __add__(self, other: Within) -> Within:
        """Sums over the rows of both, which have the same shifts."""
        others = other.tensors()
        return Within(**{name: value + others[name] for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """The sums that are held, by name."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in held.items() if value is not None}

    def to(self, device: torch.device | str) -> Within:
        """The same sums on `device`."""
        return Within(**{name: value.to(device) for name, value in self.tensors().items()})


@dataclass(frozen=True)
class Parts:
    """Rows of whole groups taken apart: means ``[L, G, d]``, what is left ``[L, n, d]``, and its product with the mean."""

    means: Annotated[Tensor, "[L, G, d] float"]
    left: Annotated[Tensor, "[L, n, d] float"]
    along: Annotated[Tensor, "[L, n] float64"]

    @classmethod
    def of(
        cls, rows: Annotated[Tensor, "[L, n, d] float"], shift: Annotated[Tensor, "[L, d] float"], grouping: Grouping
    ) -> Parts:
        """Of rows ``[L, n, d]`` of whole groups, once `shift` is taken off."""
        means, left = grouping.split(shifted(rows, shift))
        along = (left * means.index_select(-2, grouping.which)).sum(-1, dtype=torch.float64)
        return cls(means, left, along)


def _weighted(
    rows: Annotated[Tensor, "[L, n, d] float"], weights: Annotated[Tensor, "[L, n] float64"]
) -> Annotated[Tensor, "[L, d] float64"]:
    return (weights.to(rows.dtype).unsqueeze(-2) @ rows).squeeze(-2).double()
