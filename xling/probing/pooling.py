"""One layer's output to rows, once it is known which axis holds its features; refuses what it would have to guess."""

from collections.abc import Mapping

from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.models.pooling import WORD_POOLINGS, flatten, get_probe_pooling, masked_mean
from xling.probing.axes import FeatureAxis, Layout, axis_of, feature_layouts
from xling.probing.select import LayerChoice, is_by_name


class LayerPooling:
    """Pools one layer.

    Args:
        name: in :data:`xling.models.pooling.POOLINGS` or ``WORD_POOLINGS``.
        layout: where the layer's features are, see :mod:`xling.probing.axes`.
    """

    def __init__(self, name: str, layout: Layout) -> None:
        self.name, self.layout = name, layout
        self._pool = get_probe_pooling(name)

    def __call__(self, hidden_states: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [batch, features] (or [n_words, features]) of [batch, ...].

        Args:
            hidden_states: the layer's output.
            mask: [batch, sequence], 1 where a position counts, or None; for words their ids instead.

        Raises:
            XlingValueError: fewer than two axes, features on an unknown axis, positions that do not lie on one axis where one
                is needed, or a mask of another size.
        """
        shape = list(hidden_states.shape)
        if len(shape) < 2:
            raise XlingValueError(f"expected an output [batch, ...] with features, got {shape}; choose another layer")
        if self._pool is flatten:
            return flatten(hidden_states)
        axis = self._axis(hidden_states, mask)
        if self.name == "mean" and (mask is None or len(shape) != 3):
            positions = [other for other in range(1, len(shape)) if other != axis]
            return hidden_states.mean(dim=positions) if positions else hidden_states
        if len(shape) == 2 and self.name == "cls":
            return hidden_states
        if len(shape) != 3:
            raise XlingValueError(f"pooling={self.name} needs one axis of positions, got {shape}; use pooling=mean")
        by_position = hidden_states.movedim(axis, -1)
        if mask is not None:
            self._check_mask(mask, by_position.shape, shape)
        return masked_mean(by_position, mask) if self.name == "mean" else self._pool(by_position, mask)

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
        if self.name == "cls" and not bool(mask[:, 0].all()):
            raise XlingValueError("its first position is padding in some rows; use pooling=mean, or pad on the right")

    def _axis(self, hidden_states: Tensor, mask: Tensor | None) -> int:
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
    name: str, module: nn.Module, modules: Mapping[str, nn.Module], layers: LayerChoice, axis: FeatureAxis
) -> dict[str, LayerPooling]:
    """Label -> pooling of each layer; an encoder's layers are [batch, sequence, hidden], others tell by what they are made of."""
    layouts = feature_layouts(module, modules, axis if is_by_name(layers) or axis is not None else -1)
    return {label: LayerPooling(name, layouts[label]) for label in modules}
