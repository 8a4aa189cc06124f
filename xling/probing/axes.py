"""Finds which axis of a layer's output holds its features: the user says so, the module shows it, or it is not known.

Shapes alone do not say: [batch, sequence, hidden] and [batch, channel, time] look alike. Axis 0 is always the batch.
"""

import fnmatch
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules import activation, dropout
from transformers import activations

from xling.errors import XlingValueError, close_matches
from xling.machine.private_torch import POOLS, ConvNd, NormBase

FIRST, LAST, MAPS = "first", "last", "maps"
"""Features on axis 1; on the last axis; on axis 1 if the output is still a map ([batch, channel, height, width] or more)."""

Layout = int | str | None
FeatureAxis = int | Mapping[str, int] | None

_LAST = (nn.Linear, nn.Embedding, nn.RNNBase, nn.MultiheadAttention, nn.RMSNorm)
_FIRST = (ConvNd, NormBase, nn.GroupNorm, *POOLS)
_ELEMENTWISE = (activation.__name__, dropout.__name__, activations.__name__)


def feature_layouts(module: nn.Module, layers: Mapping[str, nn.Module], axis: FeatureAxis = None) -> dict[str, Layout]:
    """Say for every layer where its features are.

    Args:
        module: the module that holds the layers.
        layers: label -> module of each layer.
        axis: what the user says: one axis for all layers, or axes by shell-style patterns of labels; None: nothing.

    Returns:
        Label -> an axis (never 0), one of the constants above, or None where it is not known.

    Raises:
        XlingValueError: an axis is 0 or no whole number, or no layer's label matches a pattern.
    """
    told = _axes_by_label(layers, axis)
    names = {id(part): name for name, part in module.named_modules()}
    return {
        label: told[label] if label in told else _layout_within(module, names.get(id(part), ""), part)
        for label, part in layers.items()
    }


def axis_of(layout: Layout, shape: tuple[int, ...], mask: Tensor | None = None) -> int | None:
    """Find the axis of the features in an output of `shape`.

    Where the module does not show it, a mask does if its length is that of exactly one of the two axes beside the batch.

    Args:
        layout: the layer's entry in :func:`feature_layouts`.
        shape: shape of its output, [batch, ...].
        mask: padding mask [batch, sequence], or None.

    Returns:
        An axis from 1 to ``len(shape) - 1``, or None where it is not known.
    """
    n = len(shape)
    if isinstance(layout, int):
        return layout % n if -n < layout < n and layout % n else None
    if n == 2 or layout == FIRST:
        return 1
    if layout == LAST:
        return n - 1
    if layout == MAPS and n > 3:
        return 1
    if n == 3 and mask is not None and shape[1] != shape[2] and mask.shape[1] in shape[1:]:
        return 2 if mask.shape[1] == shape[1] else 1
    return None


def layout_of(module: nn.Module) -> Layout:
    """Say where `module` puts its features, as far as its type and its parts show it.

    >>> layout_of(nn.Conv1d(2, 3, 1)), layout_of(nn.Linear(2, 3)), layout_of(nn.ReLU())
    ('first', 'last', None)
    """
    if isinstance(module, _FIRST):
        return FIRST
    if isinstance(module, _LAST) or (isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1):
        return LAST
    if (parts := _parts_in_sequence(module)) is not None:
        return _layout_after(list(parts.values()))
    kinds = {layout_of(child) for child in module.children()} - {None}  # of a block: only if all its parts agree
    if LAST in kinds:
        return LAST if kinds == {LAST} else None
    return MAPS if kinds else None  # a block of convolutions may flatten and transpose their output


def _axes_by_label(layers: Mapping[str, nn.Module], axis: FeatureAxis) -> dict[str, int]:
    """Give the axis of each layer of which the user says it; a later pattern overrules an earlier one."""
    patterns = axis if isinstance(axis, Mapping) else {} if axis is None else {"*": axis}
    told: dict[str, int] = {}
    for pattern, value in patterns.items():
        if isinstance(value, bool) or not isinstance(value, int) or value == 0:
            raise XlingValueError(
                f"expected feature_axis to be a whole number, not 0, which is the batch; got {value!r}; give e.g. -1 for the "
                "last axis"
            )
        if not (matching := fnmatch.filter(layers, pattern)):
            raise XlingValueError(f"no layer matches feature_axis={pattern!r}{close_matches(pattern, layers)}")
        told |= dict.fromkeys(matching, value)
    return told


def _layout_within(module: nn.Module, name: str, part: nn.Module) -> Layout:
    """Find the layout of `part`; an elementwise part (activation, dropout) has that of what precedes it in its sequence."""
    if not _is_elementwise(part):
        return layout_of(part)
    parent, _, last = name.rpartition(".")
    sequence = module.get_submodule(parent)
    if (parts := _parts_in_sequence(sequence)) is None:
        return layout_of(sequence) if parent else None
    return _layout_after(list(parts.values())[: list(parts).index(last) + 1])


def _layout_after(parts: list[nn.Module]) -> Layout:
    """Find the layout after parts that run one after another: that of the last one which is not elementwise."""
    for part in reversed(parts):
        if not _is_elementwise(part):
            return layout_of(part)
    return None


def _parts_in_sequence(module: nn.Module) -> dict[str, nn.Module] | None:
    """Give name -> part of a module that runs its parts one after another; None for any other module."""
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return None
    # named_children() would leave out a part that stands in the sequence twice
    return {name: part for name, part in module._modules.items() if part is not None}


def _is_elementwise(module: nn.Module) -> bool:
    """Whether the module changes every number by itself, so that the axes of its input stay where they are."""
    if isinstance(module, nn.MultiheadAttention):  # torch defines it among the activations
        return False
    return isinstance(module, nn.Identity) or type(module).__module__ in _ELEMENTWISE
