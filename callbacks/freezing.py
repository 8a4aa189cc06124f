"""The callback that intervenes: it freezes layers, or adapts them, before the optimiser exists."""

import logging
from collections.abc import Mapping

import pytorch_lightning as pl

from xling.errors import XlingValueError
from xling.freezing import FreezePlan, describe_plan, freeze_layers
from xling.freezing.lora import check_peft
from xling.models.layers import find_layers

log = logging.getLogger(__name__)


class LayerFreezing(pl.Callback):
    """Freezes layers of the encoder inside a LightningModule, in ``setup``, which runs before ``configure_optimizers``.

    The module must build its optimiser from parameters that require a gradient. Logs one sentence; writes nothing.

    Args:
        plan: what to freeze, e.g. ``plan_freezing("bottom_k", k=3)``; see :func:`xling.freezing.plan_freezing`.
        override: module paths of an architecture that is not known, see :func:`xling.models.layers.find_layers`.

    Raises:
        XlingValueError: the plan needs adapters and the package peft is not installed.
    """

    def __init__(self, plan: FreezePlan, override: Mapping[str, str | None] | None = None) -> None:
        if plan.adapts:
            check_peft()
        self.plan, self.override = plan, override

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Freeze when a fit begins.

        Raises:
            XlingValueError: nothing would be left to train, or the plan does not fit the encoder.
        """
        if stage != "fit":
            return
        n_layers = find_layers(pl_module, self.override).n_layers
        freeze_layers(pl_module, self.plan, self.override)
        if not any(parameter.requires_grad for parameter in pl_module.parameters()):
            raise XlingValueError(f"freezing {self.plan.name} leaves no parameter to train; freeze fewer layers")
        log.info("%s", describe_plan(self.plan, n_layers))
