"""Freezes a module in place, before an optimiser is built, by functions that work in any training loop."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from xling.freezing.lora import add_adapters
from xling.freezing.plan import FreezePlan
from xling.machine.private_torch import NormBase, SpectralNorm, forward_pre_hooks
from xling.models.layers import find_layers
from xling.models.named_modules import modules_named

_BEFORE = "was_training"
"""Attribute of a module that keeps the mode it had before its forward pass."""


def freeze_layers(
    module: nn.Module, plan: FreezePlan | str | Sequence[str], override: Mapping[str, str | None] | None = None
) -> list[str]:
    """Freeze in place: the parameters of `plan` get no gradient. Call it before the optimiser is built, in any loop.

    A parameter shared with a part that is not frozen (tied embeddings) is frozen there too, being the same tensor. Running
    statistics inside frozen layers (batch normalisation) stand still and are what these layers normalise by, for good.

    Args:
        module: an encoder or anything around one.
        plan: what to freeze of an encoder; or patterns of module names in a model of any kind, e.g. ``"features.0"``, see
            :func:`xling.models.named_modules.modules_named`.
        override: module paths of an unknown architecture, see :func:`xling.models.layers.find_layers`.

    Returns:
        Full names of the frozen parameters, each once.
    """
    if isinstance(plan, FreezePlan) and plan.adapts:
        return add_adapters(module, **plan.options, override=override)
    frozen: dict[nn.Parameter, str] = {}
    for owner in frozen_modules(module, plan, override):
        for name, parameter in module.get_submodule(owner).named_parameters():
            parameter.requires_grad_(False)
            frozen.setdefault(parameter, f"{owner}.{name}")
        _freeze_statistics(module.get_submodule(owner))
        if isinstance(plan, FreezePlan) and plan.dropout == "off":
            switch_off_dropout(module.get_submodule(owner))
    return list(frozen.values())


def frozen_modules(
    module: nn.Module, plan: FreezePlan | str | Sequence[str], override: Mapping[str, str | None] | None = None
) -> list[str]:
    """Names of the modules that :func:`freeze_layers` freezes whole; with adapters none."""
    if not isinstance(plan, FreezePlan):
        names = {id(part): name for name, part in module.named_modules()}  # as they are, where a part is compiled
        return [names[id(part)] for part in modules_named(module, plan).values()]
    layers = find_layers(module, override)
    owners = [owner for layer in plan.layers_of(layers.n_layers) for owner in layers.owners[layer]]
    return [*owners, *([layers.word_embeddings] if plan.word_embeddings else [])]


def _freeze_statistics(module: nn.Module) -> None:
    """Have what gathers statistics as it trains run as in evaluation, whatever ``train()`` of a parent says later.

    These are the norms with running statistics and the power iteration of spectral normalisation. Dropout is another matter,
    and so is a module of somebody's own: :class:`xling.callbacks.LayerFreezing` finds those by what they change.
    """
    for part in module.modules():
        gathers = isinstance(part, NormBase) and part.running_mean is not None
        if (gathers or isinstance(part, SpectralNorm)) and _to_evaluation not in forward_pre_hooks(part):
            part.register_forward_pre_hook(_to_evaluation)
            part.register_forward_hook(_back, always_call=True)


def _to_evaluation(part: nn.Module, inputs: tuple) -> None:
    setattr(part, _BEFORE, part.training)
    part.training = False


def _back(part: nn.Module, inputs: tuple, output: Tensor) -> None:
    part.training = getattr(part, _BEFORE)


def switch_off_dropout(module: nn.Module) -> None:
    """Set every dropout probability inside `module` to 0, for good.

    Evaluation mode would not last, since ``train()`` on a parent ends it. Attention reads its probability from a
    dropout module (BERT) or from an attribute such as `attention_dropout` (Llama), so both are set.
    """
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        for name, value in vars(part).items():
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, 0.0)
