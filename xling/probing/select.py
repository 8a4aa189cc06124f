"""Finds which modules of a LightningModule are its layers."""

from collections.abc import Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

from xling.errors import XlingValueError
from xling.models.layers import layer_modules
from xling.models.named_modules import modules_named


def find_encoder(module: nn.Module) -> nn.Module | None:
    """Find the first Hugging Face model inside `module`; None where there is none."""
    return next((part for part in module.modules() if isinstance(part, PreTrainedModel)), None)


LayerChoice = str | Sequence[str] | Mapping[str, str | None] | None
"""What a user may give as `layers`, see :func:`select_layers`."""


def select_layers(module: nn.Module, layers: LayerChoice = None) -> dict[str, nn.Module]:
    """Find the layers whose outputs are to be read.

    Args:
        module: the module that holds them.
        layers: shell-style patterns over ``named_modules()``, e.g. ``"features.*"``; None: all layers of the Hugging
            Face encoder inside, labelled ``layer_00`` (embedding output) to ``layer_NN``; a mapping: the same for an
            architecture that is not known, see `override` of :func:`xling.models.layers.find_layers`.

    Returns:
        Label -> module whose output is that layer, in the model's order.

    Raises:
        XlingValueError: no module matches, or there is no Hugging Face encoder and no pattern.
    """
    if layers is None or isinstance(layers, Mapping):
        if layers is None and find_encoder(module) is None:
            raise XlingValueError(
                f"{type(module).__name__} holds no Hugging Face encoder; name its layers, e.g. layers=['features.*']"
            )
        return {layer_label(index): part for index, part in layer_modules(module, layers)}
    return modules_named(module, layers)


def is_by_name(layers: LayerChoice) -> bool:
    """Whether `layers` chooses modules by name; otherwise the layers are those of an encoder."""
    return layers is not None and not isinstance(layers, Mapping)


def layer_label(index: int) -> str:
    """Give the name of a numbered layer in logs and files.

    >>> layer_label(7)
    'layer_07'
    """
    return f"layer_{index:02d}"
