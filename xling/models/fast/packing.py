"""Runs an encoder without padding: the real tokens of a batch become one long sequence, with attention within each example.

Tokens are taken out of the padded batch once, before layer 0, and put back once, after the last layer, so that heads
and poolings ([CLS], masked mean) see the shape they always see. In between nothing is computed for padding.
Attention runs without a mask. On a GPU it runs over all examples at once, by torch's kernels for sequences of any lengths; on a CPU
it runs over one group of examples of equal length after another, of which a batch of similar lengths has few.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from xling.errors import XlingValueError
from xling.models.config import config_of
from xling.models.fast.attention import attend
from xling.models.fast.prefix import blocks_after

ATTENTION = "xling_packed"
FIRST_POSITION = {"bert": lambda config: 0} | dict.fromkeys(
    ("roberta", "xlm-roberta"), lambda config: config.pad_token_id + 1
)
"""transformers' ``config.model_type`` -> position of an example's first token, for the architectures that pack."""


def encode_packed(
    encoder: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    token_type_ids: Tensor | None = None,
    prefix: tuple[int, Tensor] | None = None,
) -> Tensor:
    """Compute the encoder's last hidden states for real tokens only.

    Args:
        encoder: a Hugging Face encoder of an architecture in `FIRST_POSITION`.
        input_ids: [batch, sequence] int64.
        attention_mask: [batch, sequence], 1 where a token is real; every example has at least one, and padding follows
            the real tokens.
        token_type_ids: [batch, sequence] int64, or None.
        prefix: a layer and its output [batch, sequence, hidden] to start from, see :mod:`xling.models.fast.prefix`; None: start
            from the tokens.

    Returns:
        [batch, sequence, hidden], 0 at padding. Without dropout it equals the padded forward pass up to rounding; with dropout
        other random numbers are drawn, because there are fewer places.

    Raises:
        XlingValueError: encoders of this architecture cannot be packed.
    """
    first_position = FIRST_POSITION[check_packs(encoder)](encoder.config)
    lengths = attention_mask.sum(1)
    order = lengths.argsort(stable=True)  # equal lengths side by side
    is_real = attention_mask[order].bool()
    positions = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)[is_real] + first_position
    inputs = {"input_ids": input_ids[order][is_real][None], "position_ids": positions[None]}
    if token_type_ids is not None:
        inputs["token_type_ids"] = token_type_ids[order][is_real][None]
    with _attention_within_examples(encoder), ExitStack() as stack:
        if prefix is not None:
            stack.enter_context(blocks_after(encoder, prefix[0], prefix[1][order][is_real][None]))
        lengths = lengths[order]
        offsets = nn.functional.pad(lengths.cumsum(0), (1, 0))
        hidden_states = encoder(**inputs, example_lengths=lengths.tolist(), example_offsets=offsets)[0][0]
    padded = hidden_states.new_zeros(*input_ids.shape, hidden_states.shape[-1])
    padded[is_real] = hidden_states
    return padded[order.argsort()]


def check_packs(encoder: nn.Module) -> str:
    """Return the encoder's model type if it can run without padding.

    Raises:
        XlingValueError: encoders of this model type cannot be packed.
    """
    model_type = config_of(encoder).model_type
    if model_type not in FIRST_POSITION:
        raise XlingValueError(
            f"packed=true works for {', '.join(FIRST_POSITION)}, not for {model_type}; set packed=false"
        )
    return model_type


@contextmanager
def _attention_within_examples(encoder: nn.Module) -> Iterator[None]:
    # every attention layer looks up its function by this name at each call; no layer itself is touched
    config = config_of(encoder)
    before = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    example_lengths: list[int],
    example_offsets: Tensor,
    **unused,
) -> tuple[Tensor, None]:
    """Attention of packed examples, as transformers calls it.

    Args:
        module: the attention module, which is not used.
        query: [1, heads, total, head size], where `total` counts the tokens of all examples.
        key: of the same shape.
        value: of the same shape.
        attention_mask: not used, since there is no padding.
        dropout: probability of dropping an attention weight, 0..1.
        scaling: factor of the scores; None: 1 / sqrt(head size).
        example_lengths: number of tokens in each example, ascending; they add up to `total`.
        example_offsets: int64 [examples + 1], the position at which each example begins, and `total`.
        **unused: arguments of other attention functions.

    Returns:
        [1, total, heads, head size], and None for the weights.
    """
    queries, keys, values = (part[0].transpose(0, 1) for part in (query, key, value))  # [total, heads, head size]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.is_cuda:
        attended = attend_ragged(queries, keys, values, example_lengths, example_offsets, dropout, scale)
    else:
        attended = attend_by_length(queries, keys, values, example_lengths, dropout, scale)
    return attended[None], None


def attend_by_length(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], dropout: float, scale: float
) -> Tensor:
    """Attention within each example, for all examples of one length at a time.

    Args:
        query: [total, heads, head size].
        key: of the same shape.
        value: of the same shape.
        lengths: number of tokens in each example, ascending; they add up to `total`.
        dropout: probability of dropping an attention weight, 0..1.
        scale: factor of the scores.

    Returns:
        [total, heads, head size].
    """
    shapes = [(n_examples, length) for length, n_examples in _runs(lengths)]
    sizes = [n_examples * length for n_examples, length in shapes]
    # not slices: the gradient of each would be as large as the whole
    groups = zip(*(states.split(sizes) for states in (query, key, value)), strict=True)
    outputs = []
    for shape, group in zip(shapes, groups, strict=True):
        queries, keys, values = (part.unflatten(0, shape).transpose(1, 2) for part in group)
        outputs.append(attend(queries, keys, values, None, dropout, scale).transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def attend_ragged(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], offsets: Tensor, dropout: float, scale: float
) -> Tensor:
    """Attention within each example in one call, by torch's kernels for sequences of any lengths.

    Only GPUs have these kernels; on a CPU torch would loop over the examples. Arguments and result are those of
    :func:`attend_by_length`, besides `offsets`, int64 [examples + 1], the positions at which examples begin, on the same device.
    """
    extremes: dict[str, Any] = {"min_seqlen": min(lengths), "max_seqlen": max(lengths)}
    queries, keys, values = (
        torch.nested.nested_tensor_from_jagged(states.contiguous(), offsets, **extremes).transpose(1, 2)
        for states in (query, key, value)
    )
    attended = nn.functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, scale=scale)
    return attended.transpose(1, 2).values()


def _runs(lengths: list[int]) -> Iterator[tuple[int, int]]:
    """Yield each different length, and how many consecutive examples have it."""
    start = 0
    for index in range(1, len(lengths) + 1):
        if index == len(lengths) or lengths[index] != lengths[start]:
            yield lengths[start], index - start
            start = index


AttentionInterface.register(ATTENTION, packed_attention)
