"""Computes once what several measures share of one layer's rows before and after."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from xling.similarity.centred import MINIMUM, Centred, Side, check_defined
from xling.similarity.grams import Gram, GroupGrams, are_few, layer_of_grams
from xling.similarity.grouped import GroupedLayer, GroupedRows, grouped_hsic, grouped_layer, grouped_rows
from xling.similarity.grouped_jackknife import without_each_group, without_each_group_of_grams
from xling.similarity.grouping import Grouping
from xling.similarity.moments import check_rows
from xling.similarity.precision import similarity_precision
from xling.similarity.result import UndefinedSimilarityError
from xling.similarity.rows import centred_pair
from xling.similarity.shapes import Ids, PerGroup, RowsX, RowsY


@dataclass(frozen=True)
class GramSide:
    """One side of few rows, in float64.

    Attributes:
        rows: centred rows, ``[n, d]``.
        mean: mean that was subtracted from them, ``[d]``.
        gram: products of every two centred rows, ``[n, n]``.
    """

    rows: Annotated[Tensor, "[n, d] float64"]
    mean: Annotated[Tensor, "[d] float64"]
    gram: Gram

    @classmethod
    def of(cls, rows: Annotated[Tensor, "[n, d] float"]) -> "GramSide":
        """Centre rows of any floating dtype, and multiply them."""
        rows = rows.double()
        mean = rows.mean(0)
        rows = rows - mean
        return cls(rows, mean, rows @ rows.mT)

    def centred(self, name: str) -> Side:
        """Give what the measures of single rows need of this side; `name` is that of the side in an error.

        Raises:
            UndefinedSimilarityError: there are fewer than 4 rows, non-finite values or constant features.
        """
        sq, rows = self.gram.diagonal(), self.rows
        check_defined(name, len(sq), sq.sum(), self.mean)
        return Side(len(sq), sq.sum(), sq @ sq, self.gram.square().sum(), self.mean, lambda: rows.mT @ rows)

    def in_groups(self, name: str, grouping: Grouping) -> GroupGrams:
        """Give what the measures that know groups need of this side; `name` is that of the side in an error.

        Raises:
            UndefinedSimilarityError: there are fewer than 4 groups, non-finite values or constant features.
        """
        grams = GroupGrams.of(self.gram, grouping)
        check_defined(name, grouping.n, grams.spread, self.mean, of="groups")
        return grams


class PairedRows:
    """Paired rows ``[n, d_x]`` and ``[n, d_y]`` of one layer.

    Few rows of many features are compared by their Gram matrices in float64, see :mod:`xling.similarity.grams`; many rows by
    d x d matrices in their own precision, as everywhere else. What is asked for is computed without gradients, once.

    Args:
        x: base rows.
        y: other rows, the same examples in the same order.
        groups: group id of each row, ``[n]`` integers, or the rows' grouping, which several layers may share; None: every row is
            a group by itself.

    Raises:
        XlingValueError: the rows cannot be paired, or there is not one group id per row.
    """

    def __init__(self, x: RowsX, y: RowsY, groups: Ids | Grouping | None = None) -> None:
        check_rows(x, y)
        self.x, self.y = x, y
        self.grouping = groups if isinstance(groups, Grouping) else Grouping.for_rows(groups, x, y)
        self.are_few = are_few(len(x), x.shape[-1], y.shape[-1])

    @property
    def groups(self) -> Ids:
        """Id of each row's group, ``[n]``."""
        return self.grouping.ids[self.grouping.which]

    @cached_property
    def is_identical(self) -> bool:
        """Whether every row of y equals its row of x bit by bit."""
        return torch.equal(self.x, self.y)

    @cached_property
    def grams(self) -> tuple[GramSide, GramSide]:
        """Both sides with their Gram matrices, to be asked for only where the rows are few."""
        with similarity_precision(self.x.device.type):
            return GramSide.of(self.x), GramSide.of(self.y)

    @cached_property
    def centred(self) -> Centred:
        """What the measures of single rows are functions of.

        Raises:
            UndefinedSimilarityError: fewer than 4 rows, non-finite values or constant features.
        """
        with similarity_precision(self.x.device.type):
            return self._centred_by_grams() if self.are_few else centred_pair(self.x, self.y)

    def _centred_by_grams(self) -> Centred:
        x, y = self.grams
        of_x, of_y = x.centred("x"), y.centred("y")
        dtype = torch.promote_types(torch.promote_types(self.x.dtype, self.y.dtype), torch.float32)
        return Centred(
            x=of_x,
            y=of_y,
            cross=(x.gram * y.gram).sum(),
            sq_xy=x.gram.diagonal() @ y.gram.diagonal(),
            is_identical=self.is_identical,
            unpack=lambda: y.rows.mT @ x.rows,
            rows=(x.rows.to(dtype), y.rows.to(dtype)),
        )

    @cached_property
    def grouped(self) -> GroupedLayer:
        """What the measures that know groups are functions of.

        Raises:
            UndefinedSimilarityError: fewer than 4 groups, non-finite values or constant features.
        """
        with similarity_precision(self.x.device.type):
            if self.are_few:
                return layer_of_grams(*self.grams_in_groups, self.grouping, is_identical=self.is_identical)
            return grouped_layer(*self._rows_in_groups, self.grouping, is_identical=self.is_identical)

    @cached_property
    def hsic_without_each_group(self) -> tuple[PerGroup, PerGroup, PerGroup]:
        """Grouped HSIC of (x, x), (y, y) and (x, y) once each group is left out, each ``[G]``.

        Raises:
            UndefinedSimilarityError: :attr:`grouped` is undefined, or there are only 4 groups.
        """
        if self.grouping.n <= MINIMUM:
            raise UndefinedSimilarityError(f"{self.grouping.n} groups, {MINIMUM} must be left without any of them")
        layer = self.grouped
        whole = [layer.xx, layer.yy, layer.xy]
        with similarity_precision(self.x.device.type):
            if self.are_few:
                terms = without_each_group_of_grams(whole, *self.grams_in_groups, self.grouping)
            else:
                terms = without_each_group(whole, *self._rows_in_groups, self.grouping)
        xx, yy, xy = map(grouped_hsic, terms)
        return xx, yy, xy

    @cached_property
    def grams_in_groups(self) -> tuple[GroupGrams, GroupGrams]:
        """Both sides in groups, to be asked for only where the rows are few.

        Raises:
            UndefinedSimilarityError: fewer than 4 groups, non-finite values or constant features.
        """
        x, y = self.grams
        return x.in_groups("x", self.grouping), y.in_groups("y", self.grouping)

    @cached_property
    def _rows_in_groups(self) -> tuple[GroupedRows, GroupedRows]:
        return grouped_rows(self.x, self.grouping, "x"), grouped_rows(self.y, self.grouping, "y")
