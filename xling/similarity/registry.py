"""Registers the measures by name, each with what it ignores."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.registry import Registry
from xling.similarity.centred import Centred, centred_layer
from xling.similarity.cka import centred_cka, check_base
from xling.similarity.correlation import anc, mean_cca, procrustes, pwcca, svcca
from xling.similarity.grouped import GroupedLayer, grouped_cka, grouped_pair
from xling.similarity.grouped_moments import GroupedMarginal, GroupedMoments, grouped_layer_of_moments
from xling.similarity.grouping import Grouping
from xling.similarity.marginal import Marginal, flatten_layers
from xling.similarity.moments import Moments, check_rows
from xling.similarity.paired import PairedRows
from xling.similarity.pairwise import mutual_knn, rbf_cka, rsa
from xling.similarity.precision import similarity_precision
from xling.similarity.result import Result, collect
from xling.similarity.rows import centred_pair
from xling.similarity.shapes import Ids, LayersX, LayersY, RowsX, RowsY, Scalar

MAPS = {
    "translation": "a vector added to every row",
    "isotropic_scaling": "one factor for all features",
    "feature_scaling": "a factor of either sign for each feature",
    "feature_permutation": "features in another order",
    "orthogonal": "rotations and reflections",
    "invertible_linear": "any invertible linear map",
    "joint_row_permutation": "the same new order of examples on both sides",
    "row_permutation": "a new order of examples on one side: what no measure may ignore",
}
"""Maps of representations that a measure may or may not ignore. Except for the last two, each side has a map of its own."""

_ROTATIONAL = frozenset(
    {"translation", "isotropic_scaling", "feature_permutation", "orthogonal", "joint_row_permutation"}
)


@dataclass(frozen=True)
class Measure:
    """A similarity of two representations: 1 for identical ones, a float64 scalar per layer.

    Attributes:
        name: key in :data:`MEASURES`, and the value of the column `measure` in tables.
        ignores: names of :data:`MAPS` under which the value stays the same; it must change under the others.
        of_layer: function of one centred layer; None for a measure that needs the rows, or that knows groups.
        of_centred_rows: function of one layer's centred rows, ``[n, d_x]`` and ``[n, d_y]``; None where sums suffice.
        of_groups: function of one layer's terms over groups; None where the measure knows no groups.
    """

    name: str
    ignores: frozenset[str]
    of_layer: Callable[[Centred], Tensor] | None = None
    of_centred_rows: Callable[[Tensor, Tensor], Tensor] | None = None
    of_groups: Callable[[GroupedLayer], Tensor] | None = None

    @property
    def needs_rows(self) -> bool:
        """Whether it cannot be computed from sums, neither :class:`Moments` nor :class:`GroupedMoments`."""
        return self.of_centred_rows is not None

    @property
    def knows_groups(self) -> bool:
        """Whether it is debiased over groups of rows, and so is computed from :class:`GroupedMoments`."""
        return self.of_groups is not None

    def of_centred(self, layer: Centred) -> Scalar:
        """Evaluate on one centred layer, which holds its rows if this measure needs them; float64 scalar.

        Raises:
            UndefinedSimilarityError: the similarity of these representations is undefined.
        """
        if self.of_layer is not None:
            found = self.of_layer(layer)
        else:
            assert self.of_centred_rows is not None
            assert layer.rows is not None
            found = self.of_centred_rows(*layer.rows)
        return torch.ones_like(found) if layer.is_identical else found

    def of_moments(self, moments: Moments | GroupedMoments, base: Marginal | GroupedMarginal | None = None) -> Result:
        """Evaluate on every layer of accumulated sums, NaN with its reason where undefined.

        Args:
            moments: sums over paired rows, or over groups of them where the measure knows groups.
            base: sums of the base alone, where `moments` was started with them.

        Raises:
            XlingValueError: this measure needs the rows or sums of the other kind, or the sums of the base are missing or were
                computed from other rows.
        """
        if self.needs_rows:
            raise XlingValueError(f"{self.name} needs the rows, moments do not determine it; call of_rows")
        kind: type = GroupedMoments if self.knows_groups else Moments
        if not isinstance(moments, kind):
            raise XlingValueError(
                f"{self.name} is computed from {kind.__name__}, got {type(moments).__name__}; sum the rows with {kind.__name__}"
            )
        with similarity_precision(moments.n.device.type):
            return collect(self._of_layer_of(moments, base), moments.layers)

    def _of_layer_of(
        self, moments: Moments | GroupedMoments, base: Marginal | GroupedMarginal | None
    ) -> Callable[[int], Tensor]:
        if isinstance(moments, Moments):
            own = check_base(base, Marginal)
            return lambda i: self.of_centred(centred_layer(moments, i, own))
        of_groups, own_groups = self.of_groups, check_base(base, GroupedMarginal)
        assert of_groups is not None
        return lambda i: of_groups(grouped_layer_of_moments(moments, i, own_groups))

    def of_rows(self, x: LayersX, y: LayersY, groups: Ids | None = None) -> Result:
        """Evaluate on every layer of ``[..., n, d]`` rows, NaN with its reason where undefined.

        Args:
            x: base rows, any floating dtype.
            y: other rows, the same examples in the same order.
            groups: group id of each row, ``[n]`` integers, which only a measure that knows groups uses; None: every row is a
                group by itself.

        Raises:
            XlingValueError: the rows cannot be paired, or there is not one group id per row.
        """
        check_rows(x, y)
        flat_x, flat_y = flatten_layers(x), flatten_layers(y)
        with similarity_precision(x.device.type):
            if (of_groups := self.of_groups) is not None:
                grouping = Grouping.for_rows(groups, x, y)
                return collect(lambda i: of_groups(grouped_pair(flat_x[i], flat_y[i], grouping)), x.shape[:-2])
            return collect(lambda i: self.of_centred(centred_pair(flat_x[i], flat_y[i])), x.shape[:-2])


def similarities_of_rows(
    measures: Iterable[Measure], x: RowsX, y: RowsY, groups: Ids | None = None
) -> dict[str, Result]:
    """Evaluate several measures on one layer's rows.

    Args:
        measures: the measures to evaluate.
        x: base rows, ``[n, d_x]``.
        y: other rows, ``[n, d_y]``, the same examples in the same order.
        groups: group id of each row, ``[n]`` integers, for the measures that know groups; None: every row is a group by itself.

    Returns:
        Name of the measure -> its value ``[1]`` float64, NaN with a reason where undefined.

    Raises:
        XlingValueError: the rows cannot be paired, or there is not one group id per row.
    """
    return similarities_of_pair(measures, PairedRows(x, y, groups))


def similarities_of_pair(measures: Iterable[Measure], pair: PairedRows) -> dict[str, Result]:
    """Evaluate several measures on rows for which what they have in common is computed once."""
    with similarity_precision(pair.x.device.type):
        return {measure.name: collect(partial(_of_pair, measure, pair), (1,)) for measure in measures}


def _of_pair(measure: Measure, pair: PairedRows, _: int) -> Tensor:
    return measure.of_centred(pair.centred) if measure.of_groups is None else measure.of_groups(pair.grouped)


_ALL = (
    Measure("cka_grouped", _ROTATIONAL, of_groups=grouped_cka),
    Measure("cka_debiased", _ROTATIONAL, of_layer=partial(centred_cka, debiased=True)),
    Measure("cka_biased", _ROTATIONAL, of_layer=partial(centred_cka, debiased=False)),
    Measure("anc", frozenset({"translation", "isotropic_scaling", "feature_scaling", "joint_row_permutation"}), anc),
    Measure("svcca", _ROTATIONAL, of_layer=svcca),
    Measure("pwcca", _ROTATIONAL - {"orthogonal"}, of_layer=pwcca),
    Measure("mean_cca", _ROTATIONAL | {"feature_scaling", "invertible_linear"}, of_layer=mean_cca),
    Measure("procrustes", _ROTATIONAL, of_layer=procrustes),
    Measure("rbf_cka", _ROTATIONAL, of_centred_rows=rbf_cka),
    Measure("rsa", _ROTATIONAL, of_centred_rows=rsa),
    Measure("mutual_knn", _ROTATIONAL, of_centred_rows=mutual_knn),
)

MEASURES: Registry[Measure] = Registry(
    "similarity measure",
    "xling.measures",
    {measure.name: measure for measure in _ALL},
    lambda found: isinstance(found, Measure),
    "a xling.similarity.Measure",
)
"""Measures by name; other packages add theirs as entry points of the group ``xling.measures``."""


def get_measure(name: str | Measure) -> Measure:
    """Find a measure by its name or by ``package.module:name``; a measure is given back as it is.

    Raises:
        XlingValueError: there is no such measure.
    """
    return MEASURES.find(name)
