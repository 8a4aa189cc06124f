"""Computes what deleting groups of rows does to the terms of HSIC: a low-rank change of sums, so no group needs sums of its own."""

from dataclasses import dataclass, fields
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.grams import are_few
from xling.similarity.hsic import HsicTerms
from xling.similarity.recentre import dot
from xling.similarity.shapes import PerGroup, RowsX, RowsY


def deleted_pairs(
    x: RowsX, y: RowsY, which: Annotated[Tensor, "[n] int64"], sizes: Annotated[Tensor, "[G] int64"]
) -> list["Deleted"]:
    """Compute what deletion changes for the pairs (x, x), (y, y) and (x, y), by whichever matrices are smaller.

    Args:
        x: centred rows, ``[n, d_x]``.
        y: centred rows, ``[n, d_y]``.
        which: number of each row's group, ``[n]`` int64.
        sizes: number of rows of each group, ``[G]`` int64.
    """
    if are_few(len(x), x.shape[-1], y.shape[-1]):
        k, l = x @ x.mT, y @ y.mT  # noqa: E741
        return [deleted_by_grams(*pair, which, sizes) for pair in ((k, k), (l, l), (k, l))]
    return [_by_product(*pair, which, sizes) for pair in ((x, x), (y, y), (x, y))]


@dataclass(frozen=True)
class Deleted:
    """What deleting each group changes, ``[n_groups]`` float64; u and v are minus the means of the rows that stay.

    With `I` the rows of a group and m those that stay, ``u = sum over I of x_i / m``, ``v`` likewise of y.

    Attributes:
        m: number of rows that stay.
        sq_x: sum over I of ``|x_i|^2``.
        sq_y: the same of y.
        sq_xy: sum over I of ``|x_i|^2 |y_i|^2``.
        uu: ``|u|^2``.
        vv: ``|v|^2``.
        v_c_u: ``v' Y'X u``.
        through: sum over I of ``y_i' Y'X x_i``.
        within: sum over pairs i, k in I of ``x_i'x_k y_i'y_k``.
        on_mean: sum over I of ``x_i'u y_i'v``.
        u_weighted: u times the sum of ``|y|^2 x`` over the rows that stay.
        v_weighted: v times the sum of ``|x|^2 y`` over them.
    """

    m: PerGroup
    sq_x: PerGroup
    sq_y: PerGroup
    sq_xy: PerGroup
    uu: PerGroup
    vv: PerGroup
    v_c_u: PerGroup
    through: PerGroup
    within: PerGroup
    on_mean: PerGroup
    u_weighted: PerGroup
    v_weighted: PerGroup


def without(terms: HsicTerms, d: Deleted) -> HsicTerms:
    """Compute the terms after deleting each group.

    The rows that stay are centred again: ``Y'X`` becomes ``Y'X - Z`` with ``Z = sum over I of y_i x_i' + m v u'``, and
    ``|Y'X - Z|^2`` is multiplied out, as is ``|x + u|^2 |y + v|^2``.
    """
    left_x, left_y = terms.sq_x - d.sq_x, terms.sq_y - d.sq_y
    z_sq = d.within + 2 * d.m * d.on_mean + d.m**2 * d.uu * d.vv
    cross = terms.cross - 2 * (d.through + d.m * d.v_c_u) + z_sq
    sq_xy = terms.sq_xy - d.sq_xy + 2 * (d.u_weighted + d.v_weighted) + 4 * (d.v_c_u - d.on_mean)
    sq_xy = sq_xy + d.vv * (left_x - 2 * d.m * d.uu) + d.uu * (left_y - 2 * d.m * d.vv) + d.m * d.uu * d.vv
    return HsicTerms(d.m, cross, left_x - d.m * d.uu, left_y - d.m * d.vv, sq_xy)


def deleted_by_grams(
    k: Annotated[Tensor, "[n, n] float"],
    l: Annotated[Tensor, "[n, n] float"],  # noqa: E741  (K and L in the field)
    which: Annotated[Tensor, "[n] int64"],
    sizes: Annotated[Tensor, "[G] int64"],
) -> Deleted:
    """Compute what deletion changes from the Gram matrices K = XX' and L = YY', ``[n, n]``; see :func:`deleted_pairs`."""
    m, is_same = len(k) - sizes.double(), which[:, None] == which

    def by_group(rows: Tensor) -> Tensor:
        return rows.new_zeros(len(sizes), *rows.shape[1:]).index_add(0, which, rows)

    def in_group(matrix: Tensor) -> Tensor:
        return (matrix * is_same).sum(1, dtype=torch.float64)

    product, sums_k, sums_l = k * l, by_group(k), by_group(l)
    a, b, in_k, in_l = k.diagonal().double(), l.diagonal().double(), in_group(k), in_group(l)
    return Deleted(
        m=m,
        sq_x=by_group(a),
        sq_y=by_group(b),
        sq_xy=by_group(a * b),
        uu=by_group(in_k) / m**2,
        vv=by_group(in_l) / m**2,
        v_c_u=(sums_k * sums_l).sum(1, dtype=torch.float64) / m**2,
        through=by_group(product.sum(1, dtype=torch.float64)),
        within=by_group(in_group(product)),
        on_mean=by_group(in_k * in_l) / m**2,
        u_weighted=(sums_k.double() @ b - by_group(b * in_k)) / m,
        v_weighted=(sums_l.double() @ a - by_group(a * in_l)) / m,
    )


def _by_product(
    x: RowsX, y: RowsY, which: Annotated[Tensor, "[n] int64"], sizes: Annotated[Tensor, "[G] int64"]
) -> Deleted:
    """Compute what deletion changes from the rows and the d x d product; groups of one size are one batch."""
    product, (sq_x, sq_y) = y.mT @ x, (rows.double().square().sum(-1) for rows in (x, y))
    weighted = (sq_y.to(x.dtype) @ x).double(), (sq_x.to(y.dtype) @ y).double()
    found = torch.empty(len(fields(Deleted)), len(sizes), dtype=torch.float64, device=x.device)
    by_group = which.argsort(stable=True).split(sizes.tolist())
    for size in sizes.unique().tolist():
        of_size = (sizes == size).nonzero().flatten()
        rows = torch.stack([by_group[group] for group in of_size.tolist()])
        found[:, of_size] = torch.stack(_of_size(x[rows], y[rows], product, len(x) - size, weighted))
    return Deleted(*found)


def _of_size(x: Tensor, y: Tensor, product: Tensor, m: int, weighted: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Compute the fields of :class:`Deleted` for g groups of one size.

    Only the large product is in the rows' dtype: what it gives is small beside ``|Y'X|^2``, which all groups share.

    Args:
        x: deleted rows of the one side, ``[g, size, d_x]``.
        y: deleted rows of the other side, ``[g, size, d_y]``.
        product: Y'X over all rows.
        m: number of rows that stay.
        weighted: sums of ``|y|^2 x`` and of ``|x|^2 y`` over all rows.
    """
    rows_c = (y @ product).double()  # y_i' Y'X
    x, y = x.double(), y.double()
    u, v, a, b = x.sum(1) / m, y.sum(1) / m, x.square().sum(-1), y.square().sum(-1)
    y_sq_x = weighted[0] - (b.unsqueeze(1) @ x).squeeze(1)
    x_sq_y = weighted[1] - (a.unsqueeze(1) @ y).squeeze(1)
    return [
        torch.full((len(x),), float(m), dtype=torch.float64, device=x.device),
        a.sum(1),
        b.sum(1),
        (a * b).sum(1),
        dot(u, u),
        dot(v, v),
        dot(rows_c.sum(1) / m, u),
        dot(rows_c, x).sum(1),
        ((x @ x.mT) * (y @ y.mT)).sum((1, 2)),
        ((x @ u[..., None]) * (y @ v[..., None])).sum((1, 2)),
        dot(u, y_sq_x),
        dot(v, x_sq_y),
    ]
