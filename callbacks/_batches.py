"""What a callback must know of a batch it has never seen: its name, its padding mask and which examples its rows are."""

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DistributedSampler, SequentialSampler

from xling.errors import XlingValueError
from xling.probing.representations import Representations


def loader_names(trainer: pl.Trainer) -> list[str]:
    """Names of the validation loaders: keys of a dict, else positions ``"0"``, ``"1"``, ..."""
    loaders = trainer.val_dataloaders
    if isinstance(loaders, dict):
        return [str(name) for name in loaders]
    return [str(index) for index in range(len(loaders))] if isinstance(loaders, list | tuple) else ["0"]


def epochs_completed(trainer: pl.Trainer) -> float:
    """Epochs of training completed, e.g. 1.5 in the middle of the second; 0 before training."""
    if trainer.global_step == 0:
        return 0.0
    steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return round(trainer.global_step / steps, 4)


def probe_fingerprints(trainer: pl.Trainer) -> dict[str, str]:
    """What the data module says of its probe sets (loader name -> fingerprint), or nothing."""
    return dict(getattr(trainer.datamodule, "probe_fingerprints", None) or {})


def padding_mask(batch: Any) -> Tensor | None:
    """The entry ``attention_mask`` [batch, sequence] of a dict-like batch, or None."""
    try:
        return batch["attention_mask"]
    except (KeyError, TypeError, IndexError, ValueError):
        return None


def batch_size(batch: Any) -> int:
    """Rows of the first tensor found in a dict, tuple, list or tensor batch.

    Raises:
        XlingValueError: there is no tensor in it.
    """
    if isinstance(batch, Tensor):
        return len(batch)
    parts = batch.values() if hasattr(batch, "values") else batch if isinstance(batch, list | tuple) else ()
    for part in parts:
        if isinstance(part, Tensor) and part.dim() > 0:
            return len(part)
    raise XlingValueError(
        f"expected a batch that is or holds a tensor, found {type(batch).__name__}; give the module an example_ids(batch) method"
    )


def row_ids(
    trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, first_row: int, loader_index: int
) -> Tensor:
    """Ids of a batch's rows, [batch] int64, the same at every validation.

    A module with a method ``example_ids(batch)`` says itself; otherwise a row's id is its position in the loader's data
    set, which needs a loader that does not shuffle. Rows that a distributed sampler repeats to fill up come out as -1.

    Args:
        trainer: in a validation loop.
        pl_module: the module validated.
        batch: the batch.
        first_row: rows of this loader that this process has seen before the batch.
        loader_index: position of the loader.

    Raises:
        XlingValueError: positions are wanted and the loader shuffles.
    """
    position = torch.arange(first_row, first_row + (n := _rows(pl_module, batch)))
    sampler = _sampler(trainer, loader_index)
    if isinstance(sampler, DistributedSampler):
        position = position * sampler.num_replicas + sampler.rank
        is_repeat = position >= len(sampler.dataset)
    else:
        is_repeat = torch.zeros(n, dtype=torch.bool)
    ids = _own_ids(pl_module, batch)
    if ids is None:
        if not isinstance(sampler, SequentialSampler | DistributedSampler) or getattr(sampler, "shuffle", False):
            raise XlingValueError(
                f"validation loader {loader_names(trainer)[loader_index]!r} has a {type(sampler).__name__}, so positions do not "
                "identify rows; set shuffle=False or give the module an example_ids(batch) method"
            )
        ids = position
    return ids.cpu().long().masked_fill(is_repeat, -1)


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


GroupChoice = str | Callable[[Any], Tensor] | None
"""Where the groups of dependent rows come from: a key of the batch, a function of it, or None: the module's ``group_ids``."""


def has_groups(pl_module: pl.LightningModule, choice: GroupChoice = None) -> bool:
    """Whether somebody says which rows of a batch are not independent."""
    return choice is not None or callable(getattr(pl_module, "group_ids", None))


def group_ids(pl_module: pl.LightningModule, batch: Any, choice: GroupChoice = None) -> Tensor | None:
    """Ids [batch] of groups of dependent rows; None where nobody says any.

    Raises:
        XlingValueError: not one integer per row of the batch, or no such key in it.
    """
    if not has_groups(pl_module, choice):
        return None
    if isinstance(choice, str):
        found = _entry(batch, choice)
    else:
        found = (choice or pl_module.group_ids)(batch)
    ids = found if isinstance(found, Tensor) else torch.as_tensor(found)
    if ids.shape != (n := _rows(pl_module, batch),) or ids.is_floating_point():
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
    """Stored representations with their groups: those of the file, else what the data module's ``probe_groups(loader)`` says."""
    say = getattr(trainer.datamodule, "probe_groups", None)
    if rows.group_ids is not None or not callable(say) or loader not in probe_fingerprints(trainer):
        return rows
    return rows.in_groups(*say(loader))


def _own_ids(pl_module: pl.LightningModule, batch: Any) -> Tensor | None:
    own = getattr(pl_module, "example_ids", None)
    return own(batch) if callable(own) else None


def _rows(pl_module: pl.LightningModule, batch: Any) -> int:
    ids = _own_ids(pl_module, batch)
    return batch_size(batch) if ids is None else len(ids)


def _sampler(trainer: pl.Trainer, loader_index: int) -> Any:
    loaders = trainer.val_dataloaders
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    loader = loaders[loader_index] if isinstance(loaders, list | tuple) else loaders
    return getattr(loader, "sampler", None)
