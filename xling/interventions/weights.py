"""Intervenes on weights after training, by pure functions of state dicts: blending two models' layers, averaging models."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.interventions.layer_shares import HEAD, Shares, check_share, layers_in

State = Mapping[str, Tensor]


def blend_layers(
    own: State, other: State, owners: Sequence[Sequence[str]], shares: Shares, whose: str = "the base model"
) -> dict[str, Tensor]:
    """Put another model's weights into some layers: ``share * other + (1 - share) * own``.

    With the base as the other model layers are reverted; with a model trained on another language they are swapped (Bandarkar
    et al. 2025, arXiv:2410.01335), shares between 0 and 1 being that paper's transition layers.

    Args:
        own: state dict of a fine-tuned model.
        other: state dict of a model of the same architecture.
        owners: per layer, the modules that make it (:attr:`xling.models.layers.Layers.owners`).
        shares: layer, or ``head`` (all that belongs to no layer), -> share of the other's weights, 0..1. Shares of 0 and 1 give
            either model's weights to the bit.
        whose: the other model, in words, for messages.

    Returns:
        A new state dict with the keys of `own`, whose tensors are shared where nothing is blended.

    Raises:
        XlingValueError: a share is outside 0..1, a layer does not exist or has no weights, or `other` lacks a tensor or has it
            in another shape.

    >>> own, base = {"a.w": torch.tensor([4.0])}, {"a.w": torch.tensor([0.0])}
    >>> blend_layers(own, base, [["a"]], {0: 0.25})["a.w"].item()
    3.0
    """
    layers_in(shares, len(owners) - 1)
    blended = dict(own)
    for part, share in shares.items():
        check_share(share)
        names = _names_of(own, owners, part)
        if not names:
            raise XlingValueError(
                f"no weights in {part if part == HEAD else f'layer {part}'} of the fine-tuned model; name others"
            )
        blended |= {name: _blend(name, own[name], other, share, whose) for name in names}
    return blended


def _names_of(own: State, owners: Sequence[Sequence[str]], part: int | str) -> list[str]:
    if isinstance(part, int):
        return [name for name in own if _is_below(name, owners[part])]
    every = [module for modules in owners for module in modules]
    return [name for name in own if not _is_below(name, every)]


def _is_below(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _blend(name: str, own: Tensor, other: State, share: float, whose: str) -> Tensor:
    check_same_shape(name, own, other, whose)
    if share == 1:
        return other[name].to(own.dtype)
    if share == 0 or not own.is_floating_point():
        return own
    return torch.lerp(own.double(), other[name].double(), share).to(own.dtype)


def check_same_shape(name: str, own: Tensor, other: State, whose: str) -> None:
    """Refuse two models that are not of one architecture.

    Raises:
        XlingValueError: `other` has no tensor of that name, or has it in another shape.
    """
    if name not in other or other[name].shape != own.shape:
        found = f"shape {list(other[name].shape)}" if name in other else "no such tensor"
        raise XlingValueError(
            f"expected {name} of shape {list(own.shape)} in {whose}, found {found}; give models that were fine-tuned from one base "
            "on one task"
        )


def average_states(states: Sequence[State]) -> dict[str, Tensor]:
    """Average several models' weights (of seeds: Wortsman et al. 2022, arXiv:2203.05482; of checkpoints: arXiv:2305.16834).

    The mean is computed in float64 as the first model plus the mean difference from it, so that the mean of equal models is that
    model to the bit.

    Args:
        states: state dicts of one architecture, at least one.

    Returns:
        A new state dict with the dtypes of the first; integer tensors, which have no mean, are those of the first.

    Raises:
        XlingValueError: `states` is empty, or its models do not have the same tensors.
    """
    if not states:
        raise XlingValueError("expected at least one model to average, got none")
    first = states[0]
    for number, state in enumerate(states[1:], 2):
        for name in first:
            check_same_shape(name, first[name], state, f"model {number}")
        for name in state:
            check_same_shape(name, state[name], first, "model 1")
    return {name: _mean([state[name] for state in states]) for name in first}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        return first
    origin = first.double()
    total = torch.zeros_like(origin)
    for tensor in tensors[1:]:
        total += tensor.double() - origin
    return (origin + total / len(tensors)).to(first.dtype)
