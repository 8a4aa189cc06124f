"""Pools hidden states into one vector per example, or per word."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.registry import Registry


def masked_mean(hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    """Average over positions (sequence, or height and width), ignoring padding.

    Args:
        hidden_states: float [batch, hidden], [batch, sequence, hidden] or [batch, channel, height, width].
        mask: [batch, sequence], nonzero where a token is real; None: all tokens are.

    Returns:
        [batch, hidden] (or [batch, channel]) in the dtype of `hidden_states`.

    Raises:
        XlingValueError: `hidden_states` have another number of axes, or `mask` has another length.

    >>> masked_mean(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    if hidden_states.dim() == 2:
        return hidden_states
    if hidden_states.dim() == 4:
        return hidden_states.mean(dim=(2, 3))
    if hidden_states.dim() != 3:
        raise XlingValueError(f"expected 2 to 4 axes to average over, got {list(hidden_states.shape)}")
    if mask is None:
        return hidden_states.mean(dim=1)
    if mask.shape != hidden_states.shape[:2]:
        raise XlingValueError(
            f"the mask is {list(mask.shape)} and the hidden states are {list(hidden_states.shape)}: they differ in length"
        )
    weights = mask.to(hidden_states.dtype)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), hidden_states).squeeze(1)


def first_token(hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    """Take the first position, [CLS] in BERT: [batch, sequence, hidden] -> [batch, hidden]; `mask` is not used."""
    return hidden_states[:, 0]


def flatten(hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    """Put all positions side by side: [batch, ...] -> [batch, product]; every example must have the same size."""
    return hidden_states.flatten(start_dim=1)


def first_piece(hidden_states: Tensor, word_ids: Tensor) -> Tensor:
    """Take the first word piece of every word.

    Args:
        hidden_states: float [batch, sequence, hidden].
        word_ids: [batch, sequence] int64, equal for the pieces of a word, which stand together; -1 where there is no word.

    Returns:
        [n_words, hidden], words in the order of :func:`words_of`.

    >>> first_piece(torch.tensor([[[9.0], [1.0], [3.0], [5.0]]]), torch.tensor([[-1, 70, 70, 71]]))
    tensor([[1.],
            [5.]])
    """
    return hidden_states[_starts(word_ids)]


def mean_of_pieces(hidden_states: Tensor, word_ids: Tensor) -> Tensor:
    """Average over every word's pieces; arguments and result are those of :func:`first_piece`.

    >>> mean_of_pieces(torch.tensor([[[9.0], [1.0], [3.0], [5.0]]]), torch.tensor([[-1, 70, 70, 71]]))
    tensor([[2.],
            [5.]])
    """
    belongs, starts = word_ids >= 0, _starts(word_ids)
    row = starts.flatten().cumsum(0)[belongs.flatten()] - 1
    sums = hidden_states.new_zeros(int(starts.sum()), hidden_states.shape[-1])
    sums = sums.index_add(0, row, hidden_states[belongs])
    return sums / torch.bincount(row, minlength=len(sums)).unsqueeze(1)


def words_of(word_ids: Tensor) -> Tensor:
    """List the ids of the words in `word_ids` [batch, sequence], each once, in the order of rows and positions.

    >>> words_of(torch.tensor([[-1, 70, 70, 71], [-1, 80, -1, -1]]))
    tensor([70, 71, 80])
    """
    return word_ids[_starts(word_ids)]


def _starts(word_ids: Tensor) -> Tensor:
    before = torch.nn.functional.pad(word_ids, (1, 0), value=-1)[:, :-1]
    return (word_ids >= 0) & (word_ids != before)


Pooling = Callable[[Tensor, Any], Tensor]
"""Function of hidden states and a padding mask (a row per example), or of hidden states and word ids (a row per word)."""

POOLINGS: Registry[Pooling] = Registry(
    "pooling", "xling.poolings", {"mean": masked_mean, "cls": first_token, "flatten": flatten}
)
"""Name -> function of hidden states and padding mask: a row per example."""

WORD_POOLINGS: Registry[Pooling] = Registry(
    "pooling of words", "xling.word_poolings", {"word": first_piece, "word_mean": mean_of_pieces}
)
"""Name -> function of hidden states and word ids: a row per word."""


def get_probe_pooling(name: str | Pooling) -> Pooling:
    """Find a pooling of examples or of words by its name, or return the function itself.

    Raises:
        XlingValueError: there is no pooling of that name.
    """
    both = Registry(POOLINGS.kind, POOLINGS.group, POOLINGS.own | WORD_POOLINGS.own)
    if name not in both.own and name in WORD_POOLINGS:  # looking up what other packages bring takes a while
        return WORD_POOLINGS.find(name)
    return both.find(name)


def get_pooling(name: str | Pooling) -> Pooling:
    """Find a pooling of examples by its name or as ``package.module:name``, or return the function itself.

    Raises:
        XlingValueError: there is no pooling of that name.
    """
    return POOLINGS.find(name)
