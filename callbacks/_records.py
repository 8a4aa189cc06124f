"""Base class of callbacks whose records go into checkpoints, so that an interrupted fit loses none and has none twice."""

from typing import Any

import pytorch_lightning as pl


class KeepsRecords(pl.Callback):
    """Base class: keeps `records` in checkpoints, and empties them when a fit starts from the beginning.

    Attributes:
        records: one dict per measurement.
    """

    records: list[dict[str, Any]]
    _is_resumed = False

    def empty_unless_resumed(self, trainer: pl.Trainer) -> bool:
        """Empty the records unless the fit is resumed; to be called in ``on_fit_start``.

        Returns:
            Whether the fit starts from the beginning.
        """
        is_resumed, self._is_resumed = self._is_resumed, False
        if trainer.global_step > 0 or is_resumed:
            return False
        self.records = []
        return True

    def state_dict(self) -> dict[str, Any]:
        """Give the records so far."""
        return {"records": self.records}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after an interrupted fit."""
        self.records, self._is_resumed = list(state_dict["records"]), True
