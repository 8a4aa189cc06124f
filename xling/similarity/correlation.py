"""Computes the measures of moments other than CKA: neuron by neuron, by canonical correlation, and by alignment."""

from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.centred import CONSTANT, Centred, Side
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.shapes import Scalar
from xling.similarity.spectrum import nuclear_norm

SVCCA_VARIANCE = 0.99
"""Fraction of the variance that SVCCA's truncation keeps on each side (Raghu 2017)."""


def anc(layer: Centred) -> Scalar:
    """Compute average neuron-wise correlation, the mean of ``|corr(x_j, y_j)|`` (Del & Fishel 2022, arXiv:2212.01924).

    Returns:
        Scalar float64, 0..1.

    Raises:
        UndefinedSimilarityError: the widths differ, or a feature is constant on either side.
    """
    if layer.yx.shape[0] != layer.yx.shape[1]:
        raise UndefinedSimilarityError(f"neuron-wise correlation needs equal widths, got {tuple(layer.yx.shape)}")
    for name, side in (("x", layer.x), ("y", layer.y)):
        dead = (side.gram.diag() <= side.n * CONSTANT**2 * side.mean.square()).nonzero().flatten().tolist()
        if dead:
            raise UndefinedSimilarityError(f"{len(dead)} features of {name} are constant, the first is {dead[0]}")
    return (layer.yx.diag() / torch.sqrt(layer.x.gram.diag() * layer.y.gram.diag())).abs().mean()


def mean_cca(layer: Centred) -> Scalar:
    """Compute the mean canonical correlation over min(rank x, rank y) directions (Kornblith 2019, eq. 6).

    Returns:
        Scalar float64, 0..1.

    Raises:
        UndefinedSimilarityError: there are no more examples than dimensions of both sides together, which forces correlations of
            1 whatever the data.
    """
    return torch.linalg.svdvals(_canonical(layer, *_whitenings(layer))).mean()


def pwcca(layer: Centred) -> Scalar:
    """Compute projection-weighted CCA (Morcos 2018, arXiv:1806.05759): correlations weighted by how much of x they carry.

    The weight of direction h is the sum over x's features of ``|<h, x_j>|``; the weights always come from x, so the measure is
    not symmetric.

    Returns:
        Scalar float64, 0..1.

    Raises:
        UndefinedSimilarityError: there are no more examples than dimensions of both sides together.
    """
    white_x, white_y = _whitenings(layer)
    _, rho, directions = torch.linalg.svd(_canonical(layer, white_x, white_y), full_matrices=False)
    weights = (directions @ white_x.mT @ layer.x.gram).abs().sum(-1)
    return (weights @ rho) / weights.sum()


def svcca(layer: Centred) -> Scalar:
    """Compute the mean canonical correlation of the components that keep 99 % of each side's variance (Raghu 2017).

    Returns:
        Scalar float64, 0..1.

    Raises:
        UndefinedSimilarityError: there are no more examples than components kept of both sides together.
    """
    white_x, white_y = _principal(layer.x, "x"), _principal(layer.y, "y")
    return torch.linalg.svdvals(_canonical(layer, white_x, white_y)).mean()


def procrustes(layer: Centred) -> Scalar:
    """Compute the orthogonal Procrustes similarity ``|Y'X|_* / (|X|_F |Y|_F)``, 0..1; 1 where a rotation and scale map x onto y.

    Ding 2021 (arXiv:2108.01661) has the squared distance 2 - 2 s of the normalised sides; ``scipy.spatial.procrustes``
    gives the disparity 1 - s^2. With fewer rows than features the norm is taken in the space of the rows.
    """
    return nuclear_norm(_smallest(layer)) / torch.sqrt(layer.x.sq * layer.y.sq)


def _smallest(layer: Centred) -> Annotated[Tensor, "[_, _] float64"]:
    """Find the smallest matrix with the singular values of Y'X: with X' = Q R and Y' = P S these are those of S R'."""
    if layer.rows is None or layer.x.n >= min(side.shape[1] for side in layer.rows):
        return layer.yx
    of_x, of_y = (torch.linalg.qr(side.double().mT, mode="r").R for side in layer.rows)
    return of_y @ of_x.mT


def _canonical(
    layer: Centred, white_x: Annotated[Tensor, "[d_x, k_x] float64"], white_y: Annotated[Tensor, "[d_y, k_y] float64"]
) -> Annotated[Tensor, "[k_y, k_x] float64"]:
    """Compute the cross-correlation of whitened sides, ``[k_y, k_x]``, whose singular values are the canonical correlations.

    Spaces of k_x and k_y dimensions among the n - 1 that centred rows span meet in k_x + k_y - (n - 1) dimensions at least.
    """
    n, k_x, k_y = layer.x.n, white_x.shape[1], white_y.shape[1]
    if k_x + k_y > n - 1:
        raise UndefinedSimilarityError(
            f"{n} examples for {k_x} + {k_y} dimensions: {k_x + k_y - (n - 1)} canonical correlations are 1 for any data"
        )
    return white_y.mT @ layer.yx @ white_x


def _whitenings(layer: Centred) -> tuple[Tensor, Tensor]:
    return _whitening(layer.x, "x"), _whitening(layer.y, "y")


def _whitening(side: Side, name: str) -> Annotated[Tensor, "[d, k] float64"]:
    """Find the map ``[d, k]`` onto uncorrelated unit directions in all k dimensions that float32 sums resolve.

    Features are standardised first, which CCA ignores and which keeps small features above the rounding of large ones.
    """
    scale = side.gram.diag().clamp_min(torch.finfo(torch.float64).tiny).rsqrt()
    scale = torch.where(side.gram.diag() > side.n * CONSTANT**2 * side.mean.square(), scale, 0.0)
    values, vectors = torch.linalg.eigh(scale[:, None] * side.gram * scale)
    is_resolved = values > values[-1] * len(values) * torch.finfo(torch.float32).eps
    return scale[:, None] * _unit(values[is_resolved], vectors[:, is_resolved], side, name)


def _principal(side: Side, name: str) -> Annotated[Tensor, "[d, k] float64"]:
    """Find the map ``[d, k]`` onto the leading k principal components, scaled to unit length."""
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(side.gram))
    shares = values.cumsum(0) / side.sq
    k = int((shares < SVCCA_VARIANCE).sum()) + 1
    return _unit(values[:k], vectors[:, :k], side, name)


def _unit(values: Tensor, vectors: Tensor, side: Side, name: str) -> Tensor:
    if len(values) >= side.n - 1:
        raise UndefinedSimilarityError(
            f"{side.n} examples span the {len(values)} dimensions of {name}: canonical correlations are 1 for any data"
        )
    return vectors * values.rsqrt()
