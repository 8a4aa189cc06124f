"""Computes what the interventions in training need: pure functions, usable in any loop."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.interventions.kinds import FORMS
from xling.similarity.differentiable import differentiable_cka


@torch.no_grad()
def add_pull(parameters: Sequence[Tensor], origins: Sequence[Tensor], strength: float) -> None:
    """Add the gradient of ``strength / 2 * |w - w_0|^2`` to the parameters' gradients (L2-SP, Li et al. 2018, arXiv:1802.01483).

    Args:
        parameters: parameters after the backward pass; one without a gradient is left alone, as an optimiser leaves it.
        origins: values of the parameters before training, of the same shapes.
        strength: factor of the penalty, at least 0; 0 changes nothing.
    """
    if strength == 0:
        return
    for parameter, origin in zip(parameters, origins, strict=True):
        if parameter.grad is not None:
            parameter.grad.add_(parameter.detach() - origin, alpha=strength)


@torch.no_grad()
def shorten_steps(parameters: Sequence[Tensor], before: Sequence[Tensor], factors: Sequence[float]) -> None:
    """Shorten the step that an optimiser has just made: ``w <- w_before + factor * (w - w_before)``.

    For SGD and Adam(W) this equals a learning rate multiplied by the factor, under any schedule, because the optimiser's state
    does not depend on the rate.

    Args:
        parameters: parameters after the step.
        before: copies of the parameters from before the step.
        factors: one factor per parameter, 0..1; 1 leaves the parameter as it is, to the bit.
    """
    for parameter, old, factor in zip(parameters, before, factors, strict=True):
        if factor != 1:
            parameter.copy_(torch.lerp(old, parameter.detach(), factor))


def rate_factor(layer: int, n_layers: int, decay: float) -> float:
    """The factor of a layer's learning rate: ``decay ** (n_layers - layer)``, 1 for the top layer.

    >>> rate_factor(10, 12, 0.5)
    0.25
    """
    return decay ** (n_layers - layer)


def first_trained_layer(step: int, n_layers: int, every: int) -> int:
    """Find the lowest layer that trains at a step, when one more layer from the top is unfrozen every `every` steps.

    At step 0 only the top layer and the head train; from step ``every * n_layers`` on, all layers do
    (Howard & Ruder 2018, arXiv:1801.06146).

    >>> [first_trained_layer(step, 3, 10) for step in (0, 9, 10, 25, 30, 99)]
    [3, 3, 2, 1, 0, 0]
    """
    return max(0, n_layers - step // every)


def anchor_distance(now: Tensor, base: Tensor, form: str, groups: Tensor | None = None) -> Tensor:
    """Measure how far representations are from the base's, in a form that has a gradient.

    Args:
        now: representations during training, float ``[n, d]``.
        base: representations of the same examples before training, float ``[n, d]``.
        form: ``l2``: the mean over rows of ``|now - base|^2 / |base|^2``; ``cka``: 1 - debiased CKA, over groups where they are
            given. Both are 0 where the two are equal.
        groups: ``[n]`` ids of rows that are not independent; read by ``cka`` alone.

    Returns:
        Scalar, float32 or wider.

    Raises:
        XlingValueError: `form` is neither ``l2`` nor ``cka``.
        UndefinedSimilarityError: ``cka`` is asked of fewer than 4 examples or groups, or of constant rows.

    >>> anchor_distance(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]), "l2").item()
    1.0
    """
    if form == "cka":
        return 1 - differentiable_cka(now[None], base[None], debiased=True, groups=groups)[0]
    if form != "l2":
        raise XlingValueError(f"expected the form of an anchor to be {' or '.join(FORMS)}, got {form!r}")
    now, base = now.float(), base.float()
    return ((now - base).square().sum(1) / base.square().sum(1).clamp_min(torch.finfo(base.dtype).tiny)).mean()
