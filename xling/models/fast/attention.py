"""Speeds up attention with dropout on a CPU: torch's fused kernel has no dropout there, so that torch takes a slow one.

It is registered with transformers under :data:`ATTENTION`. In evaluation, on a GPU, in compiled code and for anything but plain
attention it is transformers' own call of torch's scaled dot product attention, to the bit.
"""

from typing import cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from xling.models.config import config_of
from xling.models.fast.dropout import dropout as drop

ATTENTION = "xling"
_SPECIAL = ("position_bias", "cache", "softcap")
"""Arguments that change transformers' attention if they are given; others do not."""


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float) -> Tensor:
    """Scaled dot product attention, softmax(query key^T scale) value, with dropout on the weights.

    Args:
        query: [batch, heads, n, size].
        key: [batch, heads, m, size].
        value: [batch, heads, m, size].
        mask: bool, true where a key counts, broadcastable to [batch, heads, n, m]; every query must have such a key. None: all
            keys count.
        dropout: probability of dropping a weight, 0..1.
        scale: factor of the scores.

    Returns:
        [batch, heads, n, size] in the dtype of `value`; computed in float32 at least, as in torch's kernels.
    """
    if not _has_slow_kernel(query, dropout):
        return nn.functional.scaled_dot_product_attention(query, key, value, mask, dropout, scale=scale)
    with torch.autocast(query.device.type, enabled=False):
        wide_query, wide_key, wide_value = (_widened(states) for states in (query, key, value))
        scores = (wide_query * scale) @ wide_key.transpose(-1, -2)
        if mask is not None:
            scores += torch.zeros((), dtype=scores.dtype).masked_fill(~mask, -torch.inf)
        return (drop(scores.softmax(-1), dropout) @ wide_value).to(value.dtype)


def _widened(states: Tensor) -> Tensor:
    """Convert to float32 at least and to contiguous memory in one pass; a matrix product would copy what is not contiguous."""
    wide = torch.promote_types(states.dtype, torch.float32)
    return states.to(wide, memory_format=torch.contiguous_format)


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it; arguments and result are those of its ``sdpa_attention_forward``."""
    if scaling is None or not (_has_slow_kernel(query, dropout) and _is_plain(module, attention_mask, scaling, others)):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **others)
    return attend(query, key, value, attention_mask, dropout, scaling).transpose(1, 2).contiguous(), None


def _is_plain(module: nn.Module, mask: Tensor | None, scaling: float | None, others: dict) -> bool:
    """Whether only scores, mask and dropout are asked of transformers' function, and no causality, bias, cache or groups."""
    is_causal = others.get("is_causal")
    is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    return (
        (not is_causal if mask is None else mask.dtype == torch.bool)
        and scaling is not None
        and getattr(module, "num_key_value_groups", 1) == 1
        and all(others.get(name) is None for name in _SPECIAL)
    )


def use_processor_attention(encoder: nn.Module) -> None:
    """Have a Hugging Face encoder use this attention, if it uses torch's scaled dot product attention now."""
    if config_of(encoder)._attn_implementation == "sdpa":
        cast(PreTrainedModel, encoder).set_attn_implementation(ATTENTION)


def _has_slow_kernel(query: Tensor, dropout: float) -> bool:
    return query.device.type == "cpu" and dropout > 0 and not torch.compiler.is_compiling()


AttentionInterface.register(ATTENTION, attention_forward)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
