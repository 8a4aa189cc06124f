"""What a linear classifier reads from representations: discriminant analysis, tried on groups that it has not seen.

Linear discriminant analysis with the covariance shrunk after Ledoit & Wolf (2004, "A well-conditioned estimator for
large-dimensional covariance matrices"), as scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")``: it is
in closed form and has no setting to tune, so that before and after training are read by the same instrument.
"""

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
    rows = rows - rows.mean(0)
    rows = rows / rows.square().mean().sqrt().clamp_min(torch.finfo(rows.dtype).tiny)
    predicted = torch.empty_like(labels)
    product = rows.mT @ rows
    for fold in folds.unique():
        held = folds == fold
        train = product - rows[held].mT @ rows[held]  # the sum over the other folds
        weights, offsets = _fit(rows[~held], index[~held], len(classes), train)
        predicted[held] = classes[(rows[held] @ weights + offsets).argmax(1)]
    return predicted


def _fit(rows: Tensor, index: Tensor, n_classes: int, product: Tensor) -> tuple[Tensor, Tensor]:
    """Weights ``[d, classes]`` and offsets ``[classes]`` of the discriminant scores; `product` is ``rows.T @ rows``."""
    counts = torch.bincount(index, minlength=n_classes).to(rows.dtype)
    means = rows.new_zeros(n_classes, rows.shape[1]).index_add_(0, index, rows) / counts.clamp_min(1)[:, None]
    n = len(rows)
    within = (product - (means * counts[:, None]).mT @ means) / n
    covariance = shrunk(within, (rows - means[index]).square().sum(1), n)
    weights = torch.linalg.solve(covariance, means.mT)
    return weights, (counts / n).log() - (means * weights.mT).sum(1) / 2  # -inf for a class without rows


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
    return (1 - share) * covariance + share * level * torch.eye(d, dtype=covariance.dtype, device=covariance.device)


def _check(rows: Tensor, classes: Tensor, folds: Tensor) -> None:
    n_folds = len(folds.unique())
    if n_folds < 2 or len(classes) < 2:
        raise XlingValueError(f"expected at least two folds and two classes, got {n_folds} and {len(classes)}")
    if not rows.isfinite().all():
        raise XlingValueError("some rows are not finite")
