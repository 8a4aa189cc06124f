"""Writes into a file how far a run is, for ``xling-status`` and whoever else looks from another process."""

import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from xling.callbacks._batches import epochs_completed
from xling.runs.state import write_progress


class ProgressFile(pl.Callback):
    """Writes ``progress.json`` (see :mod:`xling.runs.state`) at most every `every_seconds`, in training and validation.

    Logs nothing; costs one small file per interval (process 0).

    Args:
        dirpath: folder of the file; None: the trainer's ``default_root_dir``.
        every_seconds: least number of seconds between two writings, by a clock that does not jump.
    """

    def __init__(self, dirpath: Path | str | None = None, every_seconds: float = 5.0) -> None:
        self.dirpath = None if dirpath is None else Path(dirpath)
        self.every_seconds = every_seconds
        self._began: float | None = None
        self._written_at = -float("inf")
        self._seconds_before = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and write the file for the first time."""
        self._began, self._written_at = time.monotonic(), -float("inf")
        self._write(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the file if the last time is long enough ago."""
        self._write(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the file if the last time is long enough ago."""
        if self._began is not None:  # not in a validation before training
            self._write(trainer)

    def state_dict(self) -> dict[str, float]:
        """Return the seconds of the run so far."""
        return {"seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Continue from the seconds of the interrupted run."""
        self._seconds_before = state_dict["seconds"]

    def _seconds(self) -> float:
        return self._seconds_before + (0.0 if self._began is None else time.monotonic() - self._began)

    def _write(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero or time.monotonic() - self._written_at < self.every_seconds:
            return
        self._written_at = time.monotonic()
        epoch, total = epochs_completed(trainer), trainer.estimated_stepping_batches
        write_progress(
            self.dirpath or Path(trainer.default_root_dir),
            epoch=None if math.isnan(epoch) else epoch,
            step=trainer.global_step,
            total_steps=int(total) if 0 <= total < math.inf else None,
            elapsed_s=self._seconds(),
        )
