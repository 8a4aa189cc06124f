"""The measures by name, each with what it ignores."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from xling.errors import XlingValueError, close_matches
from xling.similarity.centred import Centred, centred_layer
from xling.similarity.cka import centred_cka
from xling.similarity.correlation import anc, mean_cca, procrustes, pwcca, svcca
from xling.similarity.marginal import Marginal, flatten_layers
from xling.similarity.moments import Moments, check_rows
from xling.similarity.pairwise import mutual_knn, rbf_cka, rsa
from xling.similarity.precision import similarity_precision
from xling.similarity.result import Result, collect
from xling.similarity.rows import centred_rows

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
"""Maps that a measure may or may not ignore. Except for the last two each side has a map of its own."""

_ROTATIONAL = frozenset(
    {"translation", "isotropic_scaling", "feature_permutation", "orthogonal", "joint_row_permutation"}
)


@dataclass(frozen=True)
class Measure:
    """A similarity of two representations: 1 for identical ones, a float64 scalar per layer.

    Attributes:
        name: key in :data:`MEASURES`; also the column in tables.
        ignores: names of :data:`MAPS` under which the value stays the same; it must change under the others.
        of_layer: function of one centred layer's moments; None where the rows are needed.
        of_centred_rows: function of one layer's centred rows; None where the moments do.
    """

    name: str
    ignores: frozenset[str]
    of_layer: Callable[[Centred], Tensor] | None = None
    of_centred_rows: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def needs_rows(self) -> bool:
        """Whether it cannot be computed from :class:`Moments`."""
        return self.of_layer is None

    def of_moments(self, moments: Moments, base: Marginal | None = None) -> Result:
        """Evaluate on every layer of accumulated moments, NaN with its reason where undefined.

        Args:
            moments: sums over paired rows.
            base: the base's self-term, where `moments` was started with one.

        Raises:
            XlingValueError: this measure needs the rows, or the base is missing or of other rows.
        """
        if self.needs_rows:
            raise XlingValueError(f"{self.name} needs the rows, moments do not determine it; call of_rows")

        def value(layer: int) -> Tensor:
            centred = centred_layer(moments, layer, base)
            found = self.of_layer(centred)
            return torch.ones_like(found) if centred.is_identical else found

        with similarity_precision(moments.yx.device.type):
            return collect(value, moments.n_changed.shape)

    def of_rows(self, x: Tensor, y: Tensor) -> Result:
        """Evaluate on every layer of ``[..., n, d]`` rows, NaN with its reason where undefined.

        Raises:
            XlingValueError: rows that cannot be paired.
        """
        check_rows(x, y)
        if not self.needs_rows and x.shape[-2]:
            return self.of_moments(Moments.of(x, y))
        flat_x, flat_y = flatten_layers(x), flatten_layers(y)

        def value(layer: int) -> Tensor:
            found = self.of_centred_rows(centred_rows(flat_x[layer], "x"), centred_rows(flat_y[layer], "y"))
            return torch.ones_like(found) if torch.equal(flat_x[layer], flat_y[layer]) else found

        with similarity_precision(x.device.type):
            return collect(value, x.shape[:-2])


_ALL = (
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

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}


def get_measure(name: str) -> Measure:
    """The measure of that name.

    Raises:
        XlingValueError: no such measure.
    """
    if name not in MEASURES:
        raise XlingValueError(
            f"unknown similarity measure {name!r}{close_matches(name, MEASURES)}; choose from {', '.join(MEASURES)}"
        )
    return MEASURES[name]
