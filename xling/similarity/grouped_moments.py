"""Accumulates over whole groups of paired rows the sums for the CKA debiased over groups, additive over batches and processes.

The group means are the rows of a :class:`xling.similarity.Moments`; what is left of the rows beside them adds
:class:`xling.similarity.within.Within`. Both move with the shift exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.centred import centred_layer
from xling.similarity.grouped import GroupedLayer, GroupedTerms
from xling.similarity.grouping import Grouping, batches_of_groups
from xling.similarity.hsic import HsicTerms
from xling.similarity.marginal import ROWS_AT_ONCE, Marginal, flatten_layers, row_mean
from xling.similarity.moments import Moments
from xling.similarity.panels import dense, frobenius_sq
from xling.similarity.precision import similarity_precision
from xling.similarity.recentre import added, common_shifts, recentred
from xling.similarity.shapes import Ids, LayersX, LayersY, ShiftX, ShiftY, StackX, StackY
from xling.similarity.within import Parts, Within


@dataclass
class GroupedMarginal:
    """Sums over one side of a comparison in groups: what a stored base contributes to every later run.

    Attributes:
        means: sums over the group means.
        within: sums over the residuals of the rows.
    """

    means: Marginal
    within: Within

    @classmethod
    def of(
        cls, x: Annotated[Tensor, "[..., n, d] float"], groups: Ids | None, *, allow_tf32: bool = False
    ) -> GroupedMarginal:
        """Sum the rows of `x` ``[..., n, d]``.

        Args:
            x: rows of the base, any floating dtype; leading dimensions are layers.
            groups: group id of each row, ``[n]`` integers; None: every row is a group by itself.
            allow_tf32: whether a GPU may multiply in TF32.

        Raises:
            XlingValueError: there is not one group id per row.
        """
        grouping, flat = Grouping.for_rows(groups, x, x), flatten_layers(x)
        rows = ((flat[:, some], grouping.which[some]) for some in batches_of_groups(grouping, ROWS_AT_ONCE))
        return cls.of_batches(rows, allow_tf32=allow_tf32)

    @classmethod
    def of_batches(cls, batches: Iterable[tuple[Tensor, Tensor]], *, allow_tf32: bool = False) -> GroupedMarginal:
        """Sum batches of whole groups: rows ``[L, b, d]`` with their groups' ids ``[b]``.

        Raises:
            XlingValueError: there is no batch.
        """
        sums: GroupedMarginal | None = None
        for batch, groups in batches:
            grouping = Grouping.of(groups)
            with similarity_precision(batch.device.type, allow_tf32=allow_tf32):
                if sums is None:
                    shift = row_mean(batch)
                    sums = cls(Marginal.empty(shift), Within.of_side(shift))
                parts = Parts.of(batch, sums.means.shift, grouping)
                sums.means.add_rows(parts.means)
                sums.within.add(parts, parts, grouping)
        if sums is None:
            raise XlingValueError("expected at least one batch of the base's rows, got none")
        return sums

    def tensors(self) -> dict[str, Tensor]:
        """Give the sums by name, to store or send them; :meth:`from_tensors` is the inverse."""
        return _named({"means": self.means, "within": self.within})

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> GroupedMarginal:
        """Inverse of :meth:`tensors`; shares their storage."""
        parts = _parts(tensors, ("means", "within"))
        return cls(Marginal(**parts["means"]), Within(**parts["within"]))

    def to(self, device: torch.device | str) -> GroupedMarginal:
        """Give the same sums on `device`."""
        return GroupedMarginal(self.means.to(device), self.within.to(device))


@dataclass
class GroupedMoments:
    """Sums over whole groups of paired rows.

    Attributes:
        means: sums over pairs of group means; their n counts groups, their n_changed rows.
        within: sums over the residuals of both sides together.
        within_y: sums over the residuals of the other side with itself.
        within_x: sums over the residuals of the base with itself; None where the base's sums are known.

    Example:
        >>> x, premise = torch.randn(3, 90, 8), torch.arange(90) // 3  # 3 layers, 30 premises of 3 rows, 8 features
        >>> moments = GroupedMoments.start(x[:, :60], x[:, :60])
        >>> moments.update(x[:, :60], x[:, :60], premise[:60])  # whole groups in every batch
        >>> moments.update(x[:, 60:], x[:, 60:], premise[60:])
        >>> int(moments.n), moments.means.n_changed.tolist()
        (30, [0, 0, 0])
    """

    means: Moments
    within: Within
    within_y: Within
    within_x: Within | None = None

    @classmethod
    def start(cls, x: LayersX, y: LayersY, base: GroupedMarginal | None = None) -> GroupedMoments:
        """Make sums of no rows yet; arguments, shifts and errors are those of :meth:`xling.similarity.Moments.start`."""
        return cls._around(Moments.start(x, y, None if base is None else base.means))

    @classmethod
    def empty(cls, layers: tuple[int, ...], shift_x: ShiftX, shift_y: ShiftY, *, base_is_known: bool) -> GroupedMoments:
        """Make sums of no rows yet, from given shifts; arguments as in :meth:`xling.similarity.Moments.empty`."""
        return cls._around(Moments.empty(layers, shift_x, shift_y, base_is_known=base_is_known))

    @classmethod
    def _around(cls, means: Moments) -> GroupedMoments:
        x, y = means.x.shift, means.y.shift
        within_x = None if means.x.gram is None else Within.of_side(x)
        return cls(means, Within.of_pair(x, y), Within.of_side(y), within_x)

    @classmethod
    def of(
        cls,
        x: LayersX,
        y: LayersY,
        groups: Ids | None,
        base: GroupedMarginal | None = None,
        *,
        allow_tf32: bool = False,
    ) -> GroupedMoments:
        """Sum all rows at once, in any order; any sequence of updates in whole groups gives the same.

        Args:
            x: base rows ``[..., n, d_x]``, any floating dtype.
            y: other rows ``[..., n, d_y]``, the same examples in the same order.
            groups: group id of each row, ``[n]`` integers; None: every row is a group by itself.
            base: the base's sums, where they were computed before.
            allow_tf32: whether a GPU may multiply in TF32.

        Raises:
            XlingValueError: rows, layers, widths or ids do not fit each other or the base.
        """
        moments = cls.start(x[..., :ROWS_AT_ONCE, :], y[..., :ROWS_AT_ONCE, :], base)
        moments.update(x, y, groups, allow_tf32=allow_tf32)
        return moments

    def tensors(self) -> dict[str, Tensor]:
        """Give all sums by name; :meth:`from_tensors` is the inverse."""
        sides = {"within_x": self.within_x, "within_y": self.within_y, "within": self.within, "means": self.means}
        return _named({name: part for name, part in sides.items() if part is not None})

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> GroupedMoments:
        """Inverse of :meth:`tensors`; shares their storage."""
        parts = _parts(tensors, ("within_x", "within_y", "within", "means"))
        within_x = Within(**parts["within_x"]) if parts["within_x"] else None
        means = Moments.from_tensors(parts["means"])
        return cls(means, Within(**parts["within"]), Within(**parts["within_y"]), within_x)

    @property
    def n(self) -> Annotated[Tensor, "[] int64"]:
        """Number of groups, int64 scalar."""
        return self.means.n

    @property
    def sides(self) -> tuple[Marginal, Marginal]:
        """Sums over the group means of x and of y."""
        return self.means.sides

    @property
    def layers(self) -> torch.Size:
        """The layers' own shape, which L flattens."""
        return self.means.layers

    def update(self, x: LayersX, y: LayersY, groups: Ids | None, *, allow_tf32: bool = False) -> None:
        """Add paired rows of whole groups: no other update may bring rows of the same groups.

        Args:
            x: base rows ``[..., b, d_x]``, any floating dtype, on the device of the sums.
            y: other rows ``[..., b, d_y]``, the same examples in the same order.
            groups: group id of each row, ``[b]`` integers in any order; None: every row is a group by itself.
            allow_tf32: whether a GPU may multiply in TF32.

        Raises:
            XlingValueError: rows, layers, widths or ids do not fit each other or what was added before.
        """
        self.means.check(x, y)
        grouping = Grouping.for_rows(groups, x, y)
        x, y = flatten_layers(x), flatten_layers(y)
        with similarity_precision(x.device.type, allow_tf32=allow_tf32):
            for some in batches_of_groups(grouping, ROWS_AT_ONCE):
                self._add(x[:, some], y[:, some], Grouping.of(grouping.which[some]))

    def _add(self, x: StackX, y: StackY, grouping: Grouping) -> None:
        self.means.count_changed(x, y)
        of_x = Parts.of(x, self.means.x.shift, grouping)
        of_y = Parts.of(y, self.means.y.shift, grouping)
        self.means.add_shifted(of_x.means, of_y.means)
        self.within.add(of_x, of_y, grouping)
        self.within_y.add(of_y, of_y, grouping)
        if self.within_x is not None:
            self.within_x.add(of_x, of_x, grouping)


def recentred_groups(moments: GroupedMoments, shift_x: ShiftX, shift_y: ShiftY) -> GroupedMoments:
    """Move sums to other shifts ``[L, d_x]`` and ``[L, d_y]``, as if these had been subtracted from the rows."""
    m = shift_x.double() - moments.means.x.shift
    k = shift_y.double() - moments.means.y.shift
    with similarity_precision(shift_x.device.type):
        return GroupedMoments(
            means=recentred(moments.means, shift_x, shift_y),
            within=moments.within.moved(m, k),
            within_y=moments.within_y.moved(k, k),
            within_x=None if moments.within_x is None else moments.within_x.moved(m, m),
        )


def merged_groups(first: GroupedMoments, second: GroupedMoments) -> GroupedMoments:
    """Add the sums of different groups.

    Raises:
        XlingValueError: layers or widths differ, or one was started with a known base and the other without.
    """
    shifts = common_shifts(first.means, second.means)
    one, other = (recentred_groups(moments, *shifts) for moments in (first, second))
    return GroupedMoments(
        means=added(one.means, other.means),
        within=one.within + other.within,
        within_y=one.within_y + other.within_y,
        within_x=None if one.within_x is None or other.within_x is None else one.within_x + other.within_x,
    )


def grouped_layer_of_moments(moments: GroupedMoments, layer: int, base: GroupedMarginal | None = None) -> GroupedLayer:
    """Compute the terms of one layer.

    Args:
        moments: sums over the paired groups.
        layer: index into the flattened leading dimensions.
        base: sums of the base alone, where `moments` was started with them.

    Raises:
        UndefinedSimilarityError: there are fewer than 4 groups, non-finite values or constant features.
        XlingValueError: the sums of the base are missing, or were computed from other rows.
    """
    means, n_layers = moments.means, len(moments.means.y.shift)
    within_x = moments.within_x if base is None else base.within
    if within_x is None:
        raise XlingValueError(
            "these sums were started with a known base, whose own sums they leave out; give the same base to evaluate them"
        )
    products = (
        dense(within_x.product, n_layers, means.x.shift.shape[-1], layer),
        dense(moments.within_y.product, n_layers, means.y.shift.shape[-1], layer),
        moments.within.product[layer].double(),
    )
    spread = products[0].diagonal().sum(), products[1].diagonal().sum()
    base_means = None if base is None else base.means
    centred = centred_layer(means, layer, base_means, beside=spread, of="groups")
    full_x = base_means or means.x
    m, k = ((side.total[layer] / side.n) for side in (full_x, means.y))
    own_m = means.x.total[layer] / means.n
    return GroupedLayer(
        _terms(centred.x.terms, products[0], within_x, layer, centred.x.gram, m, m),
        _terms(centred.y.terms, products[1], moments.within_y, layer, centred.y.gram, k, k),
        _terms(centred.terms, products[2], moments.within, layer, centred.yx, own_m, k),
        is_identical=centred.is_identical,
    )


def _terms(
    between: HsicTerms,
    product: Annotated[Tensor, "[d_y, d_x] float64"],
    within: Within,
    layer: int,
    n: Annotated[Tensor, "[d_y, d_x] float64"],
    m: Annotated[Tensor, "[d_x] float64"],
    k: Annotated[Tensor, "[d_y] float64"],
) -> GroupedTerms:
    """Compute the terms of one pair of sides: D is `product`, N is `n`, and the group means are centred by their means m and k."""
    on_x = within.on_x[layer]
    on_y = on_x if within.on_y is None else within.on_y[layer]
    mixed_own = within.mixed_own[layer] - k @ on_y - m @ on_x + k @ (product @ m)
    return GroupedTerms(between, frobenius_sq(product), within.own[layer], (n * product).sum(), mixed_own)


def _named(parts: Mapping[str, Marginal | Moments | Within]) -> dict[str, Tensor]:
    return {f"{part}__{name}": value for part, own in parts.items() for name, value in own.tensors().items()}


def _parts(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, dict[str, Tensor]]:
    return {
        name: {key.removeprefix(f"{name}__"): value for key, value in tensors.items() if key.startswith(f"{name}__")}
        for name in names
    }
