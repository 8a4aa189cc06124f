"""Saves time and memory: word pieces that do not occur in the training data have no gradient and no optimiser state."""

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.machine.lightning import callbacks_of
from xling.models.fast.used_rows import UsedRowsEmbedding, can_leave_out_rows
from xling.models.layers import find_layers, looking_in_setup


class TrainUsedRows(pl.Callback):
    """Trains the rows of the word-piece table that the training examples use; the others' gradient is always 0.

    Weights come out as without it, up to the rounding of the gradient's norm, in less time and memory. Checkpoints are smaller,
    because of the optimiser's state, and hold the same weights under the same names. It is only for optimisers that leave a
    parameter with gradient 0 alone, such as AdamW without weight decay, and not for a module that reads the table's weight
    itself. It does nothing to a frozen table, to one that scales or renormalises its rows, or to one that a head shares, since the
    head trains every row. Embeddings that share one table share the rows.

    Runs on ``setup`` (after what freezes, before ``configure_optimizers``), ``on_fit_start`` (check) and ``teardown`` or
    ``on_exception`` (the plain table is put back). Not for FSDP, which shards parameters.

    Callbacks that average weights (EMA, SWA) must come after it: they copy the module in their ``setup``.

    Args:
        used: function that gives the ids of all word pieces in the training examples; called in ``setup``, when they are loaded.
        path: path of the table in the module, empty where there is none; None: see :func:`xling.models.layers.find_layers`.

    Raises:
        XlingValueError: the optimiser decays weights; another callback holds a copy of the module with the plain table; or there
            is no table at `path`, perhaps because the module is not built yet.
    """

    def __init__(self, used: Callable[[], Iterable[int]], path: str | None = None) -> None:
        self.used, self.path = used, path
        self._paths: list[str] = []
        self._table: UsedRowsEmbedding | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Replace the table by one of which only the used rows are parameters."""
        if stage != "fit":
            return
        table = self._find(pl_module)
        if table is None or not can_leave_out_rows(table):
            return
        owners = _owners(pl_module, table.weight)
        if all(can_leave_out_rows(owner) and owner.padding_idx == table.padding_idx for owner in owners.values()):
            _refuse_copies(trainer, self, table)
            self._paths, self._table = list(owners), UsedRowsEmbedding(table, self.used())
            _replace(pl_module, self._paths, self._table)

    def _find(self, pl_module: pl.LightningModule) -> nn.Module | None:
        path = self.path
        if path is None:
            with looking_in_setup(pl_module, "TrainUsedRows"):
                path = find_layers(pl_module).word_embeddings
        if not path:
            return None
        try:
            return pl_module.get_submodule(path)
        except AttributeError:
            raise XlingValueError(
                f"{type(pl_module).__name__} has no module {path!r} when TrainUsedRows looks for it, before the module's own setup "
                "and configure_model; build it in __init__, or give another path"
            ) from None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse an optimiser that would have moved the other rows."""
        if self._table is None:
            return
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        for group in groups:
            if group.get("weight_decay") and any(parameter is self._table.rows for parameter in group["params"]):
                raise XlingValueError(
                    f"weight decay of {group['weight_decay']} moves every row of {self._paths[0]}; set it to 0, or leave out "
                    "TrainUsedRows"
                )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Put the ordinary table back, with the rows as trained."""
        self._put_back(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Put the ordinary table back, with the rows as trained."""
        self._put_back(pl_module)

    def _put_back(self, pl_module: pl.LightningModule) -> None:
        if self._table is not None:
            _replace(pl_module, self._paths, self._table.plain())
            self._table = None


def _refuse_copies(trainer: pl.Trainer | None, callback: pl.Callback, table: nn.Embedding) -> None:
    """Refuse a callback that has copied the module before the rows were taken out, since its copy has other parameters.

    Raises:
        XlingValueError: a callback holds a copy of the table.
    """
    for other in callbacks_of(trainer, pl.Callback) if trainer is not None else ():
        copies = (tensor for value in vars(other).values() for tensor in _tensors(value))
        if other is not callback and any(copy.shape == table.weight.shape for copy in copies):
            raise XlingValueError(
                f"{type(other).__name__} has copied the module before TrainUsedRows changed it; put TrainUsedRows before it in "
                "the trainer's callbacks"
            )


def _tensors(value: Any) -> Iterable[Tensor]:
    """List the tensors of a module, or of a dict or list of tensors, which are the ways in which callbacks keep weights."""
    if isinstance(value, nn.Module):
        return value.parameters()
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [part for part in parts if isinstance(part, Tensor)]


def _owners(module: nn.Module, weight: Tensor) -> dict[str, nn.Module]:
    """Find every path to a module that holds `weight` itself; tied modules, or one module under several names, give several."""
    parts = module.named_modules(remove_duplicate=False)
    return {path: part for path, part in parts if any(own is weight for own in part.parameters(recurse=False))}


def _replace(module: nn.Module, paths: Iterable[str], table: nn.Module) -> None:
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, table)
