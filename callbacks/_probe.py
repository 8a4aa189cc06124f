"""The part that all observing callbacks share: layers are read inside the validation forward pass that runs anyway."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from xling.callbacks._batches import GroupChoice, group_ids, has_groups, loader_names, padding_mask, row_ids, word_ids
from xling.models.pooling import WORD_POOLINGS, first_piece, get_probe_pooling, words_of
from xling.probing.select import LayerChoice, select_layers
from xling.probing.tap import LayerTap
from xling.probing.uncompiled import uncompiled


@dataclass(frozen=True)
class ProbedBatch:
    """Which examples, or which words, the rows of a batch's representations are.

    Attributes:
        example_ids: [b] int64 on the CPU, each example (or word) once over all processes.
        group_ids: [b] int64, rows that share one are not independent; None where the module does not say.
    """

    example_ids: Tensor
    group_ids: Tensor | None


class RepresentationProbe(pl.Callback):
    """Base class: pools every layer in each validation batch and hands the rows to :meth:`observe`.

    Runs on ``on_validation_start`` (hooks on), ``on_validation_batch_start``/``_end`` (pool, hand over),
    ``on_validation_epoch_end`` (last loader done), ``on_validation_end``, ``on_exception`` and ``teardown`` (hooks off).
    Adds no forward pass and draws no random number; compiled modules run uncompiled meanwhile, as hooks would be lost.

    Args:
        layers: see :func:`xling.probing.select.select_layers`.
        pooling: ``mean`` (with the batch's ``attention_mask`` where it has one), ``cls`` or ``flatten`` make one row per
            example; ``word`` (first piece) and ``word_mean`` one per word of the module's ``word_ids(batch)``, [batch, sequence]
            int64, -1 where a token belongs to none; words of an example are then one group unless the module says otherwise.
        groups: which examples are not independent: a key of the batch, or a function of it, giving [batch] integers; None: what
            the module's ``group_ids(batch)`` says, if it has that method.
    """

    def __init__(self, layers: LayerChoice = None, pooling: str = "mean", groups: GroupChoice = None) -> None:
        self.layers, self.pooling, self.groups = layers, pooling, groups
        self._pool = get_probe_pooling(pooling)
        self._has_words = pooling in WORD_POOLINGS
        self._tap: LayerTap | None = None
        self._resources = ExitStack()
        self._loader: str | None = None
        self._rows_seen = 0

    def observe(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str, rows: ProbedBatch, layers: list[Tensor]
    ) -> None:
        """Take one batch: its rows' ids and, per layer, their representations [b, hidden] on the device."""

    def loader_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Called before the first batch of a loader."""

    def loader_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Called after the last batch of a loader."""

    def knows_groups(self, pl_module: pl.LightningModule) -> bool:
        """Whether the rows come with the ids of their groups."""
        return self._has_words or has_groups(pl_module, self.groups)

    @property
    def labels(self) -> list[str]:
        """Labels of the layers; known once a validation has started."""
        return list(self._tap.modules) if self._tap else []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the hooks on."""
        self._release()
        self._tap = LayerTap(select_layers(pl_module, self.layers), self._pool)
        self._tap.attach()
        self._resources.callback(self._tap.detach)
        if "torch._dynamo" in sys.modules:  # something may be compiled, and compiled code loses hooks
            self._resources.enter_context(uncompiled())

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Expect a forward pass."""
        loader = loader_names(trainer)[dataloader_idx]
        if loader != self._loader:
            self._finish_loader(trainer, pl_module)
            self._loader, self._rows_seen = loader, 0
            self.loader_start(trainer, pl_module, loader)
        self._tap.start(word_ids(pl_module, batch) if self._has_words else padding_mask(batch))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand over what the forward pass left, each example once."""
        ids = row_ids(trainer, pl_module, batch, self._rows_seen, dataloader_idx)
        groups = group_ids(pl_module, batch, self.groups)
        self._rows_seen += len(ids)
        layers = self._tap.take()
        if self._has_words:
            ids, groups = _of_words(word_ids(pl_module, batch), ids, groups)
        if (ids < 0).any():  # repeated by a distributed sampler to fill up
            keep = ids >= 0
            ids, layers = ids[keep], [layer[keep.to(layer.device)] for layer in layers]
            groups = None if groups is None else groups[keep.to(groups.device)]
        if len(ids):
            self.observe(trainer, pl_module, self._loader, ProbedBatch(ids, groups), layers)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the last loader."""
        self._finish_loader(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the hooks off."""
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the hooks off."""
        self._release()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the hooks off."""
        self._release()

    def _finish_loader(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._loader is not None:
            self.loader_end(trainer, pl_module, self._loader)
        self._loader = None

    def _release(self) -> None:
        self._resources.close()
        self._loader = None


def _of_words(words: Tensor, ids: Tensor, groups: Tensor | None) -> tuple[Tensor, Tensor]:
    """Ids and groups of a batch's words [batch, sequence], from those of its examples; repeated examples stay -1."""
    example = torch.arange(len(words), device=words.device)[:, None].expand_as(words)
    owner = first_piece(example, words).cpu()
    groups = (ids if groups is None else groups).cpu()
    return words_of(words).cpu().masked_fill(ids[owner] < 0, -1), groups[owner]
