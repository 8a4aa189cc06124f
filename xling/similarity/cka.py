"""Computes linear CKA, biased and debiased, of whole arrays or of accumulated moments."""

from typing import TypeVar

import torch

from xling.errors import XlingValueError
from xling.similarity.centred import Centred, centred_layer
from xling.similarity.differentiable import differentiable_cka
from xling.similarity.direct import direct_cka
from xling.similarity.grouped import grouped_cka, grouped_pair
from xling.similarity.grouped_moments import GroupedMarginal, GroupedMoments, grouped_layer_of_moments
from xling.similarity.grouping import Grouping
from xling.similarity.hsic import cka
from xling.similarity.marginal import Marginal, flatten_layers
from xling.similarity.moments import Moments, check_rows
from xling.similarity.precision import similarity_precision
from xling.similarity.result import Result, collect, collect_numbers
from xling.similarity.shapes import Ids, LayersX, LayersY, PerLayer, Scalar

_Base = TypeVar("_Base", Marginal, GroupedMarginal)

_NARROW, _SMALL, _LARGE = 128, 2**19, 2**23
"""Where the rows are multiplied as they are, because accumulating sums would cost more than it saves: up to this many features or
numbers in all, and never beyond so many numbers that copies of them would be felt."""


def centred_cka(layer: Centred, *, debiased: bool) -> Scalar:
    """Compute linear CKA of one centred layer, scalar float64; see :func:`xling.similarity.hsic.cka`.

    Rows that are bit by bit the same give exactly 1, as CKA(X, X) does by definition, although the base may have been
    summed in another order than the rows met in the pass.
    """
    value = cka(layer.x.terms, layer.y.terms, layer.terms, debiased=debiased)
    return torch.ones_like(value) if layer.is_identical else value


def cka_of_moments(moments: Moments, *, debiased: bool, base: Marginal | None = None) -> Result:
    """Compute linear CKA of every layer from accumulated moments.

    Args:
        moments: sums over paired rows.
        debiased: whether to take the unbiased HSIC (Song 2012) or the biased one (the paper's).
        base: sums of the base alone, where `moments` was started with them.

    Returns:
        Values float64 of the shape of the layers; NaN with a reason where undefined.

    Raises:
        XlingValueError: the sums of the base are missing, or were computed from other rows.
    """
    shape = moments.n_changed.shape
    return collect(lambda i: centred_cka(centred_layer(moments, i, base), debiased=debiased), shape)


def cka_of_rows(x: LayersX, y: LayersY, *, debiased: bool, allow_tf32: bool = False) -> Result:
    """Compute linear CKA of every layer of rows ``[..., n, d]``.

    The values are those of :func:`cka_of_moments` up to rounding; computing them from rows is cheaper where n < d.
    """
    layers = [(x, y)] if x.ndim == 2 else list(zip(flatten_layers(x), flatten_layers(y), strict=True))
    with similarity_precision(x.device.type, allow_tf32=allow_tf32):
        return collect_numbers(lambda i: direct_cka(*layers[i], debiased=debiased), x.shape[:-2])


def grouped_cka_of_moments(moments: GroupedMoments, *, base: GroupedMarginal | None = None) -> Result:
    """Compute linear CKA debiased over groups of every layer; NaN with a reason where undefined.

    Raises:
        XlingValueError: the sums of the base are missing, or were computed from other rows.
    """
    shape = moments.means.n_changed.shape
    return collect(lambda i: grouped_cka(grouped_layer_of_moments(moments, i, base)), shape)


def check_base(base: object, kind: type[_Base]) -> _Base | None:
    """Give the base's sums back if they are None or of the kind that is needed.

    Raises:
        XlingValueError: the sums are of another kind.
    """
    if base is None or isinstance(base, kind):
        return base
    raise XlingValueError(
        f"expected {kind.__name__}.of(...) as the base's sums, got {type(base).__name__}; a measure over groups needs "
        "GroupedMarginal, every other one Marginal"
    )


def grouped_cka_of_rows(x: LayersX, y: LayersY, groups: Ids | None, *, allow_tf32: bool = False) -> Result:
    """Compute linear CKA debiased over groups from rows ``[..., n, d]`` and group ids ``[n]``; cheaper than moments if n < d."""
    flat_x, flat_y, grouping = flatten_layers(x), flatten_layers(y), Grouping.for_rows(groups, x, y)
    with similarity_precision(x.device.type, allow_tf32=allow_tf32):
        return collect(lambda i: grouped_cka(grouped_pair(flat_x[i], flat_y[i], grouping)), x.shape[:-2])


def _is_direct(n: int, d: int) -> bool:
    return n * d <= (_LARGE if d <= _NARROW else _SMALL)


def linear_cka(
    x: LayersX,
    y: LayersY,
    *,
    debiased: bool,
    groups: Ids | None = None,
    base: Marginal | GroupedMarginal | None = None,
    allow_tf32: bool = False,
    differentiable: bool = False,
) -> PerLayer:
    """Linear centred kernel alignment between two representations of the same examples.

    ``HSIC(XX', YY') / sqrt(HSIC(XX', XX') HSIC(YY', YY'))`` (Kornblith 2019). Invariant to translation, orthogonal maps
    and isotropic scaling; not to invertible linear maps. On unrelated independent rows the biased estimator tends to d/(n+d),
    the debiased one to 0 (Murphy 2024). Where rows depend on each other (three hypotheses on one premise, the words of a
    sentence), both stay above 0 for unrelated data unless `groups` says which.

    Args:
        x: base, ``[..., n, d_x]`` floating; leading dimensions are layers.
        y: the other representation, ``[..., n, d_y]``, the same examples in the same order.
        debiased: whether to take the unbiased estimator of HSIC (Song 2012) or the biased one (the paper's).
        groups: group id of each row, ``[n]`` integers in any order; rows of one group are not independent. The debiased estimator
            is then unbiased over groups, all of which count alike; None: every row is a group by itself.
        base: ``Marginal.of(x)``, or with groups ``GroupedMarginal.of(x, groups)``, where it was computed before.
        allow_tf32: whether a GPU may multiply in TF32.
        differentiable: whether to keep the graph, so that gradients flow into x and y.

    Returns:
        float64 ``[...]``. Biased: 0..1; debiased: up to 1, slightly negative for unrelated data.

    Raises:
        UndefinedSimilarityError: a layer has fewer than 4 examples (groups), non-finite values or constant features.
        XlingValueError: `x` and `y` cannot be paired, there is not one group id per row, groups are given with the biased
            estimator or a base with `differentiable`, or the base's sums are of the other kind.

    References:
        Kornblith et al. 2019 (arXiv:1905.00414); Song et al. 2012 (JMLR 13); Murphy et al. 2024 (arXiv:2405.01012).

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [2.0, 1.0]])
        >>> linear_cka(x, -3 * x + 7, debiased=True).round(decimals=6)
        tensor(1., dtype=torch.float64)
    """
    check_rows(x, y)
    if groups is not None and not debiased:
        raise XlingValueError("the biased estimator knows no groups; expected debiased=True with groups")
    if differentiable:
        if base is not None:
            raise XlingValueError("the sums of a known base have no gradient; leave out base, or differentiable")
        return differentiable_cka(x, y, debiased=debiased, groups=groups)
    n, d_x, d_y = x.shape[-2], x.shape[-1], y.shape[-1]
    is_few = n < min(d_x, d_y) and base is None
    if groups is None:
        if is_few or (base is None and _is_direct(n, max(d_x, d_y))):
            return cka_of_rows(x, y, debiased=debiased, allow_tf32=allow_tf32).defined()
        own = check_base(base, Marginal)
        return cka_of_moments(Moments.of(x, y, own, allow_tf32=allow_tf32), debiased=debiased, base=own).defined()
    if is_few:
        return grouped_cka_of_rows(x, y, groups, allow_tf32=allow_tf32).defined()
    own_groups = check_base(base, GroupedMarginal)
    moments = GroupedMoments.of(x, y, groups, own_groups, allow_tf32=allow_tf32)
    return grouped_cka_of_moments(moments, base=own_groups).defined()
