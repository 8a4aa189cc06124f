"""Ends a run whose training loss has become NaN or infinite."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from xling.callbacks._agree import agree
from xling.errors import DivergedError


class StopOnDivergence(pl.Callback):
    """Raises when the training loss was NaN or infinite in any step so far, before anything wrong is kept.

    Losses are added up on their device, and a sum that was NaN or infinite once remains so. It is checked at every step on a CPU
    and at every `every_n_steps` batches on a GPU, where each check waits for all queued work. It is also checked before every
    validation and before a checkpoint is written, so that neither a table nor a checkpoint comes from weights of that kind.

    Runs on ``on_train_batch_end``, ``on_validation_start`` and ``on_save_checkpoint``. Logs and writes nothing.

    Args:
        every_n_steps: batches between two checks on a GPU.

    Raises:
        DivergedError: the loss is not finite.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        self.every_n_steps = every_n_steps
        self._sum: Tensor | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the losses of an earlier fit."""
        self._sum = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the step's loss to the sum, and check the sum every few steps."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor):
            return  # a module that optimises by hand may return none
        self._sum = loss.detach() if self._sum is None else self._sum + loss.detach()
        if loss.device.type == "cpu" or batch_idx % self.every_n_steps == 0:
            self._check(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the sum before anything is measured."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._check(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Check the sum before a checkpoint is written."""
        self._check(trainer)

    def _check(self, trainer: pl.Trainer) -> None:
        if self._sum is not None and agree(trainer, not bool(torch.isfinite(self._sum))):
            raise DivergedError(
                f"expected a finite training loss, found {float(self._sum)} by step {trainer.global_step} of "
                f"{trainer.estimated_stepping_batches}; lower the learning rate (optimizer.learning_rate), lengthen its "
                "warm-up (optimizer.warmup_fraction) or train in 32-bit precision (trainer.precision=32-true)"
            )
