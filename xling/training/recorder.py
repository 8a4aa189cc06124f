"""Carries what the module and the impact monitor measured into the run directory."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import pytorch_lightning as pl

from xling.callbacks._batches import epochs_completed
from xling.callbacks.alignment import AlignmentMonitor
from xling.callbacks.gradients import GradientMonitor
from xling.callbacks.impact import ImpactMonitor
from xling.callbacks.linear_probes import LinearProbes
from xling.runs.directory import RunDirectory
from xling.runs.measures import in_pooling, to_long
from xling.runs.tables import (
    ALIGNMENT,
    ALIGNMENT_FILE,
    GRADIENTS,
    GRADIENTS_FILE,
    IMPACT_FILE,
    KEYS,
    LINEAR_PROBES,
    LINEAR_PROBES_FILE,
    PREDICTIONS,
    PREDICTIONS_FILE,
    TRANSFER,
    TRANSFER_FILE,
)

if TYPE_CHECKING:
    from xling.tasks.transfer_module import TransferModule


class RunRecorder(pl.Callback):
    """Writes the tables of :mod:`xling.runs.tables` after every validation. Only the last validation's predictions are kept.

    Runs on ``on_validation_end``. Process 0 writes. The rows go into checkpoints, so that a resumed run loses none and has none
    twice.

    Args:
        directory: the run's directory.
        identity: values of study, source_language, strategy and seed.
        monitor: monitor whose records become the impact table.
        frozen_layers: indices of the layers without gradient, 0 = embeddings.
        alignment: monitor whose records become the alignment table; None: the run has no such table.
        when: epoch and step to record for a ``Trainer.validate`` outside a fit, e.g. of changed weights; None: nothing is
            recorded outside a fit.
        gradients: monitor whose records become the gradients table; None: the run has no such table.
        linear_probes: callback whose records become the table of linear probes; None: the run has no such table.
        other_poolings: monitors whose records become rows of the impact table, too, as measures named ``<measure>@<pooling>``.
    """

    def __init__(
        self,
        directory: RunDirectory,
        identity: dict[str, Any],
        monitor: ImpactMonitor,
        frozen_layers: Sequence[int],
        alignment: AlignmentMonitor | None = None,
        when: Mapping[str, float] | None = None,
        gradients: GradientMonitor | None = None,
        linear_probes: LinearProbes | None = None,
        other_poolings: Sequence[ImpactMonitor] = (),
    ) -> None:
        monitors = {
            ALIGNMENT_FILE: (alignment, ALIGNMENT),
            GRADIENTS_FILE: (gradients, GRADIENTS),
            LINEAR_PROBES_FILE: (linear_probes, LINEAR_PROBES),
        }
        self.further = {file: (own, columns) for file, (own, columns) in monitors.items() if own is not None}
        self.when = dict(when or {})
        self.directory, self.identity = directory, identity
        self.monitor, self.frozen_layers = monitor, frozenset(frozen_layers)
        self.other_poolings = tuple(other_poolings)
        self.transfer: list[dict[str, Any]] = []
        self.predictions: pd.DataFrame | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the validation's rows and write the tables."""
        if trainer.sanity_checking or (trainer.state.fn != "fit" and not self.when):
            return
        module = cast("TransferModule", pl_module)
        if module.keeps_predictions:
            self._take_predictions(trainer, module)
        when = self._moment(trainer)
        metric = module.transfer_metric
        for language, scores in module.transfer.items():
            further = {name: scores[name] for name in module.metrics if name != metric}
            row = {"metric": metric, "score": scores[metric], "n_examples": int(scores["n_examples"])}
            row["reason"] = _reason(scores)
            self.transfer.append(self._keys(language) | when | row | further)
        if trainer.is_global_zero:
            self.write()

    def write(self) -> None:
        """Write the tables as they are now."""
        tables = {
            IMPACT_FILE: self.impact_frame(),
            TRANSFER_FILE: _documented_first(pd.DataFrame(self.transfer), TRANSFER),
        }
        for file, (monitor, columns) in self.further.items():
            tables[file] = self._frame(monitor.records, columns)
        if self.predictions is not None:
            tables[PREDICTIONS_FILE] = self.predictions
        self.directory.write_tables(tables)

    def _take_predictions(self, trainer: pl.Trainer, module: "TransferModule") -> None:
        """Gather the validation's predictions from all processes."""
        when = self._moment(trainer)
        frames = []
        for language in module.transfer:
            found = module.predictions(language)
            keys = self._keys(language) | when
            if len(found):
                frames.append(_documented_first(found.assign(**keys), PREDICTIONS))
        if trainer.is_global_zero and frames:
            self.predictions = _compact(pd.concat(frames, ignore_index=True))

    def impact_frame(self) -> pd.DataFrame:
        """The monitors' records under this run's keys, one row per measure, columns of :data:`xling.runs.tables.IMPACT` first."""
        main = self._impact_of(self.monitor)
        others = [(monitor.pooling_name, self._impact_of(monitor)) for monitor in self.other_poolings]
        named = [
            frame.assign(measure=[in_pooling(name, pooling) for name in frame["measure"]]) for pooling, frame in others
        ]
        return pd.concat([main, *named], ignore_index=True) if named else main

    def _impact_of(self, monitor: ImpactMonitor) -> pd.DataFrame:
        rows = [self._keys(record["loader"]) | record | self.when for record in monitor.records]
        frame = pd.DataFrame(rows).drop(columns=["loader", "label"], errors="ignore")
        if not frame.empty:
            frame["is_frozen"] = frame["layer"].isin(self.frozen_layers)
        return to_long(frame, tuple(name for name in monitor.measures if not name.startswith("cka_")))

    def _frame(self, records: list[dict[str, Any]], documented: dict[str, str]) -> pd.DataFrame:
        """Records under this run's keys, the documented columns first, then the measures by name."""
        rows = [self._keys(record["loader"]) | record | self.when for record in records]
        frame = pd.DataFrame(rows).drop(columns=["loader", "label", "reference"], errors="ignore")
        return _documented_first(frame, documented)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows of transfer so far."""
        return {"transfer": self.transfer}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the rows of an interrupted run."""
        self.transfer = list(state_dict["transfer"])

    def _moment(self, trainer: pl.Trainer) -> dict[str, float]:
        return self.when or {"epoch": epochs_completed(trainer), "step": trainer.global_step}

    def _keys(self, language: str) -> dict[str, Any]:
        return self.identity | {
            "target_language": language,
            "is_in_language": language == self.identity["source_language"],
        }


def _reason(scores: dict[str, float]) -> str:
    n = int(scores.get("n_undefined", 0))
    return f"{n} of {int(scores['n_examples'])} have outputs that are not finite" if n else ""


def _compact(predictions: pd.DataFrame) -> pd.DataFrame:
    """Turn the repeated names of runs and languages into categories, of which parquet stores each value once."""
    names = [name for name in KEYS if isinstance(predictions[name].iloc[0], str)]
    return predictions.astype(dict.fromkeys(names, "category"))


def _documented_first(frame: pd.DataFrame, documented: dict[str, str]) -> pd.DataFrame:
    return frame.reindex(columns=[*documented, *(column for column in frame.columns if column not in documented)])
