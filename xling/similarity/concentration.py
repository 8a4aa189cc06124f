"""Is a change of representations a few directions, a few groups of rows, or the whole space?

Shares are of impact = 1 - CKA debiased over groups: what is gone once the directions or the groups are left out on both sides.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.cka import grouped_cka_of_rows
from xling.similarity.precision import similarity_precision
from xling.similarity.rows import centred_rows
from xling.similarity.shapes import Ids, RowsX, RowsY
from xling.similarity.uncertainty import jackknife_cka

NO_CHANGE = 1e-5
"""An impact up to this is no change of which there would be shares: float32 sums leave about 1e-6."""

TOP_GROUPS = 0.01
"""Share of the groups that counts as a few."""


@dataclass(frozen=True)
class Concentration:
    """What the impact of one layer consists of; NaN where nothing has changed, below 0 where it is larger without.

    Attributes:
        impact: 1 - CKA debiased over groups.
        component_1: share that is gone without the first principal component of both sides together.
        component_3: without the first three.
        top_groups: without the 1 % of groups, at least one, of the strongest influence.
    """

    impact: float
    component_1: float
    component_3: float
    top_groups: float


def concentration(x: RowsX, y: RowsY, groups: Ids) -> Concentration:
    """Say what carries the change from x to y.

    Args:
        x: base rows ``[n, d_x]``.
        y: other rows ``[n, d_y]``.
        groups: id per row ``[n]``, integers.

    Raises:
        UndefinedSimilarityError: CKA is undefined on these rows, or there are too few groups to leave one out.
        XlingValueError: not one group id per row.
    """
    jackknife = jackknife_cka(x, y, groups, debiased=True, over_groups=True)
    impact = 1.0 - float(jackknife.value)
    if impact <= NO_CHANGE:
        return Concentration(impact, math.nan, math.nan, math.nan)
    with similarity_precision(x.device.type):
        sides = centred_rows(x, "x"), centred_rows(y, "y")
        components = joint_components(*sides, 3)
        rests = [tuple(side - u @ (u.mT @ side) for side in sides) for u in (components[:, :1], components)]
    n_top = max(1, round(TOP_GROUPS * len(jackknife.groups)))
    top = torch.tensor([group for group, _ in jackknife.most_influential(n_top)], device=groups.device)
    stays = ~torch.isin(groups, top)
    left = [(*rest, groups) for rest in rests] + [(x[stays.to(x.device)], y[stays.to(y.device)], groups[stays])]
    return Concentration(impact, *(_share(impact, *rows) for rows in left))


def joint_components(x: RowsX, y: RowsY, k: int) -> Annotated[Tensor, "[n, _] float"]:
    """Scores of the rows on the first k principal components of both sides together, orthonormal: ``[n, k]``.

    Each side has its total variance set to 1, so that a direction counts whether it has come up or has gone.

    Args:
        x: centred rows ``[n, d_x]``.
        y: centred rows ``[n, d_y]``.
        k: number of components.
    """
    both = torch.cat([side / torch.linalg.vector_norm(side) for side in (x, y)], 1)
    if len(both) <= both.shape[1]:
        return torch.linalg.eigh(both @ both.mT)[1][:, -k:].flip(-1)
    directions = torch.linalg.eigh(both.mT @ both)[1][:, -k:].flip(-1)
    return torch.linalg.qr(both @ directions)[0]


def _share(impact: float, x: RowsX, y: RowsY, groups: Ids) -> float:
    """Share of the impact that is gone on these rows; NaN where they have no structure left."""
    return 1.0 - (1.0 - float(grouped_cka_of_rows(x, y, groups).value)) / impact
