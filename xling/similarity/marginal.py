"""Keeps the sums over one side of a comparison: what a stored base contributes, once, to every later run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.panels import add_product, empty_panels
from xling.similarity.precision import similarity_precision

ROWS_AT_ONCE = 256
"""Rows shifted and multiplied at once: bounds the working memory of a one-shot call."""


@dataclass
class Marginal:
    """Sums over rows x of L layers, after `shift` was subtracted from each row.

    Matrices are summed in the dtype of the rows, at least float32; vectors and scalars in float64.

    Attributes:
        n: number of rows, int64 scalar.
        shift: vector that was subtracted from every row, ``[L, d]``.
        total: sum of x, ``[L, d]`` float64.
        sq: sum of ``|x|^2``, ``[L]`` float64.
        gram: X'X, packed as in :mod:`xling.similarity.panels`; None where the sums of a known base have these products.
        sq_sq: sum of ``|x|^4``, ``[L]`` float64; None where `gram` is.
        sq_vec: sum of ``|x|^2 x``, ``[L, d]`` float64; None where `gram` is.
    """

    n: Annotated[Tensor, "[] int64"]
    shift: Annotated[Tensor, "[L, d] float"]
    total: Annotated[Tensor, "[L, d] float64"]
    sq: Annotated[Tensor, "[L] float64"]
    gram: Annotated[Tensor, "[_] float"] | None = None
    sq_sq: Annotated[Tensor, "[L] float64"] | None = None
    sq_vec: Annotated[Tensor, "[L, d] float64"] | None = None

    @classmethod
    def empty(cls, shift: Annotated[Tensor, "[L, d] float"], *, with_products: bool = True) -> Marginal:
        """Make sums of no rows yet.

        Args:
            shift: vector that will be subtracted from every row, ``[L, d]`` in the dtype of the sums (float32 or float64).
            with_products: whether to sum `gram`, `sq_sq` and `sq_vec` as well.
        """
        total = torch.zeros_like(shift, dtype=torch.float64)
        sums = cls(torch.zeros((), dtype=torch.int64, device=shift.device), shift, total, total.sum(-1))
        if not with_products:
            return sums
        n_layers, d = shift.shape
        gram = empty_panels(n_layers, d, like=shift)
        return replace(sums, gram=gram, sq_sq=sums.sq.clone(), sq_vec=total.clone())

    @classmethod
    def of(cls, x: Annotated[Tensor, "[..., n, d] float"], *, allow_tf32: bool = False) -> Marginal:
        """Sum the rows of `x` ``[..., n, d]``; done once for a base, this serves every later comparison with it."""
        return cls.of_batches(flatten_layers(x).split(ROWS_AT_ONCE, -2), allow_tf32=allow_tf32)

    @classmethod
    def of_batches(cls, batches: Iterable[Tensor], *, allow_tf32: bool = False) -> Marginal:
        """Sum rows that come in batches ``[L, b, d]``, which need not be in memory together.

        Raises:
            XlingValueError: there is no batch.
        """
        sums: Marginal | None = None
        for batch in batches:
            with similarity_precision(batch.device.type, allow_tf32=allow_tf32):
                sums = sums or cls.empty(row_mean(batch))
                sums.add_rows(shifted(batch, sums.shift))
        if sums is None:
            raise XlingValueError("expected at least one batch of the base's rows, got none")
        return sums

    def add_rows(self, rows: Annotated[Tensor, "[L, n, d] float"]) -> None:
        """Add shifted rows ``[L, b, d]``."""
        sq = squared_norms(rows)
        self.add(rows, sq, weighted_sums(rows, torch.ones_like(sq), sq))

    def add(
        self,
        rows: Annotated[Tensor, "[L, n, d] float"],
        sq: Annotated[Tensor, "[L, n] float"],
        sums: Annotated[Tensor, "[L, _, d] float"],
    ) -> None:
        """Add shifted rows, given sums over them that the caller has already computed.

        Args:
            rows: rows from which `shift` was subtracted, ``[L, b, d]``.
            sq: ``|x|^2`` of each of them, ``[L, b]``.
            sums: sum of x and sum of ``|x|^2 x``, ``[L, 2, d]``; further sums after these two are ignored.
        """
        self.n += rows.shape[-2]
        self.total += sums[:, 0]
        sq = sq.double()
        self.sq += sq.sum(-1)
        if self.products is not None:
            gram, sq_sq, sq_vec = self.products
            add_product(gram, rows, rows)
            sq_sq += sq.square().sum(-1)
            sq_vec += sums[:, 1]

    @property
    def products(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """`gram`, `sq_sq` and `sq_vec`; None where they are not summed."""
        if self.gram is None or self.sq_sq is None or self.sq_vec is None:
            return None
        return self.gram, self.sq_sq, self.sq_vec

    def tensors(self) -> dict[str, Tensor]:
        """Give the sums that are held by name, to store, send or add them; ``Marginal(**tensors)`` is the inverse."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in held.items() if value is not None}

    def to(self, device: torch.device | str) -> Marginal:
        """Give the same sums on `device`; if they are there already, this very object."""
        if self.shift.device == torch.device(device):
            return self
        return Marginal(**{name: value.to(device) for name, value in self.tensors().items()})

    @property
    def mean(self) -> Annotated[Tensor, "[L, d] float64"]:
        """Mean of the unshifted rows, ``[L, d]`` float64."""
        return self.shift + self.total / self.n


def flatten_layers(rows: Annotated[Tensor, "[..., n, d]"]) -> Annotated[Tensor, "[L, n, d]"]:
    """Flatten the leading dimensions of rows, ``[..., b, d]``, into one: ``[L, b, d]``."""
    return rows.reshape(rows.shape[:-2].numel(), *rows.shape[-2:])


def row_mean(x: Annotated[Tensor, "[L, n, d] float"]) -> Annotated[Tensor, "[L, d] float"]:
    """Average over rows, ``[L, b, d]`` to ``[L, d]``, in the dtype of the sums: that of the rows, at least float32."""
    return x.mean(-2, dtype=torch.float64).to(torch.promote_types(x.dtype, torch.float32))


def shifted(
    rows: Annotated[Tensor, "[L, n, d] float"], shift: Annotated[Tensor, "[L, d] float"]
) -> Annotated[Tensor, "[L, n, d] float"]:
    """Subtract their layer's shift from rows, in the dtype of the shift."""
    return rows.to(shift.dtype) - shift.unsqueeze(-2)


def squared_norms(rows: Annotated[Tensor, "[L, n, d] float"]) -> Annotated[Tensor, "[L, n] float"]:
    """Compute ``|x|^2`` of every row, without a copy of the rows: ``[L, b, d]`` to ``[L, b]``."""
    return torch.linalg.vector_norm(rows, dim=-1).square()


def weighted_sums(
    rows: Annotated[Tensor, "[L, n, d] float"], *weights: Annotated[Tensor, "[L, n] float"]
) -> Annotated[Tensor, "[L, _, d] float"]:
    """Sum ``w x`` over the rows for each of several weights ``[L, b]``: ``[L, len(weights), d]``."""
    return torch.stack(weights, -2) @ rows
