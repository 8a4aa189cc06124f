"""Estimates how much memory training will need, by following one step of the encoder without computing it.

The encoder is built on torch's meta device, which knows shapes and types but no numbers. It is frozen as the run will freeze it,
and given one batch of the longest examples allowed. The tensors that autograd then keeps for the backward pass are those that
training will keep.
"""

import copy
import functools
import json
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, PretrainedConfig
from transformers.masking_utils import AttentionMaskInterface

from xling.freezing.apply import freeze_layers
from xling.freezing.plan import FreezePlan, plan_freezing
from xling.models.encoders import auto_class
from xling.models.size import find_config
from xling.models.spec import EncoderSpec
from xling.settings import RunSettings

FUSED, PLAIN = "xling_counted_fused", "xling_counted_plain"
"""Names under which two attentions are registered with transformers: one keeps what a GPU's fused kernels keep, which is no weights
of pairs of tokens; the other keeps these weights too."""


@dataclass(frozen=True)
class TrainingMemory:
    """The largest number of bytes that the encoder needs during a step of training.

    Attributes:
        weights: bytes of the encoder's weights.
        gradients: bytes of one gradient for each weight that trains.
        moments: bytes of AdamW's two moments for each weight that trains.
        activations: bytes that the forward pass keeps for the backward pass, of one batch of the longest examples allowed; under
            mixed precision they include the copies of weights in half precision.
    """

    weights: int
    gradients: int
    moments: int
    activations: int

    @property
    def total(self) -> int:
        """Sum of all parts, in bytes."""
        return self.weights + self.gradients + self.moments + self.activations


def estimate_memory(settings: RunSettings, precision: str, *, is_gpu: bool) -> TrainingMemory | None:
    """Estimate the memory of a run's training on one device; None where the encoder's configuration is not on this machine.

    The head, the device's own needs, and gaps between blocks of memory are left out, and so is what is saved where only the used
    rows of the word-piece table train.

    Args:
        settings: settings of the run.
        precision: precision of training, from :func:`xling.machine.run_precision.resolve_precision`.
        is_gpu: whether attention is computed by a GPU's fused kernels, which keep no weights of pairs of tokens.
    """
    trainer = settings.trainer
    n_processes = trainer.num_nodes * (
        trainer.devices if isinstance(trainer.devices, int) and trainer.devices > 0 else 1
    )
    batch = -(-settings.data.batch_size // (n_processes * trainer.accumulate_grad_batches))
    plan = {"strategy": settings.freeze.strategy, "dropout": settings.freeze.dropout, **settings.freeze.options}
    shape = (batch, settings.data.max_length)
    return _estimate(json.dumps(vars(settings.model)), json.dumps(plan), shape, precision, is_gpu)


@functools.lru_cache
def _estimate(model: str, plan: str, shape: tuple[int, int], precision: str, is_gpu: bool) -> TrainingMemory | None:
    spec = EncoderSpec(**json.loads(model))
    config = find_config(spec)
    if config is None:
        return None
    return count_memory(config, plan_freezing(**json.loads(plan)), shape, precision, spec=spec, is_gpu=is_gpu)


def count_memory(
    config: PretrainedConfig,
    plan: FreezePlan,
    shape: tuple[int, int],
    precision: str,
    *,
    spec: EncoderSpec,
    is_gpu: bool,
) -> TrainingMemory:
    """Count the memory that one step of training needs.

    Args:
        config: configuration of the encoder.
        plan: plan of what is frozen.
        shape: number of examples and of tokens in a batch.
        precision: ``32-true``, ``bf16-mixed``, ``16-mixed``, ``bf16-true`` or ``64-true``.
        spec: specification of the encoder, for the module paths of an unknown architecture.
        is_gpu: see :func:`estimate_memory`.
    """
    config = copy.deepcopy(config)
    with torch.device("meta"):
        encoder = auto_class(config).from_config(config, attn_implementation=FUSED if is_gpu else PLAIN).train()
        encoder.config.use_cache = False
        freeze_layers(encoder, plan, spec.layers)
        kept = _kept_bytes(encoder, shape, precision)
    sizes = {parameter: parameter.numel() for parameter in encoder.parameters()}
    trained = sum(size for parameter, size in sizes.items() if parameter.requires_grad)
    each = {"64-true": 8, "bf16-true": 2}.get(precision, 4)
    return TrainingMemory(each * sum(sizes.values()), each * trained, 2 * each * trained, kept)


def _kept_bytes(encoder: nn.Module, shape: tuple[int, int], precision: str) -> int:
    """Count the bytes of all tensors that autograd keeps of a forward pass, each storage once, without the weights."""
    encoder.to({"bf16-true": torch.bfloat16, "64-true": torch.float64}.get(precision, torch.float32))
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    own = {tensor.untyped_storage()._cdata for tensor in (*encoder.parameters(), *encoder.buffers())}
    kept: dict[int, Tensor] = {}  # the tensors are kept, since the address of a freed one would be given to another

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    ids = torch.zeros(shape, dtype=torch.int64)
    with (
        _Autocast(half) if half else nullcontext(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        encoder(input_ids=ids, attention_mask=torch.ones(shape, dtype=torch.int64))[0].sum()
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)


class _Autocast(TorchFunctionMode):
    """Does what ``torch.autocast`` does, for the meta device, which has none: products in half precision, norms in float32."""

    PRODUCTS = frozenset({nn.functional.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.addmm})
    NORMS = frozenset({nn.functional.layer_norm, nn.functional.rms_norm, nn.functional.softmax, torch.softmax, Tensor.softmax,
                       Tensor.pow, torch.rsqrt})  # fmt: skip

    def __init__(self, half: torch.dtype) -> None:
        super().__init__()
        self.half = half

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Cast the arguments, as the function wants them."""
        dtype = self.half if function in self.PRODUCTS else torch.float32 if function in self.NORMS else None
        if dtype is not None:
            args = tuple(_cast(value, dtype) for value in args)
            kwargs = {name: _cast(value, dtype) for name, value in (kwargs or {}).items()}
        return function(*args, **(kwargs or {}))


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


class _Fused(torch.autograd.Function):
    """Attention that computes nothing, but keeps queries, keys, values, result and a number per query, as fused kernels do."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty(*query.shape[:-1], value.shape[-1], dtype=query.dtype, device=query.device)
        ctx.save_for_backward(query, key, value, result, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("there are no numbers to differentiate")


def _fused(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
    key, value = _for_every_head(query, key), _for_every_head(query, value)
    return cast(Tensor, _Fused.apply(query, key, value)).transpose(1, 2).contiguous(), None


def _plain(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, dropout: float = 0.0, **_: Any
) -> tuple[Tensor, None]:
    key, value = _for_every_head(query, key), _for_every_head(query, value)
    weights = (query @ key.transpose(-1, -2)).softmax(-1)
    return (nn.functional.dropout(weights, dropout) @ value).transpose(1, 2).contiguous(), None


def _for_every_head(query: Tensor, states: Tensor) -> Tensor:
    """Repeat keys or values that several heads share, once per head."""
    return (
        states.repeat_interleave(query.shape[1] // states.shape[1], dim=1)
        if query.shape[1] > states.shape[1]
        else states
    )


def _no_mask(*_: Any, **__: Any) -> None:
    """Make no mask, since what is masked changes numbers, but no memory."""


for _name, _attention in ((FUSED, _fused), (PLAIN, _plain)):
    AttentionInterface.register(_name, _attention)
    AttentionMaskInterface.register(_name, _no_mask)
