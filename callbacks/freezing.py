"""Freezes layers, or puts adapters into them, before the optimiser is built."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.freezing import FreezePlan, describe_plan, freeze_layers
from xling.freezing.apply import frozen_modules
from xling.freezing.lora import check_peft
from xling.models.layers import find_layers, looking_in_setup

log = logging.getLogger(__name__)


class LayerFreezing(pl.Callback):
    """Freezes layers inside a LightningModule, in ``setup``, which runs before ``configure_optimizers``.

    The module must have its layers by then, so build them in ``__init__``; one that builds them in ``setup`` or
    ``configure_model`` calls :func:`xling.freezing.freeze_layers` there itself. The optimiser must be built from parameters that
    require a gradient. Running statistics inside frozen layers stand still too. Logs one sentence; writes nothing. After the
    first training batch it checks that nothing in the frozen layers has moved.

    Args:
        plan: what to freeze of an encoder, e.g. ``plan_freezing("bottom_k", k=3)``, see :func:`xling.freezing.plan_freezing`;
            or patterns of module names in a model of any kind, e.g. ``["features.0", "features.1"]``.
        override: module paths of an architecture that is not known, see :func:`xling.models.layers.find_layers`.

    Raises:
        XlingValueError: the plan needs adapters and the package peft is not installed.
    """

    def __init__(
        self, plan: FreezePlan | str | Sequence[str], override: Mapping[str, str | None] | None = None
    ) -> None:
        if isinstance(plan, FreezePlan) and plan.adapts:
            check_peft()
        self.plan, self.override = plan, override
        self._frozen: dict[str, nn.Module] = {}
        self._before: dict[str, Tensor] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Freeze when a fit begins.

        Raises:
            XlingValueError: nothing would be left to train, the plan does not fit the encoder, or the module has no encoder yet.
        """
        if stage != "fit":
            return
        with looking_in_setup(pl_module, "LayerFreezing"):
            described = self._described(pl_module)
        freeze_layers(pl_module, self.plan, self.override)
        if not any(parameter.requires_grad for parameter in pl_module.parameters()):
            name = self.plan.name if isinstance(self.plan, FreezePlan) else self.plan
            raise XlingValueError(f"freezing {name} leaves no parameter to train; freeze fewer layers")
        self._frozen, self._before = self._modules(pl_module), None
        log.info("%s", described)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Copy the frozen layers' buffers before the first batch."""
        if self._before is None:
            self._before = {name: value.clone() for name, value in self._buffers().items()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check after the first batch that the buffers have not changed.

        Raises:
            XlingValueError: a buffer has changed, so that what a supposedly frozen layer computes has changed too.
        """
        now = self._buffers() if self._before else {}
        for name, value in (self._before or {}).items():
            if name in now and not torch.equal(now[name], value):
                raise XlingValueError(
                    f"buffer {name} changed in training although its layer is frozen, so the layer moves; keep that module in "
                    "evaluation mode, or do not freeze it"
                )
        self._before = {}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget which layers were frozen and what their buffers held."""
        self._frozen, self._before = {}, None

    def _described(self, pl_module: pl.LightningModule) -> str:
        if not isinstance(self.plan, FreezePlan):
            return f"frozen: modules {', '.join(frozen_modules(pl_module, self.plan))}"
        return describe_plan(self.plan, find_layers(pl_module, self.override).n_layers)

    def _modules(self, pl_module: pl.LightningModule) -> dict[str, nn.Module]:
        """The frozen modules, by name; a strategy may wrap them later."""
        if isinstance(self.plan, FreezePlan) and self.plan.adapts:
            return {}
        names = frozen_modules(pl_module, self.plan, self.override)
        return {name: pl_module.get_submodule(name) for name in names}

    def _buffers(self) -> dict[str, Tensor]:
        """Floating-point buffers of the frozen modules; counters are allowed to change."""
        named = ((f"{owner}.{name}", b) for owner, part in self._frozen.items() for name, b in part.named_buffers())
        return {name: buffer for name, buffer in named if buffer.is_floating_point()}
