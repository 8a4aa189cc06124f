"""Base class of the callbacks that measure representations: it reads layers inside the validation forward pass that runs anyway."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from xling.callbacks._batches import GroupChoice, group_ids, has_groups, loader_names, word_ids
from xling.callbacks._masks import Masks, decoder_layers
from xling.callbacks._rows import check_rows, row_ids
from xling.errors import XlingValueError
from xling.models.pooling import WORD_POOLINGS, Pooling, first_piece, get_probe_pooling, words_of
from xling.probing.axes import FeatureAxis
from xling.probing.pooling import layer_poolings
from xling.probing.select import LayerChoice, select_layers
from xling.probing.tap import LayerTap
from xling.probing.uncompiled import uncompiled


@dataclass(frozen=True)
class ProbedBatch:
    """Says which examples, or which words, the rows of a batch's representations stand for.

    Attributes:
        example_ids: ids of examples (or words), int64 [b] on the CPU; each occurs once over all processes.
        group_ids: ids of groups, int64 [b]; rows of one group are not independent. None where the module does not say.
        labels: labels of the rows, int64 [b] on the CPU, from :meth:`RepresentationProbe.row_labels`; None where there are none.
    """

    example_ids: Tensor
    group_ids: Tensor | None
    labels: Tensor | None = None


class RepresentationProbe(pl.Callback):
    """Base class: pools every layer in each validation batch and hands the rows to :meth:`observe`.

    Runs on ``setup`` and ``on_train_end`` (one warning where nothing is measured), ``on_validation_start`` (hooks on),
    ``on_validation_batch_start``/``_end`` (pool, hand over), ``on_validation_epoch_end`` (last loader done),
    ``on_validation_end``, ``on_exception`` and ``teardown`` (hooks off).
    Adds no forward pass and draws no random number; compiled modules run uncompiled meanwhile, as hooks would be lost.

    Args:
        layers: see :func:`xling.probing.select.select_layers`.
        pooling: ``mean`` (over the positions that the module's ``padding_mask(batch, layer)`` or the batch's
            ``attention_mask`` counts, [batch, sequence] of 0 and 1), ``cls`` or ``flatten`` make one row per example; ``word``
            (first piece) and ``word_mean`` one per word of the module's ``word_ids(batch)``, [batch, sequence] int64, -1 where
            a token belongs to none; words of an example are then one group unless the module says otherwise. Or a function of
            one's own, of the layer's output and the mask.
        groups: which examples are not independent: a key of the batch, or a function of it, giving [batch] integers; None: what
            the module's ``group_ids(batch)`` says, if it has that method.
        feature_axis: which axis of a layer's output holds its features where its module does not say, e.g. -1 in [batch,
            sequence, hidden], 1 in [batch, channel, time]: one for all layers, or by pattern of their labels.
    """

    def __init__(
        self,
        layers: LayerChoice = None,
        pooling: str | Pooling = "mean",
        groups: GroupChoice = None,
        feature_axis: FeatureAxis = None,
    ) -> None:
        self.layers, self.pooling = layers, pooling
        self.groups, self.feature_axis = groups, feature_axis
        get_probe_pooling(pooling)
        self._has_words = pooling in WORD_POOLINGS
        self._tap: LayerTap | None = None
        self._resources = ExitStack()
        self._loader: str | None = None
        self._rows_seen = 0
        self._has_validated = False
        self._decoder: frozenset[str] = frozenset()
        self._widths: dict[str, int] = {}

    def observe(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str, rows: ProbedBatch, layers: list[Tensor]
    ) -> None:
        """Receive a batch; for subclasses.

        Args:
            trainer: the trainer that validates.
            pl_module: the module that is validated.
            loader: name of the validation loader.
            rows: which examples or words the rows are, [b].
            layers: representations of the rows, one tensor [b, hidden] per layer, on the module's device.
        """

    def row_labels(self, batch: Any, words: Tensor | None) -> Tensor | None:
        """Give the labels of a batch's rows, one integer each; for subclasses that need labels.

        Args:
            batch: batch of the module's own kind.
            words: word of each token, int64 [batch, sequence], where words are pooled; else None.
        """
        return None

    def loader_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Called before the first batch of a loader."""

    def loader_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Called after the last batch of a loader."""

    @property
    def pooling_name(self) -> str:
        """The pooling as files record it: its name, or module and name of a function."""
        return (
            self.pooling if isinstance(self.pooling, str) else f"{self.pooling.__module__}:{self.pooling.__qualname__}"
        )

    def knows_groups(self, pl_module: pl.LightningModule) -> bool:
        """Whether it is known which rows are not independent."""
        return self._has_words or has_groups(pl_module, self.groups)

    @property
    def labels(self) -> list[str]:
        """Labels of the layers; known once a validation has started."""
        return list(self._tap.modules) if self._tap else []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Warn if the trainer will not validate, so that nothing would be measured."""
        self._has_validated = False
        for name in ("test", "predict"):
            if stage == name:
                self._warn(f"Trainer.{name} runs no validation; use Trainer.validate, or fit")
        if stage == "fit" and not trainer.enable_validation:
            self._warn("this fit has no validation (no loader or validation_step for it, or limit_val_batches=0)")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn if no validation has run."""
        if trainer.enable_validation and not self._has_validated:
            self._warn(
                f"no validation ran up to step {trainer.global_step}, where training ended; lower check_val_every_n_epoch "
                "or val_check_interval"
            )

    def _warn(self, why: str) -> None:
        rank_zero_warn(f"{type(self).__name__} reads layers in validation alone and measures nothing: {why}")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Register the forward hooks."""
        self._has_validated |= not trainer.sanity_checking
        self._release()
        modules = select_layers(pl_module, self.layers)
        self._decoder, self._widths = decoder_layers(pl_module, modules), {}
        self._tap = LayerTap(modules, layer_poolings(self.pooling, pl_module, modules, self.layers, self.feature_axis))
        self._tap.attach()
        self._resources.callback(self._tap.detach)
        if "torch._dynamo" in sys.modules:  # something may be compiled, and compiled code loses hooks
            self._resources.enter_context(uncompiled())

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Prepare to record the forward pass of this batch."""
        loader = loader_names(trainer)[dataloader_idx]
        if loader != self._loader:
            self._finish_loader(trainer, pl_module)
            self._loader, self._rows_seen = loader, 0
            self.loader_start(trainer, pl_module, loader)
        assert self._tap is not None
        self._tap.begin_pass(self._positions(pl_module, batch))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Give the recorded representations to :meth:`observe`, every example once."""
        assert self._tap is not None
        assert self._loader is not None
        ids = row_ids(trainer, pl_module, batch, self._rows_seen, dataloader_idx)
        groups = group_ids(pl_module, batch, len(ids), self.groups)
        self._rows_seen += len(ids)
        layers = self._tap.end_pass()
        self._check_widths(layers)
        words = word_ids(pl_module, batch) if self._has_words else None
        if words is not None:
            if len(words) != len(ids):
                raise XlingValueError(
                    f"word_ids(batch) has {len(words)} rows for a batch of {len(ids)} examples; expected one per example"
                )
            ids, groups = _of_words(words, ids, groups)
        else:
            check_rows(len(ids), dict(zip(self.labels, layers, strict=True)))
        labels = self.row_labels(batch, words)
        labels = None if labels is None else labels.cpu().long()
        if (ids < 0).any():  # repeated by a distributed sampler to fill up
            keep = ids >= 0
            ids, layers = ids[keep], [layer[keep.to(layer.device)] for layer in layers]
            groups = None if groups is None else groups[keep.to(groups.device)]
            labels = None if labels is None else labels[keep]
        if len(ids):
            self.observe(trainer, pl_module, self._loader, ProbedBatch(ids, groups, labels), layers)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finish the last loader."""
        self._finish_loader(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the hooks."""
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Remove the hooks."""
        self._release()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remove the hooks."""
        self._release()

    def _positions(self, pl_module: pl.LightningModule, batch: Any) -> Tensor | Masks | None:
        """What the pooling needs beside the layers' outputs: the words, the padding masks, or nothing."""
        if self._has_words:
            return word_ids(pl_module, batch)
        return None if self.pooling == "flatten" else Masks(pl_module, batch, self._decoder)

    def _check_widths(self, layers: list[Tensor]) -> None:
        """Refuse a layer that gives rows of another width than before, as flattened sequences of differing length do."""
        for label, layer in zip(self.labels, layers, strict=True):
            if self._widths.setdefault(label, layer.shape[1]) != layer.shape[1]:
                raise XlingValueError(
                    f"layer {label} gave rows of {self._widths[label]} features, then of {layer.shape[1]}, which cannot be "
                    "compared; use pooling=mean, or pad to one length"
                )

    def _finish_loader(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._loader is not None:
            self.loader_end(trainer, pl_module, self._loader)
        self._loader = None

    def _release(self) -> None:
        self._resources.close()
        self._loader = None


def _of_words(words: Tensor, ids: Tensor, groups: Tensor | None) -> tuple[Tensor, Tensor]:
    """Turn ids and groups of a batch's examples into those of its words.

    Args:
        words: word of each token, int64 [batch, sequence]; -1 where a token belongs to none.
        ids: ids of the examples, [batch]; -1 for an example that a distributed sampler repeats, whose words get -1 as well.
        groups: groups of the examples, [batch]; None: the words of one example are one group.
    """
    example = torch.arange(len(words), device=words.device)[:, None].expand_as(words)
    owner = first_piece(example, words).cpu()
    groups = (ids if groups is None else groups).cpu()
    return words_of(words).cpu().masked_fill(ids[owner] < 0, -1), groups[owner]
