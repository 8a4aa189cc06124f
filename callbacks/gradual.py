"""Unfreezes layers one by one, from the top."""

import pytorch_lightning as pl
import torch

from xling.callbacks._treated_layers import TreatsLayers, updated_by
from xling.errors import XlingValueError
from xling.interventions.during_training import first_trained_layer
from xling.interventions.parameters import LayerNames, drop_gradients


class GradualUnfreezing(TreatsLayers):
    """Trains the top layer first and one more below it every so many optimiser steps (Howard & Ruder 2018, arXiv:1801.06146).

    A layer that is not yet unfrozen has its gradient dropped before the optimiser steps, so that neither weights nor optimiser
    state move; gradients are still computed, as processes that train together need them. So it saves no time. What is in no layer
    (the head) trains throughout. It depends on the step alone, and so a fit goes on as it was. Runs on ``setup``,
    ``on_before_optimizer_step``, ``teardown``.

    Args:
        every_n_steps: optimiser steps between two layers, at least 1; 0: everything trains from the start.
        names: see :class:`TreatsLayers`.

    Raises:
        XlingValueError: `every_n_steps` is no whole number of at least 0.
    """

    def __init__(self, every_n_steps: int, names: LayerNames = None) -> None:
        super().__init__(None, names)
        if isinstance(every_n_steps, bool) or not isinstance(every_n_steps, int) or every_n_steps < 0:
            raise XlingValueError(f"expected every_n_steps to be a whole number of at least 0, got {every_n_steps!r}")
        self.every_n_steps = every_n_steps

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drop the gradients of what is still frozen."""
        if self.every_n_steps:
            first = first_trained_layer(trainer.global_step, len(self.by_layer) - 1, self.every_n_steps)
            drop_gradients(updated_by(optimizer, self.parameters(range(first))))
