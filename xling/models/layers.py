"""Numbers and finds layers: layer 0 is the embedding output, layer i is ``hidden_states[i]``, the output of the i-th block.

This module alone knows where an architecture keeps its embeddings, blocks and final norm, and shifts between layer
and block index. The last layer is what leaves the final norm where an architecture has one, as in
``output_hidden_states=True``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from xling.checks import check_layer
from xling.errors import XlingValueError


@dataclass(frozen=True)
class Architecture:
    """Where an architecture keeps its layers, as module paths relative to the encoder.

    Attributes:
        embeddings: module whose output is layer 0 in evaluation mode.
        blocks: the ModuleList of blocks.
        final_norm: module that the last block's output passes through; None where there is none.
        also_embeddings: further modules with parameters that act before the first block or in every block. They belong to
            layer 0, since freezing the blocks alone would not keep the blocks' function fixed. Modules that a model does not
            have are ignored.
        after_first_block: module that the first block's output passes through, in models that have it.
    """

    embeddings: str
    blocks: str
    final_norm: str | None = None
    also_embeddings: tuple[str, ...] = ()
    after_first_block: str | None = None


_BERT = Architecture("embeddings", "encoder.layer")
_T5 = Architecture("encoder.embed_tokens", "encoder.block", "encoder.final_layer_norm", ("shared",))
_LLAMA = Architecture("embed_tokens", "layers", "norm")

ARCHITECTURES = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "distilbert": Architecture("embeddings", "transformer.layer"),
    "deberta-v2": Architecture(
        "embeddings",
        "encoder.layer",
        also_embeddings=("encoder.rel_embeddings", "encoder.LayerNorm"),
        after_first_block="encoder.conv",
    ),
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "modernbert": Architecture("embeddings", "layers", "final_norm"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gpt2": Architecture("drop", "h", "ln_f", ("wte", "wpe")),
}
"""transformers' ``config.model_type`` -> where its layers are; each is tested against ``output_hidden_states``."""

CAUSAL = ("llama", "mistral", "qwen2", "qwen3", "gpt2")
"""Decoders: a token sees only those before it."""

OVERRIDE_KEYS = ("embeddings", "blocks", "final_norm")


@dataclass(frozen=True)
class Layers:
    """The layers of one encoder, by full module name.

    Attributes:
        outputs: per layer, the module whose forward output is ``hidden_states[layer]``.
        owners: per layer, the modules that its parameters are in; the final norm belongs to the last layer.
        word_embeddings: the word-piece table, ``""`` where there is none. It is a part of layer 0 and no layer of its own.
    """

    outputs: tuple[str, ...]
    owners: tuple[tuple[str, ...], ...]
    word_embeddings: str

    @property
    def n_layers(self) -> int:
        """Number of blocks; layers run from 0 to this."""
        return len(self.outputs) - 1


def find_layers(module: nn.Module, override: Mapping[str, str | None] | None = None) -> Layers:
    """Find the layers of the encoder that `module` is or holds.

    Args:
        module: an encoder, or anything around one (a LightningModule, a model with a head, a peft wrapper).
        override: for an architecture that is not known: module paths ``embeddings``, ``blocks`` and, where there is
            one, ``final_norm``, relative to the encoder.

    Returns:
        Names that ``module.get_submodule`` accepts.

    Raises:
        XlingValueError: `module` holds no known architecture, or the paths of `override` do not exist.
    """
    return _name_layers(module, *_find(module, override))


@contextmanager
def looking_in_setup(module: nn.Module, who: str) -> Iterator[None]:
    """Explain an error of the block where a callback's ``setup`` looks for layers that the module may not have built yet.

    Args:
        module: module in which layers are looked for.
        who: name of the callback, for the message.

    Raises:
        XlingValueError: the block raised it. Where the module may be unfinished, the message says when it must have its layers.
    """
    try:
        yield
    except XlingValueError as error:
        builds = [name for name in ("setup", "configure_model") if _is_overridden(module, name)]
        if not builds or any(_model_type(part) in ARCHITECTURES for part in module.modules()):
            raise
        raise XlingValueError(
            f"{type(module).__name__} does not have its layers yet when {who} looks for them, before the module's own "
            f"{' and '.join(builds)}; build them in __init__, or call xling.freezing.freeze_layers(self, plan) where they are "
            "built, before the optimiser is"
        ) from error


def _is_overridden(module: nn.Module, name: str) -> bool:
    """Whether `module` has a hook of this name of its own, and not only Lightning's empty one."""
    return (
        not getattr(type(module), name, None).__module__.startswith("pytorch_lightning.")
        if hasattr(module, name)
        else False
    )


def find_encoder(module: nn.Module, override: Mapping[str, str | None] | None = None) -> nn.Module:
    """Find the encoder that `module` is or holds; it takes and raises what :func:`find_layers` does."""
    return _find(module, override)[1]


def _find(module: nn.Module, override: Mapping[str, str | None] | None) -> tuple[str, nn.Module, Architecture]:
    for prefix, part, architecture in _candidates(module, override):
        if _fits(part, architecture):
            return prefix, part, architecture
    if override:
        raise XlingValueError(
            f"no module inside {type(module).__name__} has the paths {dict(override)}; see named_modules()"
        )
    found = sorted({model_type for part in module.modules() if (model_type := _model_type(part))})
    raise XlingValueError(
        f"the layers of {', '.join(found) or type(module).__name__} are not known, but those of "
        f"{', '.join(ARCHITECTURES)} are; set model.layers to the module paths "
        "{embeddings: ..., blocks: ..., final_norm: ...}"
    )


def layer_modules(module: nn.Module, override: Mapping[str, str | None] | None = None) -> list[tuple[int, nn.Module]]:
    """List (layer, module to hook): what a forward hook there receives, given to :func:`output_of`, are the layer's states.

    In architectures with a dropout after the embeddings (T5), layer 0 is read before it. In evaluation mode layer 0 equals
    ``hidden_states[0]`` in all architectures.
    """
    return [(layer, module.get_submodule(name)) for layer, name in enumerate(find_layers(module, override).outputs)]


def layer_parameters(
    module: nn.Module, layer: int, override: Mapping[str, str | None] | None = None
) -> list[tuple[str, nn.Parameter]]:
    """List (full name, parameter) of the parameters of `layer`, each once.

    Raises:
        XlingValueError: the encoder has no such layer.
    """
    layers = find_layers(module, override)
    check_layer(layer, layers.n_layers)
    found: dict[nn.Parameter, str] = {}
    for owner in layers.owners[layer]:
        for name, parameter in module.get_submodule(owner).named_parameters():
            found.setdefault(parameter, f"{owner}.{name}")
    return [(name, parameter) for parameter, name in found.items()]


def is_causal(module: nn.Module) -> bool:
    """Whether `module` is or holds a decoder, whose first token says nothing of what follows."""
    return any(_model_type(part) in CAUSAL for part in module.modules())


def output_of(hook_output: Any) -> Tensor:
    """Find the hidden states in a module's output: the tensor itself, or the first element of a tuple or of transformers' output.

    Raises:
        XlingValueError: what was found is no dense tensor of real numbers.
    """
    if isinstance(hook_output, tuple | list | ModelOutput):
        parts = hook_output.to_tuple() if isinstance(hook_output, ModelOutput) else hook_output
        first, what = (parts[0] if parts else None), f"{type(hook_output).__name__} that begins with "
    else:
        first, what = hook_output, ""
    if (
        isinstance(first, Tensor)
        and first.is_floating_point()
        and first.layout == torch.strided
        and not first.is_nested
    ):
        return first
    if not isinstance(first, Tensor):
        found = type(first).__name__
    else:
        found = (
            f"nested {first.dtype}"
            if first.is_nested
            else f"{first.layout} {first.dtype}".replace("torch.strided ", "")
        )
    raise XlingValueError(
        f"expected the output to be a dense tensor of real numbers, or to begin with one, got a {what}{found}"
    )


def _candidates(module: nn.Module, override: Mapping | None) -> Iterator[tuple[str, nn.Module, Architecture]]:
    """Every part of `module` with the architecture to look for in it, outermost first."""
    if override and set(override) - set(OVERRIDE_KEYS) | {"embeddings", "blocks"} - set(override):
        raise XlingValueError(f"expected model.layers to have {', '.join(OVERRIDE_KEYS)}, got {', '.join(override)}")
    for prefix, part in module.named_modules():
        if override:
            yield prefix, part, Architecture(**override)
        elif (model_type := _model_type(part)) in ARCHITECTURES:
            yield prefix, part, ARCHITECTURES[cast(str, model_type)]


def _model_type(part: nn.Module) -> str | None:
    return getattr(getattr(part, "config", None), "model_type", None)


def _has(part: nn.Module, path: str | None) -> bool:
    """Whether there is a module at `path`; an attribute that is None does not count (as DeBERTa's `conv` can be)."""
    found: Any = part
    for name in path.split(".") if path else ():
        found = getattr(found, name, None)
    return isinstance(found, nn.Module) and bool(path)


def _fits(part: nn.Module, architecture: Architecture) -> bool:
    needed = [architecture.embeddings, architecture.blocks, *filter(None, [architecture.final_norm])]
    return all(_has(part, path) for path in needed)


def _name_layers(module: nn.Module, prefix: str, part: nn.Module, architecture: Architecture) -> Layers:
    def full(path: str) -> str:
        return f"{prefix}.{path}" if prefix else path

    n_blocks = len(cast(nn.ModuleList, part.get_submodule(architecture.blocks)))
    blocks = [full(f"{architecture.blocks}.{index}") for index in range(n_blocks)]
    embeddings = [path for path in (architecture.embeddings, *architecture.also_embeddings) if _has(part, path)]
    outputs, owners = (
        [full(architecture.embeddings), *blocks],
        [tuple(map(full, embeddings)), *((name,) for name in blocks)],
    )
    for layer, path in ((1, architecture.after_first_block), (len(blocks), architecture.final_norm)):
        if path is not None and _has(part, path):
            outputs[layer] = full(path)
            owners[layer] += (full(path),)
    return Layers(tuple(outputs), tuple(owners), _name_word_embeddings(module, owners[0]))


def _name_word_embeddings(module: nn.Module, owners: tuple[str, ...]) -> str:
    """Find the first embedding table of layer 0, which is that of word pieces in every architecture above."""
    named = ((owner, name, child) for owner in owners for name, child in module.get_submodule(owner).named_modules())
    return next((f"{owner}.{name}".rstrip(".") for owner, name, child in named if isinstance(child, nn.Embedding)), "")
