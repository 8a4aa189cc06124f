"""Computes CKA of rows paired at random: the value that no correspondence at all would give."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.grouped import grouped_cka, grouped_layer, grouped_rows, grouped_terms
from xling.similarity.grouping import Grouping
from xling.similarity.hsic import cka
from xling.similarity.precision import similarity_precision
from xling.similarity.rows import centred_rows, pair_terms
from xling.similarity.shapes import Ids, RowsX, RowsY, Scalar
from xling.similarity.uncertainty import check_groups


@dataclass(frozen=True)
class ShuffledNull:
    """CKA under random pairings of the rows: what no correspondence at all would give.

    Attributes:
        value: CKA of the true pairing.
        mean: expectation over all pairings of single rows, which is exact, and 0 for debiased CKA. Where whole groups of dependent
            rows are shuffled, take the mean of `draws` instead, unless CKA is debiased over groups.
        quantile: the requested quantile over the drawn pairings.
        draws: CKA of each drawn pairing, ``[n_permutations]`` float64.
        p_value: fraction of pairings at least as similar as the true one, which counts as one of them; above 0, up to 1.
    """

    value: Scalar
    mean: Scalar
    quantile: Scalar
    draws: Annotated[Tensor, "[n_permutations] float64"]
    p_value: float


def shuffled_null(
    x: RowsX,
    y: RowsY,
    *,
    debiased: bool,
    n_permutations: int = 100,
    quantile: float = 0.95,
    groups: Ids | None = None,
    over_groups: bool = False,
    seed: int = 0,
) -> ShuffledNull:
    """Compute CKA between x and y in random order: what the estimator gives without any correspondence of rows.

    Over all pairings of single rows the biased HSIC has mean ``tr(K) tr(L) / (n - 1)`` and the unbiased one 0, whether or not
    rows are independent; over pairings of whole groups of dependent rows only that debiased over groups has mean 0. Each draw
    costs one product Y'X; the HSIC of each side with itself does not change.

    Args:
        x: base rows ``[n, d_x]``.
        y: other rows ``[n, d_y]``.
        debiased: whether to take the unbiased estimator of HSIC or the biased one.
        n_permutations: number of pairings to draw, at least 1.
        quantile: quantile of the draws to report, 0..1.
        groups: group id of each row, ``[n]`` integers; if given, whole groups change places with groups of the same size, their
            rows in order.
        over_groups: whether to debias over groups, as ``linear_cka(..., groups=groups)`` does.
        seed: seed of the generator that draws the pairings.

    Raises:
        UndefinedSimilarityError: CKA is undefined on these rows.
        XlingValueError: there is not one group id per row, the biased estimator is asked for over groups, or no permutation is
            asked for.
    """
    if over_groups and not debiased:
        raise XlingValueError("the biased estimator knows no groups; expected debiased=True with over_groups=True")
    groups = torch.arange(len(x)) if groups is None else groups
    check_groups(groups, len(x), len(y))
    if n_permutations < 1:
        raise XlingValueError(f"at least one permutation is needed, got {n_permutations}; 100 give a usable quantile")
    generator = torch.Generator().manual_seed(seed)
    orders = (_shuffle_groups(groups.cpu(), generator).to(y.device) for _ in range(n_permutations))
    with similarity_precision(x.device.type):
        if over_groups:
            value, mean, draws = _over_groups(x, y, Grouping.of(groups.to(x.device)), orders)
        else:
            value, mean, draws = _over_rows(x, y, orders, debiased=debiased)
    p_value = (1 + int((draws >= value).sum())) / (1 + n_permutations)
    return ShuffledNull(value, mean, draws.quantile(quantile), draws, p_value)


def _over_rows(
    x: RowsX, y: RowsY, orders: Iterable[Tensor], *, debiased: bool
) -> tuple[Scalar, Scalar, Annotated[Tensor, "[_] float64"]]:
    """Compute CKA, its exact mean over all pairings of single rows, and CKA of each drawn pairing."""
    x, y = centred_rows(x, "x"), centred_rows(y, "y")
    xx, yy, xy = pair_terms(x, x), pair_terms(y, y), pair_terms(x, y)
    draws = torch.stack([cka(xx, yy, pair_terms(x, y[order]), debiased=debiased) for order in orders])
    value = cka(xx, yy, xy, debiased=debiased)
    mean = torch.zeros_like(value) if debiased else xx.sq_x * yy.sq_x / (len(x) - 1) / (xx.cross * yy.cross).sqrt()
    return value, mean, draws


def _over_groups(
    x: RowsX, y: RowsY, grouping: Grouping, orders: Iterable[Tensor]
) -> tuple[Scalar, Scalar, Annotated[Tensor, "[_] float64"]]:
    """Compute CKA debiased over groups, its mean over all pairings of groups (0), and CKA of each drawn pairing."""
    of_x, of_y = grouped_rows(x, grouping, "x"), grouped_rows(y, grouping, "y")
    layer = grouped_layer(of_x, of_y, grouping, is_identical=False)
    draws = []
    for order in orders:  # groups of one size have changed places, so a row's new group has as many rows as its old one
        drawn = grouped_terms(of_x, grouped_rows(y[order], grouping, "y"), grouping)
        draws.append(grouped_cka(replace(layer, xy=drawn)))
    value = grouped_cka(layer)
    return value, torch.zeros_like(value), torch.stack(draws)


def _shuffle_groups(groups: Ids, generator: torch.Generator) -> Annotated[Tensor, "[n] int64"]:
    """Draw a new order of rows in which whole groups have changed places with groups of the same size."""
    _, which, sizes = groups.unique(return_inverse=True, return_counts=True)
    by_group = which.argsort(stable=True).split(sizes.tolist())
    order = torch.empty_like(which)
    for size in sizes.unique().tolist():
        rows = torch.stack([by_group[group] for group in (sizes == size).nonzero().flatten().tolist()])
        order[rows] = rows[torch.randperm(len(rows), generator=generator)]
    return order
