"""Stops the training of layers whose impact has reached a bound."""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from xling.callbacks._treated_layers import TreatsLayers, updated_by
from xling.callbacks.impact import ImpactMonitor
from xling.checks import check_strength
from xling.errors import XlingValueError
from xling.interventions.parameters import LayerNames, drop_gradients
from xling.machine.lightning import callbacks_of

log = logging.getLogger(__name__)


class ImpactBudget(TreatsLayers):
    """Freezes a layer, with all below it, from the validation on at which its impact on a target reaches a bound.

    What a layer computes depends on the layers below, so that freezing those too keeps its impact where it is: the bound is
    exceeded by at most what training moved the layer between two validations. Frozen layers have their gradients dropped, as in
    :class:`GradualUnfreezing`. Impact is what an :class:`ImpactMonitor` of the same trainer measures: validate often
    (``val_check_interval``). Which layers are frozen goes into checkpoints. Runs on ``setup``, ``on_validation_end`` (after the
    monitor), ``on_before_optimizer_step``, ``teardown``.

    Args:
        bound: impact at which a layer is frozen, at least 0; impact is at most about 1.
        layers: layers whose impact is bounded, see :class:`TreatsLayers`.
        targets: validation loaders whose impact counts; None: all.
        names: see :class:`TreatsLayers`; give the same patterns as to the monitor, so that both number the layers alike.

    Attributes:
        frozen_up_to: index of the highest layer that is frozen, with all layers below it; -1: none is.
        events: one dict per bound that was reached: layer, target, step, impact.

    Raises:
        XlingValueError: `bound` is negative.
    """

    def __init__(
        self,
        bound: float,
        layers: str | Iterable[int] | None = None,
        targets: Sequence[str] | None = None,
        names: LayerNames = None,
    ) -> None:
        super().__init__(layers, names)
        check_strength("bound", bound)
        self.bound, self.targets = bound, None if targets is None else tuple(targets)
        self.frozen_up_to, self.events = -1, []  # type: int, list[dict[str, Any]]
        self._is_resumed = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze no layer yet, unless the fit is resumed.

        Raises:
            XlingValueError: no callback of the trainer measures impact.
        """
        self._monitor(trainer)
        if not self._is_resumed:
            self.frozen_up_to, self.events = -1, []
        self._is_resumed = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze the layers whose impact has reached the bound.

        Raises:
            XlingValueError: one of the targets is no validation loader.
        """
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        records = [r for r in self._monitor(trainer).records if r["step"] == trainer.global_step]
        loaders = {record["loader"] for record in records}
        unknown = sorted(set(self.targets or ()) - loaders)
        if unknown:
            raise XlingValueError(
                f"expected targets among {', '.join(sorted(loaders))}, got {', '.join(unknown)}; name validation loaders"
            )
        for record in records:
            impact = record["impact_debiased"] if math.isnan(record["impact"]) else record["impact"]
            is_meant = record["layer"] in self.treated and (self.targets is None or record["loader"] in self.targets)
            if is_meant and impact >= self.bound and record["layer"] > self.frozen_up_to:
                self.frozen_up_to = record["layer"]
                event = {
                    "layer": self.frozen_up_to,
                    "target": record["loader"],
                    "step": trainer.global_step,
                    "impact": impact,
                }
                self.events.append(event)
                log.info(
                    "layer %(layer)d has an impact of %(impact).3g on %(target)s at step %(step)d: frozen from now on",
                    event,
                )

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drop the gradients of the frozen layers."""
        drop_gradients(updated_by(optimizer, self.parameters(range(self.frozen_up_to + 1))))

    def state_dict(self) -> dict[str, Any]:
        """Return the highest layer that is frozen, and when each bound was reached."""
        # the key is that of checkpoints written before the attribute was renamed
        return {"held": self.frozen_up_to, "events": self.events}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Freeze the same layers as the interrupted fit."""
        self.frozen_up_to, self.events, self._is_resumed = state_dict["held"], list(state_dict["events"]), True

    @staticmethod
    def _monitor(trainer: pl.Trainer) -> ImpactMonitor:
        found = callbacks_of(trainer, ImpactMonitor)
        if not found:
            raise XlingValueError(
                "ImpactBudget needs an ImpactMonitor among the trainer's callbacks; add one before it"
            )
        return found[0]
