"""Shows progress where there is no terminal, as a line in the log now and then."""

import logging
import time
from typing import Any

import pytorch_lightning as pl

from xling.callbacks._batches import loader_names

log = logging.getLogger(__name__)


class ProgressLog(pl.Callback):
    """Logs a line at most every `every_seconds`: step, loss and time left in training, loader in validation.

    For logs in files and on clusters, where a bar would print thousands of lines. Writes nothing else, costs nothing.

    Args:
        every_seconds: least number of seconds between two lines.
    """

    def __init__(self, every_seconds: float = 20.0) -> None:
        self.every_seconds = every_seconds
        self._last_line = self._training_began = time.monotonic()
        self._steps_before = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._last_line = self._training_began = time.monotonic()
        self._steps_before = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log how far training is, if the last line is long enough ago."""
        done = trainer.global_step - self._steps_before
        if not self._is_due(trainer) or not done:
            return
        total = trainer.estimated_stepping_batches
        left = (time.monotonic() - self._training_began) / done * (total - trainer.global_step)
        loss = trainer.callback_metrics.get("train/loss", float("nan"))
        log.info(
            "step %d of %d, loss %.3f, about %s of training left", trainer.global_step, total, loss, _minutes(left)
        )

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log how far validation is, if the last line is long enough ago."""
        if self._is_due(trainer):
            names = loader_names(trainer)
            log.info("validation: %s (%d of %d)", names[dataloader_idx], dataloader_idx + 1, len(names))

    def _is_due(self, trainer: pl.Trainer) -> bool:
        if not trainer.is_global_zero or time.monotonic() - self._last_line < self.every_seconds:
            return False
        self._last_line = time.monotonic()
        return True


def _minutes(seconds: float) -> str:
    """Format a duration as minutes:seconds.

    >>> _minutes(75.2)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
