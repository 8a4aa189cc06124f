"""One vector per example out of a hidden state."""

import torch
from torch import Tensor

from xling.errors import XlingValueError, close_matches


def masked_mean(hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    """Average over positions (sequence, or height and width), ignoring padding.

    Args:
        hidden_states: [batch, hidden], [batch, sequence, hidden] or [batch, channel, height, width].
        mask: [batch, sequence], nonzero where a token is real; None: all are.

    Returns:
        [batch, hidden] (or [batch, channel]) in the dtype of `hidden_states`.

    >>> masked_mean(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    if hidden_states.dim() == 2:
        return hidden_states
    if hidden_states.dim() == 4:
        return hidden_states.mean(dim=(2, 3))
    if mask is None:
        return hidden_states.mean(dim=1)
    weights = mask.to(hidden_states.dtype)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), hidden_states).squeeze(1)


def first_token(hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    """The first position, [CLS] in BERT. [batch, sequence, hidden] -> [batch, hidden]; `mask` is not needed."""
    return hidden_states[:, 0]


def flatten(hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    """All positions side by side, [batch, ...] -> [batch, product]; every example must have the same size."""
    return hidden_states.flatten(start_dim=1)


POOLINGS = {"mean": masked_mean, "cls": first_token, "flatten": flatten}


def get_pooling(name: str):
    """Find a pooling by name.

    Raises:
        XlingValueError: there is none of that name.
    """
    if name not in POOLINGS:
        raise XlingValueError(
            f"unknown pooling {name!r}; expected {', '.join(POOLINGS)}{close_matches(name, POOLINGS)}"
        )
    return POOLINGS[name]
