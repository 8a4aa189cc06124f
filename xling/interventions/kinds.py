"""Defines the kinds of intervention: a function for each takes its settings, checks them and names the run after them.

What is checked here needs no encoder, so that a mistake is reported before anything is loaded. Below them stand the functions
for the dose: how strongly an intervention acts, as one number that can be drawn against its effect.
"""

from collections.abc import Sequence
from typing import Any

from xling.checks import check_strength
from xling.errors import XlingValueError
from xling.interventions.layer_shares import name_shares, parse_shares

FORMS = ("l2", "cka")
"""How an anchor measures the distance to the base."""


def none() -> str:
    """No intervention: the name is empty, and nothing is done."""
    return ""


def revert(layers: str | Sequence[int], draw: int | None = None) -> str:
    """After training, layers are put back to their weights from before it.

    Args:
        layers: which layers, each by what share of the old weights, see :func:`~xling.interventions.layer_shares.parse_shares`.
        draw: seed of :func:`xling.freezing.strategies.random_k` that drew the layers; None: they were chosen.

    Raises:
        XlingValueError: layers that were drawn have a share other than 1.
    """
    shares = parse_shares(layers)
    if draw is not None and set(shares.values()) != {1.0}:
        raise XlingValueError(f"expected layers that were drawn at random without shares, got {layers}")
    return f"revert_{name_shares(shares)}" if draw is None else f"revert_random_{len(shares)}_seed{draw}"


def swap(layers: str | Sequence[int], donor: str, whose: str) -> str:
    """Layers are taken from another run of the same base.

    Args:
        layers: which layers, each by what share of the donor's weights.
        donor: ``study/source/strategy/seed_n`` of the run they come from, for the record.
        whose: what of the donor differs from the run itself, e.g. its source language; it is part of the name.
    """
    return f"swap_{name_shares(parse_shares(layers))}_from_{whose}"


def average(models: Sequence[str], whose: str) -> str:
    """The weights of several runs or checkpoints are averaged.

    Args:
        models: ``study/source/strategy/seed_n`` of each run, or the name of a checkpoint file, for the record.
        whose: what tells them apart, e.g. ``seeds_1_2_3``; it is part of the name.
    """
    if not models:
        raise XlingValueError("expected at least one model to average, got none")
    return f"average_{whose}"


def anchor(
    strength: float,
    layers: str | Sequence[int] | None = None,
    form: str = "l2",
    every_n_steps: int = 1,
    languages: Sequence[str] = (),
) -> str:
    """Representations are kept near the base's, see :class:`xling.callbacks.Anchor`.

    Args:
        strength: factor of the penalty, at least 0.
        layers: which layers are kept near the base; None: all.
        form: distance to the base, ``l2`` or ``cka``.
        every_n_steps: optimiser steps between two penalties.
        languages: languages whose training text, without its labels, is encoded; empty: the training batch itself.
    """
    check_strength("intervention.strength", strength)
    if form not in FORMS:
        raise XlingValueError(f"expected intervention.form to be {' or '.join(FORMS)}, got {form!r}")
    marks = [*([] if form == "l2" else [form]), *([] if every_n_steps == 1 else [f"every{every_n_steps}"]), *languages]
    return "_".join(["anchor", _of_layers(layers), f"{strength:g}", *marks])


def l2_sp(strength: float, layers: str | Sequence[int] | None = None) -> str:
    """Weights are pulled to the base's, see :class:`xling.callbacks.PullToBase`."""
    check_strength("intervention.strength", strength)
    return f"l2_sp_{_of_layers(layers)}_{strength:g}"


def layerwise_lr(decay: float) -> str:
    """Lower layers learn more slowly, see :class:`xling.callbacks.LayerwiseRates`."""
    return f"layerwise_lr_{decay:g}"


def gradual(every_n_steps: int) -> str:
    """Layers are unfrozen from the top, see :class:`xling.callbacks.GradualUnfreezing`."""
    return f"gradual_{every_n_steps}"


def budget(bound: float, layers: str | Sequence[int] | None = None, targets: Sequence[str] | None = None) -> str:
    """Layers are frozen once their impact reaches a bound, see :class:`xling.callbacks.ImpactBudget`."""
    check_strength("intervention.bound", bound)
    return "_".join(["budget", _of_layers(layers), f"{bound:g}", *(targets or ())])


def _of_layers(layers: str | Sequence[int] | None) -> str:
    return "all" if layers is None else name_shares(parse_shares(layers))


def strength_of(strength: float, **_: Any) -> float:
    """Dose of a penalty: its strength."""
    return strength


def slowing(decay: float, **_: Any) -> float:
    """Dose of slower rates: 0 where all layers learn at one rate, 1 where only the top one learns at all."""
    return 1 - decay


def delay(every_n_steps: int, **_: Any) -> float:
    """Dose of gradual unfreezing: the optimiser steps between two layers."""
    return float(every_n_steps)


def tightness(bound: float, **_: Any) -> float:
    """Dose of a budget: how far its bound lies below an impact of 1."""
    return max(0.0, 1 - bound)


def zero_dose(**_: Any) -> float:
    """Dose of no intervention: 0."""
    return 0.0


def full_dose(**_: Any) -> float:
    """Dose of an intervention without a strength: 1."""
    return 1.0


def mean_share(layers: str | Sequence[int], **_: Any) -> float:
    """Dose of a blend: the mean share over its parts."""
    shares = parse_shares(layers).values()
    return sum(shares) / len(shares)
