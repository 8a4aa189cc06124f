"""Computes the measures of the distances between examples, which need the rows: RBF-CKA, RSA and mutual nearest neighbours.

Distances are Euclidean, in blocks of rows, so that memory grows with n and not with n^2 (RSA's ranks excepted).
"""

from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.hsic import check_own_hsic
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.shapes import PerRow, RowsX, RowsY, Scalar

BLOCK = 1024
"""Rows whose distances to all others are held at once."""

NEIGHBOURS = 10
"""k of the mutual nearest neighbours (Huh 2024)."""


def rbf_cka(x: RowsX, y: RowsY, *, debiased: bool = True, bandwidth: float = 1.0) -> Scalar:
    """Compute CKA with Gaussian kernels ``exp(-|a - b|^2 / (2 s^2))`` (Kornblith 2019), s = `bandwidth` x the median distance.

    The median is the exact lower median over all pairs of different rows, on each side by itself.

    Args:
        x: centred rows ``[n, d_x]``.
        y: centred rows ``[n, d_y]``.
        debiased: whether to take the unbiased HSIC (Song 2012) or the biased one.
        bandwidth: multiple of the median distance, above 0; Kornblith tries 0.2 to 0.8.

    Returns:
        Scalar float64. Biased: 0..1; debiased: up to 1, about 0 for unrelated data.

    Raises:
        UndefinedSimilarityError: more than half of the examples coincide on a side, or its HSIC with itself is not positive.
    """
    scales = [_half_width(rows, bandwidth) for rows in (x, y)]
    sums = _KernelSums(len(x), x.device)
    for start, sq_x, sq_y in zip(range(0, len(x), BLOCK), _blocks(x), _blocks(y), strict=True):
        sums.add(start, torch.exp(-sq_x / scales[0]), torch.exp(-sq_y / scales[1]))
    xx, yy, xy = (sums.hsic(a, b, debiased=debiased) for a, b in ((0, 0), (1, 1), (0, 1)))
    check_own_hsic((xx, sums.products[0, 0]), (yy, sums.products[1, 1]))
    return xy / (xx.sqrt() * yy.sqrt())


def rsa(x: RowsX, y: RowsY) -> Scalar:
    """Compute representational similarity analysis: Spearman correlation of pairwise distances (Kriegeskorte 2008).

    It is exact, with average ranks for ties, and holds a few arrays of n (n-1) / 2 numbers.

    Args:
        x: centred rows ``[n, d_x]``.
        y: centred rows ``[n, d_y]``.

    Returns:
        Scalar float64, -1..1.

    Raises:
        UndefinedSimilarityError: all distances of a side are equal.
    """
    ranks = torch.stack([average_ranks(_upper_distances(rows)) for rows in (x, y)])
    ranks -= ranks.mean(-1, keepdim=True)
    norms = torch.linalg.vector_norm(ranks, dim=-1)
    if not norms.all():
        raise UndefinedSimilarityError("all distances of a side are equal")
    return ranks[0] @ ranks[1] / norms.prod()


def mutual_knn(x: RowsX, y: RowsY, *, k: int = NEIGHBOURS) -> Scalar:
    """Compute the mean fraction of an example's k nearest neighbours that it has on both sides (Huh 2024, arXiv:2405.07987).

    Distances are Euclidean, between centred rows; an example is not its own neighbour.

    Args:
        x: centred rows ``[n, d_x]``.
        y: centred rows ``[n, d_y]``.
        k: neighbours per example, below n.

    Returns:
        Scalar float64, 0..1; on average k / (n - 1) for unrelated data.

    Raises:
        UndefinedSimilarityError: there are no more than k examples.
    """
    n = len(x)
    if n <= k:
        raise UndefinedSimilarityError(f"{n} examples have no {k} nearest neighbours each")
    shared = torch.zeros((), dtype=torch.int64, device=x.device)
    for start, sq_x, sq_y in zip(range(0, n, BLOCK), _blocks(x), _blocks(y), strict=True):
        near = [_without_self(sq, start).topk(k, largest=False).indices for sq in (sq_x, sq_y)]
        shared += (near[0].unsqueeze(-1) == near[1].unsqueeze(-2)).sum()
    return shared.double() / (n * k)


class _KernelSums:
    """Sums over two kernels' entries off the diagonal, block by block, for HSIC between any of them."""

    def __init__(self, n: int, device: torch.device):
        self.n = n
        self.products = torch.zeros(2, 2, dtype=torch.float64, device=device)
        self.row_sums = torch.zeros(2, n, dtype=torch.float64, device=device)

    def add(self, start: int, *kernels: Tensor) -> None:
        """Add rows ``start ...`` of both kernels, ``[b, n]``, whose diagonals are 1."""
        for kernel in kernels:
            kernel.diagonal(start).zero_()
        stop = start + len(kernels[0])
        for a, one in enumerate(kernels):
            self.row_sums[a, start:stop] = one.sum(-1, dtype=torch.float64)
            for b, other in enumerate(kernels):
                self.products[a, b] += (one * other).sum(dtype=torch.float64)

    def hsic(self, a: int, b: int, *, debiased: bool) -> Tensor:
        """Compute HSIC between two of the kernels, up to the factor that CKA cancels.

        The biased estimator counts the diagonals, of ones, that :meth:`add` set to 0.
        """
        n, product, rows_a, rows_b = self.n, self.products[a, b], self.row_sums[a], self.row_sums[b]
        if debiased:
            return product + rows_a.sum() * rows_b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows_a @ rows_b)
        rows_a, rows_b = rows_a + 1, rows_b + 1
        return product + n - 2 / n * (rows_a @ rows_b) + rows_a.sum() * rows_b.sum() / n**2


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    """Yield the squared distances ``[b, n]`` of each block of rows to all rows; those of a row to itself are exactly 0."""
    sq = rows.square().sum(-1)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        distances = torch.addmm(sq[block, None] + sq, rows[block], rows.mT, alpha=-2).clamp_min_(0)
        distances.diagonal(start).zero_()
        yield distances


def _half_width(rows: Annotated[Tensor, "[n, d] float"], bandwidth: float) -> Annotated[Tensor, "[] float"]:
    """Compute ``2 s^2`` for s = bandwidth x the median distance.

    Non-negative float32 numbers are ordered as their bits are, read as integers. So the median is found exactly, without sorting
    all distances, by counting the upper 16 bits in a first pass and the lower 16 bits in a second.
    """
    rank = (len(rows) * (len(rows) - 1) - 1) // 2
    halves: list[int] = []
    for _ in range(2):
        counts = torch.zeros(1 << 16, dtype=torch.int64, device=rows.device)
        for start, sq in zip(range(0, len(rows), BLOCK), _blocks(rows.float()), strict=True):
            bits = _without_self(sq, start).flatten().view(torch.int32)
            bits = bits[bits != _INFINITY_BITS]
            upper = bits >> 16
            counts += torch.bincount((bits & 0xFFFF)[upper == halves[0]] if halves else upper, minlength=1 << 16)
        below = counts.cumsum(0)
        half = int(torch.searchsorted(below, rank, right=True))
        rank -= int(below[half - 1]) if half else 0
        halves.append(half)
    median_sq = torch.tensor(halves[0] << 16 | halves[1], dtype=torch.int32).view(torch.float32).to(rows)
    if not median_sq:
        raise UndefinedSimilarityError("more than half of the examples coincide: the median distance is 0")
    return 2 * bandwidth**2 * median_sq


_INFINITY_BITS = 0x7F800000
"""Bits of float32's infinity, which marks the distance of a row to itself."""


def _without_self(sq: Tensor, start: int) -> Tensor:
    """Mark the distances of rows to themselves as infinite, in place."""
    sq.diagonal(start).fill_(torch.inf)
    return sq


def _upper_distances(rows: Annotated[Tensor, "[n, d] float"]) -> Annotated[Tensor, "[_] float"]:
    """Compute the squared distances of all pairs i < j, ``[n (n-1) / 2]``, which have the same ranks as the distances."""
    pieces = []
    for start, sq in zip(range(0, len(rows), BLOCK), _blocks(rows), strict=True):
        i = torch.arange(start, start + len(sq), device=rows.device)
        pieces.append(sq[torch.arange(len(rows), device=rows.device) > i[:, None]])
    return torch.cat(pieces)


def average_ranks(values: Annotated[Tensor, "[n] float"]) -> PerRow:
    """Rank values ``[n]`` from 1, where ties share the mean of their ranks, float64."""
    _, which, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[which]
