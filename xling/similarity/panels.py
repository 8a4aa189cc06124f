"""Keeps symmetric d x d sums of products as the block rows from the diagonal on.

Half of Y'Y repeats the other half: with panels of 128 rows about 42 % of the products and of the memory are saved at
d = 768. A stack of layers is one flat tensor in which every panel is contiguous (batched products into strided views
would copy), so that two states add by ``+`` and travel between processes as one array.
"""

from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.shapes import Scalar

PANEL = 128
"""Rows of a panel."""


def empty_panels(n_layers: int, d: int, like: Tensor) -> Tensor:
    """Make zeros that hold `n_layers` symmetric d x d matrices: one flat tensor of the dtype and device of `like`."""
    return like.new_zeros(sum(torch.Size(shape).numel() for shape in _shapes(n_layers, d)))


def add_product(
    packed: Tensor, left: Annotated[Tensor, "[L, n, d] float"], right: Annotated[Tensor, "[L, n, d] float"]
) -> None:
    """Add ``left' right`` in place; the product must be symmetric.

    Args:
        packed: panels as :func:`empty_panels` makes them, which are changed in place.
        left: first factor, ``[n_layers, b, d]``.
        right: second factor, ``[n_layers, b, d]``.
    """
    for start, panel in _panels(packed, left.shape[0], left.shape[-1]):
        panel.baddbmm_(left[..., start : start + PANEL].mT, right[..., start:])


def times_vector(packed: Tensor, v: Annotated[Tensor, "[L, d] float"]) -> Annotated[Tensor, "[L, d] float"]:
    """Multiply each layer's matrix by its vector: `v` is ``[n_layers, d]``, and so is the result, in the dtype of `v`."""
    result, v = torch.zeros_like(v), v.unsqueeze(-1)
    for start, panel in _panels(packed, *v.shape[:2]):
        stop, panel = start + panel.shape[1], panel.to(v.dtype)
        result[:, start:stop] += (panel @ v[:, start:]).squeeze(-1)
        result[:, stop:] += (panel[..., stop - start :].mT @ v[:, start:stop]).squeeze(-1)
    return result


def quadratic_and_frobenius(
    packed: Tensor, n_layers: int, d: int, layer: int, v: Annotated[Tensor, "[d] float64"]
) -> tuple[Scalar, Scalar]:
    """Compute ``v' M v`` and ``|M|_F^2`` of one layer's matrix, float64, without unpacking it; `v` is ``[d]`` float64."""
    quadratic = frobenius = torch.zeros((), dtype=torch.float64, device=packed.device)
    for start, panel in _panels(packed, n_layers, d):
        rows, width = panel[layer], panel.shape[1]
        diagonal, beyond = rows.split([width, d - start - width], 1)
        frobenius = frobenius + frobenius_sq(diagonal) + 2 * frobenius_sq(beyond)
        twice = torch.cat([v[start : start + width], 2 * v[start + width :]])
        quadratic = quadratic + v[start : start + width] @ (rows.double() @ twice)
    return quadratic, frobenius


def dense(
    packed: Annotated[Tensor, "[_] float"], n_layers: int, d: int, layer: int
) -> Annotated[Tensor, "[d, d] float64"]:
    """Unpack one layer's full symmetric matrix, ``[d, d]`` float64."""
    matrix = torch.empty(d, d, dtype=torch.float64, device=packed.device)
    for start, panel in _panels(packed, n_layers, d):
        stop = start + panel.shape[1]
        matrix[start:stop, start:] = panel[layer]
        matrix[stop:, start:stop] = panel[layer, :, stop - start :].mT
    return matrix


def frobenius_sq(matrix: Tensor) -> Scalar:
    """Compute ``|M|_F^2``, summed in float64 whatever the dtype."""
    return torch.linalg.vector_norm(matrix, dtype=torch.float64).square()


def _shapes(n_layers: int, d: int) -> list[tuple[int, int, int]]:
    return [(n_layers, min(PANEL, d - start), d - start) for start in range(0, d, PANEL)]


def _panels(packed: Tensor, n_layers: int, d: int) -> list[tuple[int, Tensor]]:
    """List (first row, view ``[n_layers, rows, d - first row]``) of every panel."""
    shapes = _shapes(n_layers, d)
    pieces = packed.split([torch.Size(shape).numel() for shape in shapes])
    return [(j * PANEL, piece.view(shape)) for j, (piece, shape) in enumerate(zip(pieces, shapes, strict=True))]
