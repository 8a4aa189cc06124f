"""Pulls weights towards their values from before training."""

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch

from xling.callbacks._treated_layers import KeepsBase, updated_by
from xling.checks import check_strength
from xling.interventions.during_training import add_pull
from xling.interventions.parameters import LayerNames


class PullToBase(KeepsBase):
    """L2-SP (Li et al. 2018, arXiv:1802.01483): a penalty ``strength / 2 * |w - w_0|^2`` on the weights of chosen layers.

    Its gradient is added in ``on_before_optimizer_step``, after backward passes were accumulated and averaged over processes and
    before gradients are clipped; the logged loss is the task's alone. With strength 0 nothing is done, to the bit. Keeps a copy
    of the treated weights. Runs on ``setup``, ``on_fit_start``, ``on_before_optimizer_step``, ``teardown``; put it after
    TrainUsedRows.

    Args:
        strength: factor of the penalty, at least 0; per step, a weight is pulled by learning rate x strength x its distance
            (which AdamW scales as it scales every gradient).
        layers: see :class:`TreatsLayers`.
        names: see :class:`TreatsLayers`.

    Raises:
        XlingValueError: `strength` is negative.
    """

    def __init__(self, strength: float, layers: str | Iterable[int] | None = None, names: LayerNames = None) -> None:
        super().__init__(layers, names)
        check_strength("strength", strength)
        self.strength = strength

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the layers and copy them."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self.keep(self.parameters())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add the penalty's gradient."""
        own: set[Any] = set(updated_by(optimizer, self.kept))
        pairs = [(now, before) for now, before in zip(self.kept, self.origins, strict=True) if now in own]
        add_pull([now for now, _ in pairs], [before for _, before in pairs], self.strength)
