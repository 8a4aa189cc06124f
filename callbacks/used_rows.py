"""Leaves word pieces that training never meets out of gradients and optimiser state."""

from collections.abc import Callable, Iterable

import pytorch_lightning as pl
from torch import nn

from xling.errors import XlingValueError
from xling.models.fast.used_rows import UsedRowsEmbedding, can_leave_out_rows
from xling.models.layers import find_layers


class TrainUsedRows(pl.Callback):
    """Trains the rows of the word-piece table that the training examples use; the others' gradient is always 0.

    Weights come out as without it, up to the rounding of the gradient's norm, in less time and memory, and with smaller
    checkpoints, whose weights look as ever. Only for optimisers that leave a parameter with gradient 0 alone, such as AdamW
    without weight decay. Does nothing to a frozen table, one that scales or renormalises its rows, or one that a head shares,
    which trains every row. Embeddings that share one table share the rows. Not for a module that reads the table's weight itself.

    Runs on ``setup`` (after what freezes, before ``configure_optimizers``), ``on_fit_start`` (check) and ``teardown`` or
    ``on_exception`` (the plain table is put back). Not for FSDP, which shards parameters.

    Args:
        used: gives the ids of all pieces in the training examples, once they are loaded.
        path: of the table in the module, empty where there is none; None: that of :func:`xling.models.layers.find_layers`.

    Raises:
        XlingValueError: the optimiser decays weights.
    """

    def __init__(self, used: Callable[[], Iterable[int]], path: str | None = None) -> None:
        self.used, self.path = used, path
        self._paths: list[str] = []
        self._table: UsedRowsEmbedding | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the rows out."""
        path = find_layers(pl_module).word_embeddings if self.path is None else self.path
        if stage != "fit" or not path or not can_leave_out_rows(table := pl_module.get_submodule(path)):
            return
        owners = _owners(pl_module, table.weight)
        if all(can_leave_out_rows(owner) and owner.padding_idx == table.padding_idx for owner in owners.values()):
            self.path, self._paths, self._table = path, list(owners), UsedRowsEmbedding(table, self.used())
            _replace(pl_module, self._paths, self._table)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse an optimiser that would have moved the other rows."""
        if self._table is None:
            return
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        for group in groups:
            if group.get("weight_decay") and any(parameter is self._table.rows for parameter in group["params"]):
                raise XlingValueError(
                    f"weight decay of {group['weight_decay']} moves every row of {self.path}; set it to 0, or leave out "
                    "TrainUsedRows"
                )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Put the plain table back."""
        self._put_back(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Put the plain table back."""
        self._put_back(pl_module)

    def _put_back(self, pl_module: pl.LightningModule) -> None:
        if self._table is not None:
            _replace(pl_module, self._paths, self._table.plain())
            self._table = None


def _owners(module: nn.Module, weight: nn.Parameter) -> dict[str, nn.Module]:
    """Every path to a module that holds `weight` itself: tied modules, and one module under several names."""
    parts = module.named_modules(remove_duplicate=False)
    return {path: part for path, part in parts if any(own is weight for own in part.parameters(recurse=False))}


def _replace(module: nn.Module, paths: Iterable[str], table: nn.Module) -> None:
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, table)
