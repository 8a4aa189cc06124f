"""Groups parameters by layer, in an encoder or in a module of any kind."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.interventions.layer_shares import layers_in, parse_shares
from xling.models.layers import find_layers
from xling.models.named_modules import modules_named

LayerNames = str | Sequence[str] | Mapping[str, str | None] | None
"""Where a module's layers are: patterns of module names, each match one layer; or the module paths of an encoder of an unknown
architecture; None: the layers of a known encoder."""


def parameters_by_layer(module: nn.Module, names: LayerNames = None) -> list[list[nn.Parameter]]:
    """List the parameters of every layer, lowest first; one that two layers share belongs to the lower.

    Args:
        module: an encoder or anything around one; or a module of any kind, with `names`.
        names: shell-style patterns over ``named_modules()``, each match a layer, numbered from 0 in the model's order; None or a
            mapping: an encoder's layers, see :func:`xling.models.layers.find_layers`.

    Raises:
        XlingValueError: nothing matches, or the encoder's layers are not known.
    """
    if names is None or isinstance(names, Mapping):
        owners = [[module.get_submodule(name) for name in parts] for parts in find_layers(module, names).owners]
    else:
        owners = [[part] for part in modules_named(module, names).values()]
    known: set[nn.Parameter] = set()
    layers = []
    for parts in owners:
        own = dict.fromkeys(parameter for part in parts for parameter in part.parameters() if parameter not in known)
        known.update(own)
        layers.append(list(own))
    return layers


def choose_layers(layers: str | int | Iterable[int] | None, n_layers: int) -> tuple[int, ...]:
    """Choose the layers an intervention treats.

    Args:
        layers: layers in the notation of :func:`~xling.interventions.layer_shares.parse_shares`; None: all.
        n_layers: index of the top layer; 0 are the embeddings.

    Returns:
        Indices of layers, ascending.

    Raises:
        XlingValueError: `layers` names a layer that does not exist.
    """
    return tuple(range(n_layers + 1)) if layers is None else layers_in(parse_shares(layers), n_layers)


def drop_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Have the next optimiser step leave parameters and their optimiser states alone, as if they were frozen.

    Optimisers skip a parameter whose gradient is None. A gradient of zeros would not do, since momentum and weight decay would
    still move the parameter.
    """
    for parameter in parameters:
        parameter.grad = None


def trainable(parameters: Iterable[nn.Parameter], what: str) -> list[nn.Parameter]:
    """Pick the parameters that require a gradient.

    Args:
        parameters: parameters of the treated layers.
        what: name of the intervention, for the message.

    Raises:
        XlingValueError: no parameter requires a gradient, so that the intervention would do nothing.
    """
    found = [parameter for parameter in parameters if parameter.requires_grad]
    if not found:
        raise XlingValueError(f"{what} treats layers of which no parameter trains; name others, or freeze fewer")
    return found


def copies_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Copy tensors; the copies take no part in gradients and stay as they are when training goes on."""
    return [parameter.detach().clone() for parameter in parameters]
