"""Computes from the rows of one layer how far its impact can be trusted.

The impact is 1 - CKA debiased over groups; where every row is a group by itself, that is Song's debiased CKA.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from xling.registry import Registry
from xling.similarity import Jackknife, shuffled_null
from xling.similarity.concentration import NO_SHARES, concentration_of_pair
from xling.similarity.paired import PairedRows
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.shapes import Ids, RowsX, RowsY
from xling.similarity.uncertainty import grouped_jackknife

Columns = dict[str, float | int]
"""Name of a column of the table ``impact`` -> its value."""

Uncertainty = Callable[[Tensor, Tensor, Tensor], Columns]
"""Function of base rows [n, hidden], present rows [n, hidden] and a group id per row [n] that gives columns."""


class ComparedRows(PairedRows):
    """The paired rows of one layer, with a jackknife that several uncertainties share."""

    @cached_property
    def jackknife(self) -> Jackknife:
        """The delete-group jackknife of the CKA debiased over groups.

        Raises:
            UndefinedSimilarityError: CKA is undefined on these rows, or there are too few groups to leave one out.
        """
        return grouped_jackknife(self)


@dataclass(frozen=True)
class OfSharedRows:
    """An uncertainty that computes together with the others, and with the measures, what several of them need of the rows.

    Attributes:
        of_rows: function of the paired rows.
    """

    of_rows: Callable[[ComparedRows], Columns]

    def __call__(self, x: RowsX, y: RowsY, groups: Ids) -> Columns:
        """Evaluate on rows that nothing else shares, as an uncertainty of another package is evaluated."""
        return self.of_rows(ComparedRows(x, y, groups))


def _jackknife(rows: ComparedRows) -> Columns:
    """Give the standard error impact_se and the 95 % interval impact_low..impact_high by delete-group jackknife of the impact."""
    low, high = rows.jackknife.interval
    return {"impact_se": float(rows.jackknife.standard_error), "impact_low": 1 - high, "impact_high": 1 - low}


def shuffled(x: RowsX, y: RowsY, groups: Ids) -> Columns:
    """Compute CKA for 100 random pairings of whole groups.

    Gives null_cka_mean (0 in expectation), null_cka_q95 (the 95 % quantile) and null_p_value (fraction of pairings at least as
    similar as the true one, which counts as one of them).
    """
    result = shuffled_null(x, y, debiased=True, n_permutations=100, groups=groups, over_groups=True)
    return {
        "null_cka_mean": float(result.draws.mean()),
        "null_cka_q95": float(result.quantile),
        "null_p_value": result.p_value,
    }


def _influence(rows: ComparedRows) -> Columns:
    """Find the group whose absence changes the impact most: influence_group, and influence = impact with it minus without it."""
    group, value = rows.jackknife.most_influential(1)[0]
    return {"influence_group": group, "influence": -value}


def _concentrated(rows: ComparedRows) -> Columns:
    """Say what carries the impact: share_component_1, share_component_3 and share_top_groups.

    See :class:`xling.similarity.concentration.Concentration`.
    """
    shares = NO_SHARES if rows.is_identical else concentration_of_pair(rows, rows.jackknife)
    return {
        "share_component_1": shares.component_1,
        "share_component_3": shares.component_3,
        "share_top_groups": shares.top_groups,
    }


UNCERTAINTY: Registry[Uncertainty] = Registry(
    "uncertainty",
    "xling.uncertainties",
    {
        "jackknife": OfSharedRows(_jackknife),
        "shuffled": shuffled,
        "influence": OfSharedRows(_influence),
        "concentration": OfSharedRows(_concentrated),
    },
)
"""Uncertainties by name; other packages add theirs as entry points of the group ``xling.uncertainties``."""


def get_uncertainty(name: str | Uncertainty) -> Uncertainty:
    """Find an uncertainty by its name or by ``package.module:name``; a function is given back as it is.

    Raises:
        XlingValueError: there is no uncertainty of that name.
    """
    return UNCERTAINTY.find(name)


def evaluate_uncertainty(names: list[str], rows: ComparedRows) -> dict[str, Any]:
    """Evaluate several uncertainties on the rows of one layer.

    Rows that have not changed have an impact of exactly 0 whichever groups are sampled, so that their standard error is 0.

    Args:
        names: names of the uncertainties.
        rows: paired rows of base and present.

    Returns:
        The columns of all of them; no column at all where the similarity is undefined (its own row says why) or there are too few
        groups.
    """
    if rows.is_identical and "jackknife" in names:
        others = [name for name in names if name != "jackknife"]
        return {"impact_se": 0.0, "impact_low": 0.0, "impact_high": 0.0} | evaluate_uncertainty(others, rows)
    columns: dict[str, Any] = {}
    for name in names:
        compute = get_uncertainty(name)
        try:
            columns |= (
                compute.of_rows(rows) if isinstance(compute, OfSharedRows) else compute(rows.x, rows.y, rows.groups)
            )
        except UndefinedSimilarityError:
            return {}
    return columns
