"""Compares rows at hand: centres them for every measure, goes by n x n Gram matrices, gives CKA of every layer with every layer."""

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
    """Compute the terms of HSIC between centred rows ``[n, d_x]`` and ``[n, d_y]``."""
    sq_x, sq_y = x.double().square().sum(-1), y.double().square().sum(-1)
    return HsicTerms(len(x), cross_sq(x, y), sq_x.sum(), sq_y.sum(), sq_x @ sq_y)


def cross_sq(x: RowsX, y: RowsY) -> Scalar:
    """Compute ``|Y'X|_F^2 = tr(XX' YY')`` over whichever matrices are smaller: with n < d two of n x n, else one of d x d."""
    if len(x) >= min(x.shape[-1], y.shape[-1]):
        return frobenius_sq(y.mT @ x)
    gram = x @ x.mT
    return frobenius_sq(gram) if y is x else (gram.double() * (y @ y.mT)).sum()


def centred_rows(rows: Annotated[Tensor, "[n, d] float"], name: str) -> Annotated[Tensor, "[n, d] float"]:
    """Centre rows ``[n, d]``, in float32 or float64; `name` is that of the side in errors.

    Raises:
        UndefinedSimilarityError: there are fewer than 4 rows, non-finite values or constant features.
    """
    return _centred(rows, name)[0]


def _centred(rows: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Centre rows; also give the mean that was subtracted, ``[d]`` float64."""
    dtype = torch.promote_types(rows.dtype, torch.float32)
    mean = rows.mean(0, dtype=torch.float64)
    centred = rows.to(dtype) - mean.to(dtype)
    check_defined(name, len(rows), frobenius_sq(centred), mean)
    return centred.sub_(centred.mean(0)), mean  # a second time, because the mean was rounded to the rows' dtype


def centred_pair(x: RowsX, y: RowsY) -> Centred:
    """Centre one layer's paired rows ``[n, d_x]`` and ``[n, d_y]``; d x d matrices are computed only where a measure asks.

    Raises:
        UndefinedSimilarityError: there are fewer than 4 rows, non-finite values or constant features.
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
    """Compute ``|X'X|_F^2``, ``|Y'Y|_F^2`` and ``|Y'X|_F^2``; with fewer rows than features, from two Gram matrices alone."""
    if len(x) >= min(x.shape[-1], y.shape[-1]):
        return cross_sq(x, x), cross_sq(y, y), cross_sq(x, y)
    gram_x, gram_y = x @ x.mT, y @ y.mT
    return frobenius_sq(gram_x), frobenius_sq(gram_y), (gram_x.double() * gram_y).sum()


def _side(centred: Tensor, mean: Tensor, sq: Tensor, cross: Tensor) -> Side:
    return Side(len(centred), sq.sum(), sq @ sq, cross, mean, lambda: (centred.mT @ centred).double())


def cka_matrix(xs: Tensor, ys: Tensor | None = None, *, debiased: bool, allow_tf32: bool = False) -> Result:
    """Compute linear CKA of every layer of one representation with every layer of another.

    It compares layers within a model (without `ys`), before with after fine-tuning, or source with target on parallel rows.

    Args:
        xs: layers of rows, ``[L_x, n, d_x]``, or a list of ``[n, d]`` where widths differ.
        ys: layers of the other side, ``[L_y, n, d_y]`` or a list, the same examples in the same order; None: `xs`.
        debiased: whether to take the unbiased estimator of HSIC or the biased one.
        allow_tf32: whether a GPU may multiply in TF32.

    Returns:
        Values ``[L_x, L_y]`` float64, NaN with a reason in the rows and columns of undefined layers.

    Raises:
        XlingValueError: the numbers of rows differ.
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
    """Centre rows and compute the terms of their HSIC with themselves; gives the reason instead where these are undefined."""
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
