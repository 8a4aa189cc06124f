"""Finds which examples the rows of a validation batch are, and refuses loaders where that may change between validations."""

from collections.abc import Sized
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, SequentialSampler

from xling.callbacks._batches import named_loaders
from xling.errors import XlingValueError

_DEALERS = (DistributedSampler, UnrepeatedDistributedSampler)
_REMEDY = "give the module an example_ids(batch) method"


def row_ids(
    trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, first_row: int, loader_index: int
) -> Tensor:
    """Find the ids of a batch's rows, which are the same at every validation.

    A module with a method ``example_ids(batch)`` gives them itself. Otherwise a row's id is its position in the loader's data
    set, which needs a plain ``DataLoader`` that goes through it in order.

    Args:
        trainer: trainer in a validation loop.
        pl_module: the module that is validated.
        batch: batch of the module's own kind.
        first_row: number of rows of this loader that this process has seen before the batch.
        loader_index: position of the loader among the validation loaders.

    Returns:
        Ids, int64 [batch]; -1 for a row that a distributed sampler repeats so that all processes have equally many.

    Raises:
        XlingValueError: the loader shuffles or samples, so that positions do not identify rows; or the module's ids are not one
            integer per row.
    """
    name, loader = list(named_loaders(trainer).items())[loader_index]
    own = getattr(pl_module, "example_ids", None)
    if callable(own):
        ids = _checked(own(batch), pl_module)
        n = len(ids)
    else:
        if why := _why_unordered(loader):
            raise XlingValueError(
                f"validation loader {name!r} has {why}, so positions do not identify rows; set shuffle=False on a plain "
                f"DataLoader or {_REMEDY}"
            )
        n, ids = _rows_of(loader, batch, first_row), None
    position, is_repeat = _positions(loader, first_row, n)
    return (position if ids is None else ids).masked_fill(is_repeat, -1)


def check_rows(n: int, layers: dict[str, Tensor]) -> None:
    """Refuse layers whose first axis is not the batch's examples.

    Args:
        n: examples in the batch.
        layers: label -> rows [batch, features].

    Raises:
        XlingValueError: one has another number of rows.
    """
    for label, rows in layers.items():
        if len(rows) != n:
            raise XlingValueError(
                f"layer {label} gave {len(rows)} rows for a batch of {n} examples; the first axis of a layer's output must be "
                f"the batch: choose another layer (or batch_first=True), or {_REMEDY}, one id per row"
            )


def _checked(ids: Any, pl_module: pl.LightningModule) -> Tensor:
    if not isinstance(ids, Tensor) or ids.dim() != 1 or ids.is_floating_point() or ids.is_complex():
        found = f"{ids.dtype} {list(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
        raise XlingValueError(
            f"expected {type(pl_module).__name__}.example_ids(batch) to give one whole number per example, [batch] int64, "
            f"got {found}"
        )
    return ids.cpu().long()


def _why_unordered(loader: Any) -> str:
    """Name what may give another order at each pass, or one that is not the data set's; empty if nothing does."""
    if not isinstance(loader, DataLoader):
        return f"a {type(loader).__name__}, whose order is not known"
    if isinstance(loader.dataset, IterableDataset):
        return f"a {type(loader.dataset).__name__}, whose order is not known"
    if loader.batch_sampler is not None and type(loader.batch_sampler) is not BatchSampler:
        return f"a {type(loader.batch_sampler).__name__} as batch_sampler"
    sampler = _sampler(loader)
    if type(sampler) is SequentialSampler:
        return ""
    if type(sampler) not in _DEALERS or sampler.shuffle or loader.batch_sampler is None:
        return f"a {type(sampler).__name__}"
    return ""


def _sampler(loader: Any) -> Any:
    """The sampler that yields positions of single examples; with a batch sampler that is not ``loader.sampler``."""
    batches = getattr(loader, "batch_sampler", None)
    return getattr(loader if batches is None else batches, "sampler", None)


def _rows_of(loader: DataLoader, batch: Any, first_row: int) -> int:
    """Examples that the loader has put into this batch; where the data set gives whole batches, those of its first tensor."""
    if not isinstance(loader.batch_sampler, BatchSampler):
        return batch_size(batch)
    return min(loader.batch_sampler.batch_size, len(_sampler(loader)) - first_row)


def _positions(loader: Any, first_row: int, n: int) -> tuple[Tensor, Tensor]:
    """Positions in the data set of the next `n` rows, and which of them a distributed sampler repeats."""
    position, sampler = torch.arange(first_row, first_row + n), _sampler(loader)
    if isinstance(sampler, DistributedSampler) and type(loader.batch_sampler) is BatchSampler:
        position = position * sampler.num_replicas + sampler.rank
        return position, position >= len(cast(Sized, sampler.dataset))
    return position, torch.zeros(n, dtype=torch.bool)


def batch_size(batch: Any) -> int:
    """Rows of the first tensor found in a dict, tuple, list or tensor batch.

    Raises:
        XlingValueError: the batch holds no tensor.
    """
    if isinstance(batch, Tensor) and batch.dim() > 0:
        return len(batch)
    parts = batch.values() if hasattr(batch, "values") else batch if isinstance(batch, list | tuple) else ()
    for part in parts:
        if isinstance(part, Tensor) and part.dim() > 0:
            return len(part)
    raise XlingValueError(f"expected a batch that is or holds a tensor, found {type(batch).__name__}; {_REMEDY}")
