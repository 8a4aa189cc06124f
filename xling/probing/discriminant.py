"""Measures what a linear classifier reads from representations: discriminant analysis, tried on groups that it has not seen.

Linear discriminant analysis with the covariance shrunk after Ledoit & Wolf (2004, "A well-conditioned estimator for
large-dimensional covariance matrices"), as scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")``: it is
in closed form and has no setting to tune, so that before and after training are read by the same instrument.
"""

import torch
from torch import Tensor

from xling.errors import XlingValueError

N_FOLDS = 5
"""The usual number: each classifier is fitted on four fifths of the groups."""
_ROUNDING = 100
"""Multiple of the precision below which a variance within classes is rounding, in units of the rows' mean square."""


def deal_groups(groups: Tensor, n_folds: int = N_FOLDS) -> Tensor:
    """Deal groups into folds of about equal numbers of groups; rows of one group share a fold.

    Args:
        groups: id of each row's group, ``[n]`` int64.
        n_folds: number of folds, at least 1.

    Returns:
        Fold of each row, ``[n]`` int64, from 0 to `n_folds` - 1.

    >>> deal_groups(torch.tensor([7, 7, 3, 9]), 2)
    tensor([1, 1, 0, 0])
    """
    return groups.unique(return_inverse=True)[1] % n_folds


def held_out_predictions(rows: Tensor, labels: Tensor, folds: Tensor) -> Tensor:
    """Predict every row's label by a classifier fitted on the rows of the other folds.

    A label that no other fold has is unknown to the classifier, so that its rows count as not recognised.

    Args:
        rows: representations of one layer, ``[n, d]`` floating point.
        labels: class of each row, ``[n]`` int64.
        folds: fold of each row, ``[n]`` int64.

    Returns:
        Predicted class of each row, ``[n]`` int64.

    Raises:
        XlingValueError: there are fewer than two folds or classes, or some rows are not finite or too large to be squared.
    """
    classes, index = labels.unique(return_inverse=True)
    sizes = folds.unique(return_counts=True)[1].tolist()
    _check(classes, sizes)
    order = folds.argsort(stable=True)  # so that a fold's rows are one slice
    rows, index = rows[order], index[order]
    rows, norms = _scaled(rows.sub_(rows.mean(0)))
    width = rows.shape[1]
    if len(rows) < width:  # in the space that they span, where all their products are the same
        rows = torch.linalg.qr(rows.mT, mode="r").R.mT
    weights, offsets = _fit(rows, norms, index, sizes, len(classes), width)
    parts = zip(rows.split(sizes), weights, offsets, strict=True)
    predicted = torch.cat([torch.addmm(offset, part, weight).argmax(1) for part, weight, offset in parts])
    return torch.empty_like(labels).index_copy_(0, order, classes[predicted])


def _scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the rows, in place, to a mean square of 1; also give their squared norms ``[n]``."""
    norms = rows.square().sum(1)
    if not norms.isfinite().all():
        raise XlingValueError("some rows are not finite, or too large to be squared")
    scale = (norms.sum() / rows.numel()).sqrt().clamp_min(torch.finfo(rows.dtype).tiny)
    return rows.div_(scale), norms / scale / scale


def _fit(
    rows: Tensor, norms: Tensor, index: Tensor, sizes: list[int], n_classes: int, width: int
) -> tuple[Tensor, Tensor]:
    """Fit one set of discriminants per fold on the rows of all other folds, from sums that are additive over folds.

    Args:
        rows: centred rows, fold by fold, ``[n, d]``.
        norms: squared norms of the rows, ``[n]``.
        index: class of each row, ``[n]`` int64, from 0.
        sizes: number of rows of each fold.
        n_classes: number of classes.
        width: dimension of the representations, which is above d where the rows are given in the space that they span.

    Returns:
        Weights ``[folds, d, classes]`` and offsets ``[folds, classes]`` of the discriminant scores.
    """
    _n, d = rows.shape
    fold = torch.arange(len(sizes), device=rows.device).repeat_interleave(torch.tensor(sizes, device=rows.device))
    cell = fold * n_classes + index
    totals = rows.new_zeros(len(sizes) * n_classes, d).index_add_(0, cell, rows).unflatten(0, (-1, n_classes))
    counts = torch.bincount(cell, minlength=len(sizes) * n_classes).to(rows.dtype).unflatten(0, (-1, n_classes))
    products = torch.stack([part.mT @ part for part in rows.split(sizes)])
    totals, counts, products = (whole.sum(0) - whole for whole in (totals, counts, products))  # of the other folds
    means = totals / counts.clamp_min(1).unsqueeze(-1)
    n_train = counts.sum(1)
    within = torch.baddbmm(products, totals.mT, means, alpha=-1) / n_train[:, None, None]
    covariance = shrunk(within, _fourth_powers(rows, norms, index, means, fold), n_train, width)
    # rows have a mean square of 1: where the rows of a class do not differ, what is left of the covariance is rounding, and with
    # this a row goes to the nearest mean
    covariance.diagonal(dim1=-2, dim2=-1).add_(_ROUNDING * torch.finfo(rows.dtype).eps)
    weights = _solved(covariance, means.mT)
    log_priors = (counts / n_train[:, None]).log()  # -inf for a class without rows, which is then never predicted
    return weights, log_priors - (means * weights.mT).sum(-1) / 2


def _fourth_powers(rows: Tensor, norms: Tensor, index: Tensor, means: Tensor, fold: Tensor) -> Tensor:
    """Sum, for each fold ``[folds]``, the fourth powers of the other folds' rows' distances from the `means` of their classes."""
    n, (n_folds, n_classes, _) = len(rows), means.shape
    products = (rows @ means.flatten(0, 1).mT).unflatten(1, (n_folds, n_classes))
    with_class_mean = products.gather(2, index[:, None, None].expand(n, n_folds, 1)).squeeze(2)
    squares = norms[:, None] - 2 * with_class_mean + means.square().sum(-1).mT[index]
    is_train = fold[:, None] != torch.arange(n_folds, device=rows.device)
    return (squares.square() * is_train).sum(0)


def _solved(covariances: Tensor, right: Tensor) -> Tensor:
    """Compute ``C^-1 right`` by Cholesky's factors, which are half the work, or by LU where a matrix is not positive definite."""
    factors, failed = torch.linalg.cholesky_ex(covariances)
    return torch.linalg.solve(covariances, right) if failed.any() else torch.cholesky_solve(right, factors)


def shrunk(covariance: Tensor, fourth_powers: Tensor, n: Tensor | int, width: int | None = None) -> Tensor:
    """Shrink covariances towards multiples of the identity by as much as Ledoit & Wolf (2004) estimate to be best.

    Args:
        covariance: covariances of centred rows (sums of products divided by the number of rows), ``[..., d, d]``.
        fourth_powers: sum of the fourth powers of the centred rows' norms, ``[...]``.
        n: number of rows, ``[...]``.
        width: dimension of the whole space, where the covariance is taken within a subspace that holds all rows; None: d.

    Returns:
        ``(1 - s) covariance + s (trace / width) I``, ``[..., d, d]``.
    """
    d = covariance.shape[-1] if width is None else width
    level, square = covariance.diagonal(dim1=-2, dim2=-1).sum(-1) / d, covariance.square().sum((-2, -1))
    spread = square - d * level**2
    noise = (fourth_powers / n - square) / n
    share = torch.where(spread > 0, (noise / spread).clamp(0, 1), 1.0)
    found = covariance * (1 - share)[..., None, None]
    found.diagonal(dim1=-2, dim2=-1).add_((share * level)[..., None])
    return found


def _check(classes: Tensor, sizes: list[int]) -> None:
    if len(sizes) < 2 or len(classes) < 2:
        raise XlingValueError(f"expected at least two folds and two classes, got {len(sizes)} and {len(classes)}")
