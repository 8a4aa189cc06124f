"""The pure functions that freeze a module in place, before an optimiser is built, in any training loop."""

from collections.abc import Mapping

from torch import nn

from xling.freezing.lora import add_adapters
from xling.freezing.plan import FreezePlan
from xling.models.layers import find_layers


def freeze_layers(module: nn.Module, plan: FreezePlan, override: Mapping[str, str | None] | None = None) -> list[str]:
    """Freeze in place: the parameters of `plan` get no gradient. Call it before the optimiser is built, in any loop.

    A parameter shared with a part that is not frozen (tied embeddings) is frozen there too, being the same tensor.

    Args:
        module: an encoder or anything around one.
        plan: what to freeze.
        override: module paths of an unknown architecture, see :func:`xling.models.layers.find_layers`.

    Returns:
        Full names of the frozen parameters, each once.
    """
    if plan.adapts:
        return add_adapters(module, **plan.options, override=override)
    layers = find_layers(module, override)
    owners = [owner for layer in plan.layers_of(layers.n_layers) for owner in layers.owners[layer]]
    if plan.dropout == "off":
        for owner in owners:
            switch_off_dropout(module.get_submodule(owner))
    frozen = {}
    for owner in [*owners, *([layers.word_embeddings] if plan.word_embeddings else [])]:
        for name, parameter in module.get_submodule(owner).named_parameters():
            parameter.requires_grad_(False)
            frozen.setdefault(parameter, f"{owner}.{name}")
    return list(frozen.values())


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
