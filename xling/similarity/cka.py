"""Linear CKA, biased and debiased, of whole arrays or of accumulated moments."""

import torch
from torch import Tensor

from xling.similarity.centred import Centred, centred_layer
from xling.similarity.hsic import cka
from xling.similarity.marginal import Marginal, flatten_layers
from xling.similarity.moments import Moments, check_rows
from xling.similarity.precision import similarity_precision
from xling.similarity.result import Result, collect
from xling.similarity.rows import centred_pair


def centred_cka(layer: Centred, *, debiased: bool) -> Tensor:
    """Linear CKA of one centred layer, scalar float64; see :func:`xling.similarity.hsic.cka`.

    Rows that are bit by bit the same give exactly 1, as CKA(X, X) does by definition, although the base's self-term may
    have been summed in another order than the rows met in the pass.
    """
    value = cka(layer.x.terms, layer.y.terms, layer.terms, debiased=debiased)
    return torch.ones_like(value) if layer.is_identical else value


def cka_of_moments(moments: Moments, *, debiased: bool, base: Marginal | None = None) -> Result:
    """Linear CKA of every layer from accumulated moments.

    Args:
        moments: sums over paired rows.
        debiased: unbiased HSIC (Song 2012) in place of the biased one (the paper's).
        base: the base's self-term, where `moments` was started with one.

    Returns:
        Values of the shape of the layers; NaN with a reason where undefined.

    Raises:
        XlingValueError: the base's self-term is missing or belongs to other rows.
    """
    shape = moments.n_changed.shape
    return collect(lambda i: centred_cka(centred_layer(moments, i, base), debiased=debiased), shape)


def cka_of_rows(x: Tensor, y: Tensor, *, debiased: bool, allow_tf32: bool = False) -> Result:
    """Linear CKA of every layer of ``[..., n, d]`` rows; equals the route over moments and is cheaper where n < d."""
    flat_x, flat_y = flatten_layers(x), flatten_layers(y)
    with similarity_precision(x.device.type, allow_tf32=allow_tf32):
        return collect(lambda i: centred_cka(centred_pair(flat_x[i], flat_y[i]), debiased=debiased), x.shape[:-2])


def linear_cka(
    x: Tensor, y: Tensor, *, debiased: bool, base: Marginal | None = None, allow_tf32: bool = False
) -> Tensor:
    """Linear centred kernel alignment between two representations of the same examples.

    ``HSIC(XX', YY') / sqrt(HSIC(XX', XX') HSIC(YY', YY'))`` (Kornblith 2019). Invariant to translation, orthogonal maps
    and isotropic scaling; not to invertible linear maps. The biased estimator of independent data tends to d/(n+d), the
    debiased one to 0 (Murphy 2024).

    Args:
        x: base, ``[..., n, d_x]`` floating; leading dimensions are layers.
        y: the other representation, ``[..., n, d_y]``, the same examples in the same order.
        debiased: which estimator of HSIC.
        base: ``Marginal.of(x)``, where it is known from before.
        allow_tf32: multiply in TF32 on a GPU that can.

    Returns:
        float64 ``[...]``. Biased: 0..1; debiased: up to 1, slightly negative for unrelated data.

    Raises:
        UndefinedSimilarityError: a layer with fewer than 4 examples, non-finite values or constant features.
        XlingValueError: rows that cannot be paired.

    References:
        Kornblith et al. 2019 (arXiv:1905.00414); Song et al. 2012 (JMLR 13); Murphy et al. 2024 (arXiv:2405.01012).

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [2.0, 1.0]])
        >>> linear_cka(x, -3 * x + 7, debiased=True).round(decimals=6)
        tensor(1., dtype=torch.float64)
    """
    check_rows(x, y)
    if x.shape[-2] < min(x.shape[-1], y.shape[-1]) and base is None:
        return cka_of_rows(x, y, debiased=debiased, allow_tf32=allow_tf32).defined()
    moments = Moments.of(x, y, base, allow_tf32=allow_tf32)
    return cka_of_moments(moments, debiased=debiased, base=base).defined()
