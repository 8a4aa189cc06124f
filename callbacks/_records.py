"""Records of a fit that go into its checkpoints, so that an interrupted fit loses and doubles none."""

from typing import Any

import pytorch_lightning as pl


class KeepsRecords(pl.Callback):
    """Base class: keeps `records` in checkpoints, and empties them when a fit begins that goes on from none.

    Attributes:
        records: one dict per measurement.
    """

    records: list[dict[str, Any]]
    _is_resumed = False

    def begins_anew(self, trainer: pl.Trainer) -> bool:
        """Empty the records unless the fit goes on; for ``on_fit_start``. Whether it did."""
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
