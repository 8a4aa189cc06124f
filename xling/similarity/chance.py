"""Computes what a measure gives for rows that have nothing to do with each other: the same rows, their groups paired anew."""

from collections.abc import Iterable
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.grouping import Grouping
from xling.similarity.registry import Measure, similarities_of_rows
from xling.similarity.result import Result
from xling.similarity.shapes import Ids, RowsX, RowsY


def re_paired(groups: Ids, seed: int = 0) -> tuple[Annotated[Tensor, "[m] int64"], Annotated[Tensor, "[m] int64"]]:
    """Pair every group's rows with those of another group, of its own size or of the next one that occurs.

    Of two groups of different size the first rows of the larger one are taken, as many as the smaller one has.

    Args:
        groups: group id of each row, ``[n]`` integers.
        seed: seed of the generator that draws the pairing, in which no group is paired with itself.

    Returns:
        Numbers of the rows to take from x and from y, ``[m]`` int64 each; m = n where all groups are of one size.

    Raises:
        XlingValueError: there is one group alone.
    """
    grouping = Grouping.of(groups.cpu())
    if grouping.n < 2:
        raise XlingValueError("one group cannot be paired with another one; chance levels need at least 2 groups")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(grouping.n, generator=generator)
    order = drawn[grouping.sizes[drawn].argsort(stable=True)]
    rows = grouping.which.argsort(stable=True).split(grouping.sizes.tolist())
    pairs = [(rows[a], rows[b]) for a, b in zip(order.tolist(), order.roll(-1).tolist(), strict=True)]
    sizes = [min(len(one), len(other)) for one, other in pairs]
    of_x, of_y = (torch.cat([pair[side][:m] for pair, m in zip(pairs, sizes, strict=True)]) for side in range(2))
    by_x = of_x.argsort()
    return of_x[by_x].to(groups.device), of_y[by_x].to(groups.device)


def chance_levels(
    measures: Iterable[Measure], x: RowsX, y: RowsY, groups: Ids | None = None, *, seed: int = 0
) -> dict[str, Result]:
    """Evaluate measures once groups are paired anew, which gives their level without any correspondence of rows.

    One pairing is drawn, so that a level varies as a single draw does. CKA debiased over groups is 0 on average; other measures
    are not.

    Args:
        measures: the measures to evaluate.
        x: base rows of one layer, ``[n, d_x]``.
        y: other rows, ``[n, d_y]``, the same examples in the same order.
        groups: group id of each row, ``[n]`` integers; None: every row is a group by itself.
        seed: seed of the pairing.

    Returns:
        Name of the measure -> its value ``[1]`` float64, NaN with a reason where undefined.

    Raises:
        XlingValueError: there is one group alone, or `x` and `y` cannot be paired.
    """
    groups = torch.arange(len(x)) if groups is None else groups
    of_x, of_y = (rows.to(x.device) for rows in re_paired(groups, seed))
    return similarities_of_rows(measures, x[of_x], y[of_y], groups.to(x.device)[of_x])


def above_chance(value: float, chance: float) -> float:
    """Scale a similarity to ``(value - chance) / (1 - chance)``: 0 at the level of unrelated rows, 1 for identical ones.

    Raises:
        XlingValueError: the chance level is 1 or more, so that no value can lie above it.

    >>> round(above_chance(0.91, 0.1), 6)
    0.9
    """
    if chance >= 1:
        raise XlingValueError(
            f"expected a chance level below 1, got {chance:g}: the measure cannot tell these rows apart"
        )
    return (value - chance) / (1 - chance)
