"""Computes parts of a spectrum in a fraction of the time that all of it takes, by LAPACK, in float64 on the CPU."""

from typing import Annotated

import scipy.linalg
import torch
from torch import Tensor

from xling.similarity.shapes import Scalar

SQUARED = 1e-8
"""Relative error up to which a sum of singular values may come from their squares."""


def leading_eigenvectors(matrix: Annotated[Tensor, "[m, m] float"], k: int) -> Annotated[Tensor, "[m, _] float"]:
    """Compute unit eigenvectors ``[m, k]`` of the k largest eigenvalues of a symmetric matrix, the largest first."""
    m = len(matrix)
    of_largest = (max(0, m - k), m - 1)
    found = scipy.linalg.eigh(matrix.double().cpu().numpy(), subset_by_index=of_largest, check_finite=False)[1]
    return torch.from_numpy(found[:, ::-1].copy()).to(matrix)


def nuclear_norm(matrix: Annotated[Tensor, "[k, l] float64"]) -> Scalar:
    """Compute the sum of the singular values, float64.

    Singular values are the roots of the eigenvalues of the smaller of M M' and M' M, at half the cost of a decomposition. Squaring
    loses the small ones beside the largest, since every eigenvalue has an error of some epsilons of the largest. Where these errors
    come to more than :data:`SQUARED` of the sum, as for a matrix of low rank, the singular values themselves are computed.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    squares = scipy.linalg.eigvalsh((wide @ wide.mT).cpu().numpy(), check_finite=False)
    values = torch.from_numpy(squares).clamp_min(0)
    off = 4 * torch.finfo(torch.float64).eps * values[-1]
    roots = values.sqrt()
    error = torch.minimum(off.sqrt(), off / (2 * roots)).sum()
    found = roots.sum() if error <= SQUARED * roots.sum() else torch.linalg.svdvals(matrix).sum()
    return found.to(matrix.device)
