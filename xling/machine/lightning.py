"""Gathers what is private to Lightning or missing from its annotations, in one place; tests/test_private.py checks it."""

from dataclasses import dataclass
from typing import Any, TypeVar

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher as SubprocessScriptLauncher

__all__ = [
    "SubprocessScriptLauncher",
    "TrainingProgress",
    "callbacks_of",
    "data_module_of",
    "is_fast_dev_run",
    "training_progress",
]

CallbackT = TypeVar("CallbackT", bound=pl.Callback)


def callbacks_of(trainer: pl.Trainer, kind: type[CallbackT]) -> list[CallbackT]:
    """List the trainer's callbacks of one kind, in their order."""
    every = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's connector sets it without annotating it
    return [callback for callback in every if isinstance(callback, kind)]


def data_module_of(trainer: pl.Trainer) -> Any:
    """Return the data module that the trainer was given; None where it was given loaders."""
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning's connector sets it without annotating it


def is_fast_dev_run(trainer: pl.Trainer) -> bool:
    """Whether the trainer only tries a few batches and leaves nothing behind."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # set by a helper function of Lightning's


@dataclass(frozen=True)
class TrainingProgress:
    """How far a fit is by Lightning's own counters.

    Attributes:
        epochs_started: number of epochs that have begun.
        epochs_processed: number of epochs whose batches are all processed.
        batches_ready: number of this epoch's batches that have been fetched.
        batches_processed: number of this epoch's batches that have been trained on.
        is_last_batch: whether the batch that is ready is the epoch's last.
    """

    epochs_started: int
    epochs_processed: int
    batches_ready: int
    batches_processed: int
    is_last_batch: bool


def training_progress(trainer: pl.Trainer) -> TrainingProgress:
    """Read the counters of the fit loop."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    epochs: Any = trainer.fit_loop.epoch_progress.current  # annotated as counters of fewer things than they count
    batches: Any = progress.current
    return TrainingProgress(epochs.started, epochs.processed, batches.ready, batches.processed, progress.is_last_batch)
