"""Carries what the module and the impact monitor measured into the run directory."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytorch_lightning as pl

from xling.callbacks.batches import epochs_completed
from xling.callbacks.impact import ImpactMonitor
from xling.rundir import RunDirectory
from xling.tables import IMPACT, TRANSFER


class RunRecorder(pl.Callback):
    """Writes both tables of :mod:`xling.tables` after every validation (process 0).

    Runs on ``on_validation_end``; keeps its rows in checkpoints, so that a resumed run loses and doubles none.

    Args:
        directory: the run's directory.
        identity: values of study, source_language, strategy and seed.
        monitor: its records become the impact table.
        frozen_layers: layers without gradient.
    """

    def __init__(
        self, directory: RunDirectory, identity: dict[str, Any], monitor: ImpactMonitor, frozen_layers: Sequence[int]
    ) -> None:
        self.directory, self.identity = directory, identity
        self.monitor, self.frozen_layers = monitor, frozenset(frozen_layers)
        self.transfer: list[dict[str, Any]] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the validation's rows and write both tables."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        when = {"epoch": epochs_completed(trainer), "step": trainer.global_step}
        for language, score in pl_module.transfer.items():
            row = self._keys(language) | when
            self.transfer.append(row | {pl_module.transfer_metric: score["score"], "n_examples": score["n_examples"]})
        if trainer.is_global_zero:
            self.write()

    def write(self) -> None:
        """Write both tables as they are now."""
        self.directory.write_tables(self.impact_frame(), pd.DataFrame(self.transfer, columns=list(TRANSFER)))

    def impact_frame(self) -> pd.DataFrame:
        """The monitor's records with this run's keys; columns of :data:`xling.tables.IMPACT`, then other measures."""
        rows = [
            self._keys(record["loader"])
            | {name: value for name, value in record.items() if name not in ("loader", "label")}
            | {"is_frozen": record["layer"] in self.frozen_layers}
            for record in self.monitor.records
        ]
        frame = pd.DataFrame(rows)
        return frame[[*IMPACT, *(column for column in frame.columns if column not in IMPACT)]]

    def state_dict(self) -> dict[str, Any]:
        """The transfer rows so far."""
        return {"transfer": self.transfer}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of an interrupted run."""
        self.transfer = list(state_dict["transfer"])

    def _keys(self, language: str) -> dict[str, Any]:
        return self.identity | {
            "target_language": language,
            "is_in_language": language == self.identity["source_language"],
        }
