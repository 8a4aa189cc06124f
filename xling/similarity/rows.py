"""Rows at hand: centred for every measure, the route over n x n Gram matrices, and layer x layer matrices of CKA."""

from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.centred import Centred, Side, check_defined
from xling.similarity.hsic import HsicTerms, cka
from xling.similarity.panels import frobenius_sq
from xling.similarity.precision import similarity_precision
from xling.similarity.result import Result, UndefinedSimilarityError, collect
from xling.similarity.shapes import RowsX, RowsY, Scalar


def pair_terms(x: RowsX, y: RowsY) -> HsicTerms:
    """Terms of HSIC between centred rows ``[n, d_x]`` and ``[n, d_y]``."""
    sq_x, sq_y = x.double().square().sum(-1), y.double().square().sum(-1)
    return HsicTerms(len(x), cross_sq(x, y), sq_x.sum(), sq_y.sum(), sq_x @ sq_y)


def cross_sq(x: RowsX, y: RowsY) -> Scalar:
    """``|Y'X|_F^2 = tr(XX' YY')`` over whichever matrices are smaller: with n < d two of n x n, else one of d x d."""
    if len(x) >= min(x.shape[-1], y.shape[-1]):
        return frobenius_sq(y.mT @ x)
    gram = x @ x.mT
    return frobenius_sq(gram) if y is x else (gram.double() * (y @ y.mT)).sum()


def centred_rows(rows: Annotated[Tensor, "[n, d] float"], name: str) -> Annotated[Tensor, "[n, d] float"]:
    """Take the mean off rows ``[n, d]``, in float32 or float64.

    Raises:
        UndefinedSimilarityError: fewer than 4 rows, non-finite values or constant features.
    """
    return _centred(rows, name)[0]


def _centred(rows: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Centred rows, and the mean that was taken off, ``[d]`` float64."""
    dtype = torch.promote_types(rows.dtype, torch.float32)
    mean = rows.mean(0, dtype=torch.float64)
    centred = rows.to(dtype) - mean.to(dtype)
    check_defined(name, len(rows), frobenius_sq(centred), mean)
    return centred.sub_(centred.mean(0)), mean


def centred_pair(x: RowsX, y: RowsY) -> Centred:
    """One layer's paired rows ``[n, d_x]`` and ``[n, d_y]``, centred; d x d matrices are made only if a measure asks.

    Raises:
        UndefinedSimilarityError: fewer than 4 rows, non-finite values or constant features.
    """
    (centred_x, mean_x), (centred_y, mean_y) = _centred(x, "x"), _centred(y, "y")
    rows = centred_x, centred_y
    sq_x, sq_y = (torch.linalg.vector_norm(side, dim=-1, dtype=torch.float64).square() for side in rows)
    of_x, of_y, cross = _crosses(*rows)
    return Centred(
        x=_side(rows[0], mean_x, sq_x, of_x),
        y=_side(rows[1], mean_y, sq_y, of_y),
        cross=cross,
        sq_xy=sq_x @ sq_y,
        is_identical=torch.equal(x, y),
        unpack=lambda: (rows[1].mT @ rows[0]).double(),
        rows=rows,
    )


def _crosses(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``|X'X|_F^2``, ``|Y'Y|_F^2`` and ``|Y'X|_F^2``: with fewer rows than features from two products, each made once."""
    if len(x) >= min(x.shape[-1], y.shape[-1]):
        return cross_sq(x, x), cross_sq(y, y), cross_sq(x, y)
    gram_x, gram_y = x @ x.mT, y @ y.mT
    return frobenius_sq(gram_x), frobenius_sq(gram_y), (gram_x.double() * gram_y).sum()


def _side(centred: Tensor, mean: Tensor, sq: Tensor, cross: Tensor) -> Side:
    return Side(len(centred), sq.sum(), sq @ sq, cross, mean, lambda: (centred.mT @ centred).double())


def cka_matrix(xs: Tensor, ys: Tensor | None = None, *, debiased: bool, allow_tf32: bool = False) -> Result:
    """Linear CKA of every layer of one representation with every layer of another.

    Within a model (`ys` left out), before against after fine-tuning, or source against target on parallel rows.

    Args:
        xs: ``[L_x, n, d_x]``, or a list of ``[n, d]`` of different widths.
        ys: ``[L_y, n, d_y]`` or a list, the same examples in the same order; `xs` if None.
        debiased: which estimator of HSIC.
        allow_tf32: multiply in TF32 on a GPU that can.

    Returns:
        Values ``[L_x, L_y]`` float64, NaN with a reason in the rows and columns of undefined layers.

    Raises:
        XlingValueError: numbers of rows that differ.
    """
    symmetric, ys = ys is None, xs if ys is None else ys
    lengths = {len(rows) for rows in (*xs, *ys)}
    if len(lengths) != 1:
        raise XlingValueError(
            f"all layers must hold the same examples; got {sorted(lengths)} rows; pair them by id first"
        )
    with similarity_precision(xs[0].device.type, allow_tf32=allow_tf32):
        left = [_prepared(rows, f"x layer {i}") for i, rows in enumerate(xs)]
        right = left if symmetric else [_prepared(rows, f"y layer {i}") for i, rows in enumerate(ys)]
        known: dict[tuple[int, int], Tensor] = {}

        def of_pair(index: int) -> Tensor:
            i, j = divmod(index, len(right))
            if symmetric and (j, i) in known:
                return known[j, i]
            known[i, j] = _pair_cka(left[i], right[j], same=torch.equal(xs[i], ys[j]), debiased=debiased)
            return known[i, j]

        return collect(of_pair, (len(left), len(right)))


_Prepared = tuple[Tensor, HsicTerms] | str


def _prepared(rows: Tensor, name: str) -> _Prepared:
    """Centred rows and the terms of their HSIC with themselves, or the reason why these are undefined."""
    try:
        centred = centred_rows(rows, name)
    except UndefinedSimilarityError as undefined:
        return str(undefined)
    return centred, pair_terms(centred, centred)


def _pair_cka(x: _Prepared, y: _Prepared, *, same: bool, debiased: bool) -> Tensor:
    (rows_x, own_x), (rows_y, own_y) = _defined(x), _defined(y)
    value = cka(own_x, own_y, pair_terms(rows_x, rows_y), debiased=debiased)
    return torch.ones_like(value) if same else value


def _defined(side: _Prepared) -> tuple[Tensor, HsicTerms]:
    if isinstance(side, str):
        raise UndefinedSimilarityError(side)
    return side
