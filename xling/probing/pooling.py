"""Pools one layer's output to rows once it is known which axis holds its features; refuses what it would have to guess."""

from collections.abc import Mapping
from typing import Annotated

from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.models.pooling import POOLINGS, WORD_POOLINGS, Pooling, first_token, flatten, get_probe_pooling, masked_mean
from xling.probing.axes import FeatureAxis, Layout, axis_of, feature_layouts
from xling.probing.select import LayerChoice, is_by_name

OWN = (*POOLINGS.own.values(), *WORD_POOLINGS.own.values())
"""The poolings that ship with the package; all others are functions of users."""


class LayerPooling:
    """Pools one layer.

    Args:
        name: name in :data:`xling.models.pooling.POOLINGS` or ``WORD_POOLINGS``, or a function of one's own, which gets an
            output of three axes as [batch, sequence, features] with its mask, and any other output as it is, without a mask.
        layout: where the layer's features are, see :mod:`xling.probing.axes`.
    """

    def __init__(self, name: str | Pooling, layout: Layout) -> None:
        self.name, self.layout = name, layout
        self._pool = get_probe_pooling(name)
        self._is_own = any(self._pool is own for own in OWN)

    def __call__(self, hidden_states: Tensor, mask: Tensor | None) -> Annotated[Tensor, "[_, _] float"]:
        """Pool one batch.

        Args:
            hidden_states: the layer's output, [batch, ...] floating point.
            mask: [batch, sequence], 1 where a position counts, or None; for words, the id of each position's word instead.

        Returns:
            Rows [batch, features], or [n_words, features] for words, in the dtype of the output.

        Raises:
            XlingValueError: the output has fewer than two axes, the axis of its features is unknown, its positions do not lie on
                one axis where one is needed, the mask is of another size, or a user's function does not give rows.
        """
        shape = list(hidden_states.shape)
        if len(shape) < 2:
            raise XlingValueError(f"expected an output [batch, ...] with features, got {shape}; choose another layer")
        if self._pool is flatten:
            return flatten(hidden_states)
        if not self._is_own and len(shape) != 3:
            return self._checked_rows(self._pool(hidden_states, None))
        axis = self._axis(hidden_states, mask)
        if self._pool is masked_mean and (mask is None or len(shape) != 3):
            positions = [other for other in range(1, len(shape)) if other != axis]
            return hidden_states.mean(dim=positions) if positions else hidden_states
        if len(shape) == 2 and self._pool is first_token:
            return hidden_states
        if len(shape) != 3:
            raise XlingValueError(f"pooling={self.name} needs one axis of positions, got {shape}; use pooling=mean")
        by_position = hidden_states.movedim(axis, -1)
        if mask is not None:
            self._check_mask(mask, by_position.shape, shape)
        return self._checked_rows(self._pool(by_position, mask))

    def _checked_rows(self, rows: Tensor) -> Tensor:
        if not isinstance(rows, Tensor) or rows.dim() != 2 or not rows.is_floating_point():
            found = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
            raise XlingValueError(
                f"expected pooling={self.name} to give one vector per row, [rows, features], got {found}"
            )
        return rows

    def _check_mask(self, mask: Tensor, by_position: tuple[int, ...], shape: list[int]) -> None:
        if mask.shape != by_position[:2]:
            what, remedy = (
                ("word_ids(batch)", "choose layers with one vector per token")
                if self.name in WORD_POOLINGS
                else (
                    "the mask",
                    "give the module a padding_mask(batch, layer) method that returns this layer's, or None",
                )
            )
            raise XlingValueError(
                f"{what} is {list(mask.shape)} and the output {shape}, of which {by_position[2]} are features: they differ in "
                f"size; {remedy}"
            )
        if self._pool is first_token and not bool(mask[:, 0].all()):
            raise XlingValueError("its first position is padding in some rows; use pooling=mean, or pad on the right")

    def _axis(self, hidden_states: Tensor, mask: Tensor | None) -> int:
        """Find the axis of the features, and remember one that the mask has shown."""
        axis = axis_of(self.layout, hidden_states.shape, mask)
        if axis is None:
            told = "" if not isinstance(self.layout, int) else f", and feature_axis={self.layout} is none of it"
            raise XlingValueError(
                f"its output is {list(hidden_states.shape)}{told}; say which axis holds the features, e.g. feature_axis=-1 "
                "for [batch, sequence, hidden] or feature_axis=1 for [batch, channel, time]"
            )
        self.layout = self.layout or axis  # what one batch's mask has shown holds for the others
        return axis


def layer_poolings(
    name: str | Pooling, module: nn.Module, modules: Mapping[str, nn.Module], layers: LayerChoice, axis: FeatureAxis
) -> dict[str, LayerPooling]:
    """Make the pooling of each layer.

    The layers of a Hugging Face encoder give [batch, sequence, hidden]; where other modules put their features is found from
    their types, see :func:`xling.probing.axes.feature_layouts`.

    Args:
        name: see :class:`LayerPooling`.
        module: the module that holds the layers.
        modules: label -> module of each layer.
        layers: the user's choice of layers, which tells an encoder's layers from modules chosen by name.
        axis: which axis holds the features, where the user says so.

    Returns:
        Label -> pooling.
    """
    layouts = feature_layouts(module, modules, axis if is_by_name(layers) or axis is not None else -1)
    return {label: LayerPooling(name, layouts[label]) for label in modules}
