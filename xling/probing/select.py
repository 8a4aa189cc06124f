"""Which modules of a LightningModule are its layers."""

from collections.abc import Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

from xling.errors import XlingValueError
from xling.models.layers import layer_modules
from xling.models.named_modules import modules_named


def find_encoder(module: nn.Module) -> nn.Module | None:
    """The first Hugging Face model inside `module`, or None."""
    return next((part for part in module.modules() if isinstance(part, PreTrainedModel)), None)


LayerChoice = str | Sequence[str] | Mapping[str, str | None] | None


def select_layers(module: nn.Module, layers: LayerChoice = None) -> dict[str, nn.Module]:
    """Name the layers to look at.

    Args:
        module: any module.
        layers: shell-style patterns over ``named_modules()``, e.g. ``"features.*"``; None: all layers of the Hugging
            Face encoder inside, labelled ``layer_00`` (embedding output) to ``layer_NN``; a mapping: the same for an
            architecture that is not known, see `override` of :func:`xling.models.layers.find_layers`.

    Returns:
        Label -> module whose output is that layer, in the model's order.

    Raises:
        XlingValueError: nothing matches, or there is no Hugging Face encoder and no pattern.
    """
    if layers is None or isinstance(layers, Mapping):
        if layers is None and find_encoder(module) is None:
            raise XlingValueError(
                f"{type(module).__name__} holds no Hugging Face encoder; name its layers, e.g. layers=['features.*']"
            )
        return {layer_label(index): part for index, part in layer_modules(module, layers)}
    return modules_named(module, layers)


def is_by_name(layers: LayerChoice) -> bool:
    """Whether `layers` names modules; otherwise they are an encoder's."""
    return layers is not None and not isinstance(layers, Mapping)


def layer_label(index: int) -> str:
    """Name of a numbered layer in logs and files.

    >>> layer_label(7)
    'layer_07'
    """
    return f"layer_{index:02d}"
