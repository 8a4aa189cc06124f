"""What a callback must know of a trainer and a module it has never seen: how far training is, names, words and groups."""

import math
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from xling.errors import XlingValueError


def loader_names(trainer: pl.Trainer) -> list[str]:
    """Names of the validation loaders: keys of a dict, else positions ``"0"``, ``"1"``, ..."""
    loaders = trainer.val_dataloaders
    if isinstance(loaders, dict):
        return [str(name) for name in loaders]
    return [str(index) for index in range(len(loaders))] if isinstance(loaders, list | tuple) else ["0"]


def epochs_completed(trainer: pl.Trainer) -> float:
    """Epochs of training completed by Lightning's own count, e.g. 1.5 in the middle of the second; 0 before training.

    Batches are counted, so that it holds however a module optimises. NaN outside a fit, whose weights may come from anywhere,
    and within an epoch over a data set that does not know its length.
    """
    if trainer.state.fn != TrainerFn.FITTING:
        return math.nan
    epochs, batches = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop.batch_progress
    if epochs.started == epochs.processed:  # between two epochs
        return float(epochs.processed)
    if batches.is_last_batch and batches.current.processed == batches.current.ready:
        return epochs.processed + 1.0
    if batches.current.processed and math.isinf(trainer.num_training_batches):
        return math.nan
    return round(epochs.processed + batches.current.processed / trainer.num_training_batches, 4)


def moment(trainer: pl.Trainer) -> dict[str, float]:
    """When something is measured: epoch and step (optimiser steps completed); both NaN outside a fit."""
    is_fit = trainer.state.fn == TrainerFn.FITTING
    return {"epoch": epochs_completed(trainer), "step": trainer.global_step if is_fit else math.nan}


def is_sanity_check_on_resume(trainer: pl.Trainer) -> bool:
    """Whether Lightning tries the validation of a fit that goes on after a checkpoint: nothing is to be recorded there."""
    return trainer.sanity_checking and (trainer.global_step > 0 or trainer.fit_loop.epoch_progress.current.started > 0)


def probe_fingerprints(trainer: pl.Trainer) -> dict[str, str]:
    """What the data module says of its probe sets (loader name -> fingerprint), or nothing."""
    return dict(getattr(trainer.datamodule, "probe_fingerprints", None) or {})


def word_ids(pl_module: pl.LightningModule, batch: Any) -> Tensor:
    """Each token's word [batch, sequence] int64, unique over a loader, as the module's ``word_ids(batch)`` says; -1 = none.

    Raises:
        XlingValueError: the module has no such method.
    """
    own = getattr(pl_module, "word_ids", None)
    if not callable(own):
        raise XlingValueError(
            f"{type(pl_module).__name__} does not say which tokens are which words; give it a word_ids(batch) method, or pool "
            "examples with pooling=mean or cls"
        )
    return own(batch)


def group_ids(pl_module: pl.LightningModule, batch: Any) -> Tensor | None:
    """Ids [batch] of groups of dependent rows, as the module's ``group_ids(batch)`` says; None without that method."""
    own = getattr(pl_module, "group_ids", None)
    return own(batch) if callable(own) else None
