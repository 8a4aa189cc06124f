"""What the rows of one layer say about how far its impact can be trusted.

The impact is 1 - CKA debiased over groups; where every row is a group by itself, that is Song's debiased CKA.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xling.registry import Registry
from xling.similarity import jackknife_cka, shuffled_null
from xling.similarity.concentration import concentration
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.shapes import Ids, RowsX, RowsY

Columns = dict[str, float | int]


def jackknife(x: RowsX, y: RowsY, groups: Ids) -> Columns:
    """Delete-group jackknife of the impact: impact_se, and a 95 % interval impact_low..impact_high."""
    result = jackknife_cka(x, y, groups, debiased=True, over_groups=True)
    low, high = result.interval
    return {"impact_se": float(result.standard_error), "impact_low": 1 - high, "impact_high": 1 - low}


def shuffled(x: RowsX, y: RowsY, groups: Ids) -> Columns:
    """CKA of 100 random pairings of whole groups: null_cka_mean (0 in expectation), null_cka_q95, and the true pairing's p."""
    result = shuffled_null(x, y, debiased=True, n_permutations=100, groups=groups, over_groups=True)
    return {
        "null_cka_mean": float(result.draws.mean()),
        "null_cka_q95": float(result.quantile),
        "null_p_value": result.p_value,
    }


def influence(x: RowsX, y: RowsY, groups: Ids) -> Columns:
    """The group whose absence changes the impact most: influence_group, and influence = impact with it minus without."""
    group, value = jackknife_cka(x, y, groups, debiased=True, over_groups=True).most_influential(1)[0]
    return {"influence_group": group, "influence": -value}


Uncertainty = Callable[[Tensor, Tensor, Tensor], Columns]
"""Function of base rows [n, hidden], present rows [n, hidden] and a group id per row [n]."""


def concentrated(x: RowsX, y: RowsY, groups: Ids) -> Columns:
    """What carries the impact: share_component_1, share_component_3 and share_top_groups, see :class:`Concentration`."""
    found = concentration(x, y, groups)
    return {
        "share_component_1": found.component_1,
        "share_component_3": found.component_3,
        "share_top_groups": found.top_groups,
    }


UNCERTAINTY: Registry[Uncertainty] = Registry(
    "uncertainty",
    "xling.uncertainties",
    {"jackknife": jackknife, "shuffled": shuffled, "influence": influence, "concentration": concentrated},
)
"""By name; other packages add theirs as entry points of the group ``xling.uncertainties``."""


def get_uncertainty(name: str | Uncertainty) -> Uncertainty:
    """Find one by name, by ``package.module:name``, or give the function itself.

    Raises:
        XlingValueError: there is none of that name.
    """
    return UNCERTAINTY.find(name)


def evaluate_uncertainty(names: list[str], x: RowsX, y: RowsY, groups: Ids) -> dict[str, Any]:
    """Columns of several; empty where the similarity itself is undefined (its row says why), or groups are too few.

    Unmoved rows have an impact of exactly 0 with nothing to sample; their standard error is 0.
    """
    if torch.equal(x, y) and "jackknife" in names:
        names = [name for name in names if name != "jackknife"]
        return {"impact_se": 0.0, "impact_low": 0.0, "impact_high": 0.0} | evaluate_uncertainty(names, x, y, groups)
    columns: dict[str, Any] = {}
    for name in names:
        try:
            columns |= get_uncertainty(name)(x, y, groups)
        except UndefinedSimilarityError:
            return {}
    return columns
