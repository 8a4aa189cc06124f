"""Tells whether a change of representations is one of a few directions, of a few groups of rows, or of the whole space.

Shares are of impact = 1 - CKA debiased over groups: what is gone once the directions or the groups are left out on both sides.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.centred import CONSTANT
from xling.similarity.grams import GroupGrams, layer_of_grams
from xling.similarity.grouped import GroupedLayer, grouped_cka, grouped_pair
from xling.similarity.grouping import Grouping
from xling.similarity.paired import PairedRows
from xling.similarity.panels import frobenius_sq
from xling.similarity.precision import similarity_precision
from xling.similarity.result import UndefinedSimilarityError, collect
from xling.similarity.rows import centred_rows
from xling.similarity.shapes import Ids, RowsX, RowsY, Scalar
from xling.similarity.spectrum import leading_eigenvectors
from xling.similarity.uncertainty import Jackknife, grouped_jackknife

NO_CHANGE = 1e-5
"""An impact up to this is no change of which there would be shares: float32 sums leave about 1e-6."""

TOP_GROUPS = 0.01
"""Fraction of the groups that counts as a few."""


@dataclass(frozen=True)
class Concentration:
    """What the impact of one layer consists of.

    A share is up to 1, NaN where nothing has changed, and below 0 where the impact is larger without the part.

    Attributes:
        impact: 1 - CKA debiased over groups.
        component_1: share that is gone without the first principal component of both sides together.
        component_3: share that is gone without the first three of these components.
        top_groups: share that is gone without the 1 % of groups, at least one, that have the strongest influence.
    """

    impact: float
    component_1: float
    component_3: float
    top_groups: float


NO_SHARES = Concentration(0.0, math.nan, math.nan, math.nan)
"""The concentration of rows that have not changed."""


def concentration(x: RowsX, y: RowsY, groups: Ids) -> Concentration:
    """Say what carries the change from x to y.

    Args:
        x: base rows of one layer, ``[n, d_x]``.
        y: other rows, ``[n, d_y]``, the same examples in the same order.
        groups: group id of each row, ``[n]`` integers.

    Raises:
        UndefinedSimilarityError: CKA is undefined on these rows, or there are too few groups to leave one out.
        XlingValueError: there is not one group id per row.
    """
    pair = PairedRows(x, y, groups)
    return concentration_of_pair(pair, grouped_jackknife(pair))


def concentration_of_pair(pair: PairedRows, jackknife: Jackknife) -> Concentration:
    """Say what carries the change, from rows and a jackknife over groups that other measures use as well.

    With few rows every part is an operation on the Gram matrices that are there already, see :mod:`xling.similarity.grams`.
    """
    impact = 1.0 - float(jackknife.value)
    if impact <= NO_CHANGE:
        return Concentration(impact, math.nan, math.nan, math.nan)
    n_top = max(1, round(TOP_GROUPS * len(jackknife.groups)))
    top = torch.tensor([group for group, _ in jackknife.most_influential(n_top)], device=jackknife.groups.device)
    stays = ~torch.isin(jackknife.groups, top)
    with similarity_precision(pair.x.device.type):
        without = (_without_parts_by_grams if pair.are_few else _without_parts_by_rows)(pair, stays)
        rests = [float(collect(partial(_cka, rest), (1,)).value) for rest in without]
    return Concentration(impact, *(1.0 - (1.0 - rest) / impact for rest in rests))


_Rest = Callable[[], GroupedLayer]
"""Function that gives both sides without some part; it raises UndefinedSimilarityError where no structure remains."""


def _cka(rest: _Rest, _: int) -> Tensor:
    return grouped_cka(rest())


def _without_parts_by_grams(pair: PairedRows, stays: Annotated[Tensor, "[G] bool"]) -> list[_Rest]:
    rows, grouping, sides = [side.gram for side in pair.grams], pair.grouping, pair.grams_in_groups
    components = leading_eigenvectors(sum((gram / gram.trace() for gram in rows), torch.zeros_like(rows[0])), 3)

    def without_components(k: int) -> GroupedLayer:
        scores = components[:, :k]
        x, y = (side.without_directions(gram, scores, grouping) for side, gram in zip(sides, rows, strict=True))
        return rest_of(x, y, grouping)

    def without_groups() -> GroupedLayer:
        groups, of_rest = stays.nonzero().flatten(), stays[grouping.which]
        rows_that_stay = of_rest.nonzero().flatten()
        x, y = (side.of_groups(groups, rows_that_stay) for side in sides)
        return rest_of(x, y, Grouping.of(grouping.which[of_rest]))

    def rest_of(x: GroupGrams, y: GroupGrams, grouping: Grouping) -> GroupedLayer:
        for name, rest, side in zip("xy", (x, y), sides, strict=True):
            check_left(name, rest.spread, side.spread)
        return layer_of_grams(x, y, grouping)

    return [partial(without_components, 1), partial(without_components, 3), without_groups]


def _without_parts_by_rows(pair: PairedRows, stays: Annotated[Tensor, "[G] bool"]) -> list[_Rest]:
    sides = centred_rows(pair.x, "x"), centred_rows(pair.y, "y")
    components = joint_components(*sides, 3)

    def without_components(k: int) -> GroupedLayer:
        u = components[:, :k]
        x, y = (side - u @ (u.mT @ side) for side in sides)
        for name, rest, side in zip("xy", (x, y), sides, strict=True):
            check_left(name, frobenius_sq(rest), frobenius_sq(side))
        return grouped_pair(x, y, pair.grouping)

    def without_groups() -> GroupedLayer:
        rows = stays[pair.grouping.which]
        return grouped_pair(pair.x[rows], pair.y[rows], Grouping.of(pair.grouping.which[rows]))

    return [partial(without_components, 1), partial(without_components, 3), without_groups]


def joint_components(x: RowsX, y: RowsY, k: int) -> Annotated[Tensor, "[n, _] float"]:
    """Compute scores of the rows on the first k principal components of both sides together, orthonormal: ``[n, k]``.

    Each side is scaled to a total variance of 1, so that a direction counts alike whether it has appeared or disappeared.

    Args:
        x: centred rows ``[n, d_x]``.
        y: centred rows ``[n, d_y]``.
        k: number of components.
    """
    both = torch.cat([side / torch.linalg.vector_norm(side) for side in (x, y)], 1)
    if len(both) <= both.shape[1]:
        return leading_eigenvectors(both @ both.mT, k)
    return torch.linalg.qr(both @ leading_eigenvectors(both.mT @ both, k))[0]


def check_left(name: str, sq: Scalar, before: Scalar) -> None:
    """Refuse a side of which only rounding remains.

    Args:
        name: name of the side in the error.
        sq: sum of squares of what remains.
        before: sum of squares of the whole side.

    Raises:
        UndefinedSimilarityError: there is no structure left.
    """
    if not sq > CONSTANT**2 * before:
        raise UndefinedSimilarityError(f"nothing is left of {name} once this is left out")
