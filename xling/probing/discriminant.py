"""What a linear classifier reads from representations: discriminant analysis, tried on groups that it has not seen.

Linear discriminant analysis with the covariance shrunk after Ledoit & Wolf (2004, "A well-conditioned estimator for
large-dimensional covariance matrices"), as scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")``: it is
in closed form and has no setting to tune, so that before and after training are read by the same instrument.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from xling.errors import XlingValueError

N_FOLDS = 5


def deal_groups(groups: Tensor, n_folds: int = N_FOLDS) -> Tensor:
    """Deal groups into folds of about equal numbers of groups; rows of one group share a fold.

    Args:
        groups: id per row, ``[n]`` int64.
        n_folds: number of folds.

    Returns:
        Fold of each row, ``[n]`` int64, 0 to `n_folds` - 1.

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
        XlingValueError: fewer than two folds or classes, or rows that are not finite.
    """
    classes, index = labels.unique(return_inverse=True)
    _check(rows, classes, folds)
    order = folds.argsort(stable=True)  # so that a fold's rows are one slice
    rows, index = rows[order], index[order]
    rows = rows - rows.mean(0)
    rows = rows / rows.square().mean().sqrt().clamp_min(torch.finfo(rows.dtype).tiny)
    sizes = folds.unique(return_counts=True)[1].tolist()
    parts = [_Sums.of(*part, len(classes)) for part in zip(rows.split(sizes), index.split(sizes), strict=True)]
    whole = functools.reduce(_Sums.plus, parts)
    predicted, start, norms = torch.empty_like(index), 0, rows.square().sum(1)
    for size, part in zip(sizes, parts, strict=True):
        held = slice(start, start + size)
        weights, offsets = _fit(whole.minus(part), rows, index, norms, held)
        predicted[held] = (rows[held] @ weights + offsets).argmax(1)
        start += size
    return torch.empty_like(labels).index_copy_(0, order, classes[predicted])


@dataclass(frozen=True)
class _Sums:
    """What a discriminant needs of rows, additive over folds.

    Attributes:
        counts: rows of each class, ``[classes]``.
        totals: their sums, ``[classes, d]``.
        product: ``rows.T @ rows``, ``[d, d]``.
    """

    counts: Tensor
    totals: Tensor
    product: Tensor

    @classmethod
    def of(cls, rows: Tensor, index: Tensor, n_classes: int) -> "_Sums":
        totals = rows.new_zeros(n_classes, rows.shape[1]).index_add_(0, index, rows)
        return cls(torch.bincount(index, minlength=n_classes).to(rows.dtype), totals, rows.mT @ rows)

    def plus(self, other: "_Sums") -> "_Sums":
        return _Sums(self.counts + other.counts, self.totals + other.totals, self.product + other.product)

    def minus(self, other: "_Sums") -> "_Sums":
        return _Sums(self.counts - other.counts, self.totals - other.totals, self.product - other.product)


def _fit(train: _Sums, rows: Tensor, index: Tensor, norms: Tensor, held: slice) -> tuple[Tensor, Tensor]:
    """Weights ``[d, classes]`` and offsets ``[classes]`` of the discriminant scores.

    Args:
        train: sums over the rows to fit.
        rows: all rows.
        index: class of each.
        norms: their squared norms.
        held: those that are not to be fitted.
    """
    n, means = train.counts.sum(), train.totals / train.counts.clamp_min(1)[:, None]
    within = train.product.sub_(train.totals.mT @ means).div_(n)
    on_own = (rows @ means.mT).gather(1, index[:, None]).squeeze(1)
    beside = norms - 2 * on_own + means.square().sum(1)[index]  # squared distance of each row from its class's mean
    covariance = shrunk(within, torch.cat([beside[: held.start], beside[held.stop :]]), int(n))
    weights = _solved(covariance, means.mT)
    return weights, (train.counts / n).log() - (means * weights.mT).sum(1) / 2  # -inf for a class without rows


def _solved(covariance: Tensor, right: Tensor) -> Tensor:
    """``covariance^-1 right``, by Cholesky's factors, which are half the work; a matrix without them is solved as any other."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    return torch.linalg.solve(covariance, right) if failed else torch.cholesky_solve(right, factor)


def shrunk(covariance: Tensor, squared_norms: Tensor, n: int) -> Tensor:
    """Shrink a covariance towards a multiple of the identity by as much as Ledoit & Wolf (2004) estimate to be best.

    Args:
        covariance: of centred rows, divided by their number, ``[d, d]``.
        squared_norms: of the centred rows, ``[n]``.
        n: number of rows.

    Returns:
        ``(1 - s) covariance + s (trace / d) I``, ``[d, d]``.
    """
    d = len(covariance)
    level, square = covariance.trace() / d, covariance.square().sum()
    spread = square - d * level**2
    noise = (squared_norms.square().sum() / n - square) / n
    share = (noise / spread).clamp(0, 1) if spread > 0 else torch.ones_like(spread)
    found = (1 - share) * covariance
    found.diagonal().add_(share * level)
    return found


def _check(rows: Tensor, classes: Tensor, folds: Tensor) -> None:
    n_folds = len(folds.unique())
    if n_folds < 2 or len(classes) < 2:
        raise XlingValueError(f"expected at least two folds and two classes, got {n_folds} and {len(classes)}")
    if not rows.isfinite().all():
        raise XlingValueError("some rows are not finite")
