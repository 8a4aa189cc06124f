"""Computes CKA as a loss: from the same sums, over rows at hand, with autograd's graph kept."""

import torch
from torch import Tensor

from xling.similarity.grouped import GroupedLayer, grouped_cka, grouped_pair
from xling.similarity.grouping import Grouping
from xling.similarity.hsic import cka
from xling.similarity.marginal import flatten_layers
from xling.similarity.precision import similarity_precision
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.rows import centred_rows, pair_terms
from xling.similarity.shapes import Ids, LayersX, LayersY, PerLayer


def differentiable_cka(x: LayersX, y: LayersY, *, debiased: bool, groups: Ids | None = None) -> PerLayer:
    """Compute linear CKA of ``[..., n, d]`` rows through which gradients flow; see :func:`xling.similarity.linear_cka`.

    Memory is what autograd needs of every layer: n x n matrices where n < d, else d x d ones. Products are in the rows' dtype,
    at least float32, whatever autocast is around; sums are in float64.

    Returns:
        float64 ``[...]``.

    Raises:
        UndefinedSimilarityError: a layer has fewer than 4 examples (groups), non-finite values or constant features.
    """
    grouping = None if groups is None else Grouping.for_rows(groups, x, y)
    values = []
    with similarity_precision(x.device.type, gradients=True):
        for index, pair in enumerate(zip(flatten_layers(x), flatten_layers(y), strict=True)):
            try:
                values.append(_cka(*pair, debiased=debiased, grouping=grouping))
            except UndefinedSimilarityError as error:
                raise UndefinedSimilarityError(f"similarity is undefined, layer {index}: {error}") from None
    return torch.stack(values).reshape(x.shape[:-2])


def _cka(x: Tensor, y: Tensor, *, debiased: bool, grouping: Grouping | None) -> Tensor:
    if grouping is None:
        x, y = centred_rows(x, "x"), centred_rows(y, "y")
        return cka(*(pair_terms(*pair) for pair in ((x, x), (y, y), (x, y))), debiased=debiased)
    layer = grouped_pair(x, y, grouping)
    # identical rows are computed as any others, since the value 1 that they have by definition has no gradient
    return grouped_cka(GroupedLayer(layer.xx, layer.yy, layer.xy, is_identical=False))
