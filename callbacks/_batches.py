"""Asks a trainer and a module of any kind what callbacks need: how far training is, loaders' names, a batch's words and groups."""

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from xling.errors import XlingValueError
from xling.machine.lightning import data_module_of, training_progress
from xling.probing.representations import Representations


def named_loaders(trainer: pl.Trainer) -> dict[str, Any]:
    """The validation loaders in Lightning's order, by name.

    A loader's name is its key where the loaders are a dict, and otherwise its position, ``"0"``, ``"1"``, ...; in nested
    collections the names are joined by a dot, e.g. ``"de.0"``. A trainer without loaders has one that is None.
    """
    return dict(_flattened(trainer.val_dataloaders, "")) or {"0": None}


def loader_names(trainer: pl.Trainer) -> list[str]:
    """Names of the validation loaders."""
    return list(named_loaders(trainer))


def _flattened(loaders: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(loaders, dict | list | tuple):
        yield name or "0", loaders
        return
    parts = loaders.items() if isinstance(loaders, dict) else enumerate(loaders)
    for key, part in parts:
        yield from _flattened(part, f"{name}.{key}" if name else str(key))


def is_fit(trainer: pl.Trainer) -> bool:
    """Whether the trainer is within ``Trainer.fit``, the fit's sanity check and validations included."""
    return trainer.state.fn == TrainerFn.FITTING


def epochs_completed(trainer: pl.Trainer) -> float:
    """Epochs of training completed by Lightning's own count, e.g. 1.5 in the middle of the second; 0 before training.

    Batches are counted and not optimiser steps, so that the number is right however a module optimises. It is NaN outside a fit,
    where the weights may come from anywhere, and within an epoch over a data set that does not know its length.
    """
    if not is_fit(trainer):
        return math.nan
    progress = training_progress(trainer)
    if progress.epochs_started == progress.epochs_processed:  # between two epochs
        return float(progress.epochs_processed)
    if progress.is_last_batch and progress.batches_processed == progress.batches_ready:
        return progress.epochs_processed + 1.0
    if progress.batches_processed and math.isinf(trainer.num_training_batches):
        return math.nan
    return round(progress.epochs_processed + progress.batches_processed / trainer.num_training_batches, 4)


def moment(trainer: pl.Trainer) -> dict[str, float]:
    """The keys that say when something was measured: epoch, and step (optimiser steps completed); both NaN outside a fit."""
    return {"epoch": epochs_completed(trainer), "step": trainer.global_step if is_fit(trainer) else math.nan}


def is_sanity_check_on_resume(trainer: pl.Trainer) -> bool:
    """Whether this is the sanity check of a fit that goes on from a checkpoint.

    Nothing is to be recorded in it.
    """
    return trainer.sanity_checking and (trainer.global_step > 0 or training_progress(trainer).epochs_started > 0)


def probe_fingerprints(trainer: pl.Trainer) -> dict[str, str]:
    """The fingerprints of the data module's probe sets, by loader name; empty where the data module has none."""
    return dict(getattr(data_module_of(trainer), "probe_fingerprints", None) or {})


def word_ids(pl_module: pl.LightningModule, batch: Any) -> Tensor:
    """Ask the module's method ``word_ids(batch)`` which word each token belongs to.

    Returns:
        Integers [batch, sequence], unique over a loader; -1 where a token belongs to no word.

    Raises:
        XlingValueError: the module has no such method, or the method returns something else.
    """
    own = getattr(pl_module, "word_ids", None)
    if not callable(own):
        raise XlingValueError(
            f"{type(pl_module).__name__} does not say which tokens are which words; give it a word_ids(batch) method, or pool "
            "examples with pooling=mean or cls"
        )
    ids = own(batch)
    if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.is_floating_point():
        found = f"{ids.dtype} {list(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
        raise XlingValueError(
            f"expected {type(pl_module).__name__}.word_ids(batch) to give whole numbers [batch, sequence], got {found}"
        )
    return ids


GroupChoice = str | Callable[[Any], Tensor] | None
"""Where the groups of dependent rows come from: a key of the batch, a function of it, or None: the module's ``group_ids``."""


def has_groups(pl_module: pl.LightningModule, choice: GroupChoice = None) -> bool:
    """Whether the caller (by `choice`) or the module says which rows of a batch are not independent."""
    return choice is not None or callable(getattr(pl_module, "group_ids", None))


def group_ids(pl_module: pl.LightningModule, batch: Any, n: int, choice: GroupChoice = None) -> Tensor | None:
    """Find the groups of dependent rows in a batch.

    Args:
        pl_module: module whose method ``group_ids(batch)`` is asked where `choice` is None.
        batch: batch of the module's own kind.
        n: number of rows of the batch.
        choice: where the groups come from, see :data:`GroupChoice`.

    Returns:
        Ids of groups, int64 [n]; None where neither the caller nor the module gives any.

    Raises:
        XlingValueError: the groups are not one integer per row, or the batch has no such key.
    """
    if not has_groups(pl_module, choice):
        return None
    if isinstance(choice, str):
        found = _entry(batch, choice)
    else:
        found = (choice or cast(Any, pl_module).group_ids)(batch)
    ids = found if isinstance(found, Tensor) else torch.as_tensor(found)
    if ids.shape != (n,) or ids.is_floating_point():
        raise XlingValueError(
            f"expected groups as one integer for each of {n} rows of the batch, got {ids.dtype} {tuple(ids.shape)}; give another "
            "groups= or group_ids(batch)"
        )
    return ids.long()


def _entry(batch: Any, key: str) -> Any:
    try:
        return batch[key]
    except (KeyError, TypeError, IndexError, ValueError):
        raise XlingValueError(
            f"groups={key!r} names no entry of the batch, a {type(batch).__name__}; give a key that it has, or a function"
        ) from None


def in_known_groups(rows: Representations, trainer: pl.Trainer, loader: str) -> Representations:
    """Add groups to stored representations that have none, where the data module's ``probe_groups(loader)`` knows them.

    A data module that has no fingerprint of the loader's probe set is not asked, since its groups could be those of other rows.
    """
    say = getattr(data_module_of(trainer), "probe_groups", None)
    if rows.group_ids is not None or not callable(say) or loader not in probe_fingerprints(trainer):
        return rows
    return rows.in_groups(*say(loader))
