"""Puts low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685) into an encoder, through the peft library.

The encoder keeps its class and module names, so that layers are found, hooked and numbered as without adapters. A new
adapter adds exactly nothing: its second matrix is 0 until the first optimiser step.
"""

import copy
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from torch import Tensor, nn

from xling.errors import XlingValueError, close_matches
from xling.models.config import config_of
from xling.models.layers import find_encoder

TARGETS = {"distilbert": ["q_lin", "v_lin"], "umt5": ["q", "v"], "modernbert": ["Wqkv"]}
"""Queries and values, as peft chooses itself for the other architectures of :data:`xling.models.layers.ARCHITECTURES`."""


def check_peft() -> None:
    """Refuse to go on without the package.

    Raises:
        XlingValueError: peft is not installed.
    """
    if find_spec("peft") is None:
        raise XlingValueError("freeze=lora needs the package peft: pip install 'xling[lora]'")


def add_adapters(
    module: nn.Module,
    *,
    r: int = 8,
    alpha: float | None = None,
    target_modules: Sequence[str] | str | None = None,
    adapter_dropout: float = 0.0,
    override: Mapping[str, str | None] | None = None,
) -> list[str]:
    """Freeze the encoder inside `module` and put a trainable adapter beside some of its linear maps, in place.

    A map W becomes ``W + alpha / r * B A`` with A [r, in] random (torch's global generator) and B [out, r] zero.

    Args:
        module: an encoder or anything around one; what is outside the encoder (a head) is left as it is.
        r: rank, at least 1.
        alpha: scale; None: 2 r, so that the factor stays 2 whatever the rank.
        target_modules: last parts of the names of the maps, e.g. ``["query", "value"]``, or ``all-linear``; None: queries
            and values.
        adapter_dropout: probability before A, 0..1.
        override: module paths of an unknown architecture, see :func:`xling.models.layers.find_layers`.

    Returns:
        Full names of the frozen parameters.

    Raises:
        XlingValueError: peft is not installed, or no map has such a name.
    """
    check_peft()
    from peft import LoraConfig, inject_adapter_in_model  # an extra, and slow to import

    encoder = find_encoder(module, override)
    if any(".lora_A." in name for name, _ in encoder.named_parameters()):
        return _frozen_names(module)  # a second fit of the same module goes on with its adapters
    model_type = config_of(encoder).model_type
    targets = target_modules if isinstance(target_modules, str) else list(target_modules or TARGETS.get(model_type, []))
    _check_targets(encoder, targets)
    settings = {
        "r": r,
        "lora_alpha": 2 * r if alpha is None else alpha,
        "lora_dropout": adapter_dropout,
        "target_modules": targets or None,
    }
    transposed = model_type == "gpt2"  # its Conv1D keeps weights as [in, out]
    try:
        inject_adapter_in_model(LoraConfig(**settings, fan_in_fan_out=transposed), encoder)
    except ValueError as error:  # peft knows no default for the architecture
        raise XlingValueError(
            f"{str(error).splitlines()[0]} ({model_type}); set freeze.target_modules=[...]"
        ) from error
    return _frozen_names(module)


def _frozen_names(module: nn.Module) -> list[str]:
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


def _check_targets(encoder: nn.Module, targets: Sequence[str] | str) -> None:
    if isinstance(targets, str):
        if targets != "all-linear":
            raise XlingValueError(f"expected freeze.target_modules to be a list or all-linear, got {targets!r}")
        return
    names = {name for name, part in encoder.named_modules() if getattr(part, "weight", None) is not None}
    known = sorted({name.rsplit(".", 1)[-1] for name in names})
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise XlingValueError(
                f"no module of {config_of(encoder).model_type} is called {target!r}; expected freeze.target_modules among "
                f"{', '.join(name for name in known if not name.isdigit())}{close_matches(target, known)}"
            )


def merge_adapters(
    module: nn.Module, state: Mapping[str, Tensor], options: Mapping, override: Mapping[str, str | None] | None = None
) -> dict[str, Tensor]:
    """Turn the weights of a module with adapters into those of one without that computes the same.

    Args:
        module: the module without adapters; it is left as it is.
        state: state dict with adapters.
        options: the arguments of :func:`add_adapters` they were made with.
        override: see :func:`add_adapters`.

    Returns:
        State dict with the names of `module`.
    """
    adapted = copy.deepcopy(module)
    add_adapters(adapted, **options, override=override)
    adapted.load_state_dict(state)
    from peft.tuners.tuners_utils import BaseTunerLayer

    for part in adapted.modules():
        if isinstance(part, BaseTunerLayer):
            part.merge()
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in adapted.state_dict().items()
        if ".lora_" not in name
    }
