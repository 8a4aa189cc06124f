"""How long training itself takes, without validation."""

import time
from typing import Any

import pytorch_lightning as pl


class TrainingClock(pl.Callback):
    """Adds up the wall-clock seconds from each training batch's start to its end; survives resuming.

    Waiting for data and validating are not counted, so freezing strategies can be compared. Logs and writes nothing.

    Attributes:
        seconds: so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin at 0, unless the fit is resumed."""
        if trainer.global_step == 0:
            self.seconds = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start."""
        self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop."""
        if self._started is not None:
            self.seconds += time.monotonic() - self._started
            self._started = None

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.seconds = state_dict["seconds"]
