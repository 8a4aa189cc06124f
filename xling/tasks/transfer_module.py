"""The LightningModule that all tasks share: the optimiser, ids for callbacks, and scores on every target language."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Generic, TypeVar, cast

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import Metric
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from xling.machine.distributed import StepMeanLoss
from xling.models.fast.packing import check_packs, encode_packed
from xling.models.fast.prefix import blocks_after
from xling.tasks.predictions import Columns, gather_columns, prediction_frame

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


MeterT = TypeVar("MeterT", bound=Metric)


class TransferModule(StepMeanLoss, pl.LightningModule, ABC, Generic[MeterT]):
    """Base class: an encoder with a head. The module of a task defines the loss and the scores.

    Batches are dicts with input_ids, attention_mask, (token_type_ids,) example_id and group_id. Validation takes one loader
    per target language. Logs ``train/loss`` and ``val/<metric>/<language>`` for every metric.

    Args:
        encoder: a Hugging Face encoder; its output 0 is the last hidden state [batch, sequence, hidden].
        head: maps (hidden states, mask) to what :meth:`loss` and :meth:`score` read.
        metrics: names of the scores, 0..1, that `meter` computes; the first is the transfer metric.
        meter: metric that counts over one language's validation; its ``compute()`` gives every metric by name, ``n_examples`` and
            ``n_undefined``. Each target language has a copy of it.
        target_languages: names of the validation loaders, in any order.
        learning_rate: largest learning rate of AdamW, after the warm-up.
        weight_decay: weight decay of AdamW, applied to every trainable parameter.
        warmup_fraction: fraction of all optimiser steps over which the rate rises from 0, 0..1.
        schedule: ``linear`` decay to 0 or ``constant``.
        evaluation_autocast: False runs validation in float32 whatever the training precision; early layers' impact of
            1e-4 to 1e-3 is below bfloat16's noise.
        packed: train without padding, see :mod:`xling.models.fast.packing`; validation pads, since callbacks read layers there.

    Raises:
        XlingValueError: `packed` is set, and the encoder cannot be trained without padding.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        *,
        metrics: Sequence[str],
        meter: MeterT,
        target_languages: Sequence[str],
        learning_rate: float,
        weight_decay: float = 0.0,
        warmup_fraction: float = 0.0,
        schedule: str = "linear",
        evaluation_autocast: bool = False,
        packed: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.metrics, self.transfer_metric = tuple(metrics), metrics[0]
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.warmup_fraction, self.schedule = warmup_fraction, schedule
        self.evaluation_autocast, self.packed = evaluation_autocast, packed
        if packed:
            check_packs(encoder)
        self.prefix_layer: int | None = None
        """Index of the layer whose stored output is in training batches as `prefix`; None: batches have none."""
        self.target_languages = tuple(target_languages)
        self.meters = nn.ModuleList([meter.clone() for _ in target_languages])
        self.transfer: dict[str, dict[str, float]] = {}
        """Per target language of the last validation: every metric by name, n_examples, and n_undefined of them."""
        self.keeps_predictions: bool | str = False
        """Whether validation keeps its predictions; ``labels``: it keeps them without probabilities."""
        self.label_names: tuple[str, ...] | None = None
        """Names of the classes, where predictions are numbers of classes; None where predictions are texts."""
        self._predicted: dict[str, list[Columns]] = {}

    @abstractmethod
    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, int | Tensor]:
        """Compute the summed loss of a batch, and the number of examples (or words) it is summed over.

        A sum and a count, and not a mean, because the mean is taken over the whole optimiser step: over all its micro-batches and
        processes, which may have different numbers of examples.
        """

    @abstractmethod
    def score(self, meter: MeterT, outputs: Any, batch: dict[str, Any], language: str) -> Columns | None:
        """Count a batch's predictions in `meter`, and return them as columns, so that they can be kept.

        Outputs that are not finite predict nothing. The meter counts them in ``n_undefined``, and its scores are NaN.

        Args:
            meter: the meter of `language`.
            outputs: the result of ``self(batch)``.
            batch: a validation batch.
            language: target language of the batch.
        """

    def predictions(self, language: str) -> pd.DataFrame:
        """Gather the last validation's predictions on `language` from all processes, all of which must call this.

        Returns:
            Columns of :data:`xling.runs.tables.PREDICTIONS` from example_id on, sorted by it.
        """
        found = gather_columns(self._predicted.get(language, []))
        return prediction_frame(found, self.label_names) if found else pd.DataFrame()

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Compute the head's output from the last hidden states."""
        return self.head(self.encode(batch), batch["attention_mask"])

    def encode(self, batch: dict[str, Any]) -> Tensor:
        """Compute the last hidden states, [batch, sequence, hidden].

        In training the frozen layers are left out where the batch brings their stored output along (``cache_frozen=true``), and
        padding is left out where `packed` is set.
        """
        inputs = {name: batch[name] for name in _INPUTS if name in batch}
        prefix = None
        if "prefix" in batch:
            assert self.prefix_layer is not None
            prefix = (self.prefix_layer, batch["prefix"])
        if self.packed and self.training:
            return encode_packed(self.encoder, **inputs, prefix=prefix)
        with blocks_after(self.encoder, *prefix) if prefix else nullcontext():
            return self.encoder(**inputs)[0]

    def example_ids(self, batch: dict[str, Any]) -> Tensor:
        """Give the ids of the batch's rows, [batch] int64, by which callbacks recognise an example at every validation."""
        return batch["example_id"]

    def group_ids(self, batch: dict[str, Any]) -> Tensor:
        """Give the ids, [batch] int64, of groups of rows that are not independent, such as the pairs on one premise."""
        return batch["group_id"]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Compute the mean loss of the whole step's batch, see :class:`~xling.machine.distributed.StepMeanLoss`."""
        total, count = self.loss(batch)
        is_real = batch["example_id"][0] >= 0  # otherwise the row only fills an empty micro-batch
        loss = self.step_mean(total * is_real, count * is_real)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["example_id"]))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count correct predictions; callbacks read the layers of this same forward pass."""
        with torch.autocast(
            self.device.type, enabled=self.evaluation_autocast and torch.is_autocast_enabled(self.device.type)
        ):
            outputs = self(batch)
        language = self._validated_languages[dataloader_idx]
        if batch["example_id"][0] < 0:  # the row only fills an empty micro-batch
            # scored with no rows, and not skipped, so that the meters of all processes have the same states
            outputs, batch = outputs[:0], {name: column[:0] for name, column in batch.items()}
        found = self.score(self._meters[self.target_languages.index(language)], outputs, batch, language)
        if self.keeps_predictions and found and not self.trainer.sanity_checking:
            if self.keeps_predictions == "labels":
                found.pop("probabilities", None)
            self._predicted.setdefault(language, []).append(found)

    @property
    def _meters(self) -> list[MeterT]:
        return cast("list[MeterT]", list(self.meters))

    @property
    def _validated_languages(self) -> list[str]:
        """Target languages of the validation loaders, in their order."""
        assert self.trainer.val_dataloaders is not None
        return list(self.trainer.val_dataloaders)

    def on_validation_epoch_start(self) -> None:
        """Reset the counts of an earlier or interrupted validation."""
        self._predicted = {}
        for meter in self._meters:
            meter.reset()

    def on_validation_epoch_end(self) -> None:
        """Compute and log the scores on every target."""
        self.transfer = {}
        validated = self._validated_languages
        for language, meter in zip(self.target_languages, self._meters, strict=True):
            if language in validated:  # even if this process had none of its rows: a meter adds up over all
                self.transfer[language] = {name: float(value) for name, value in meter.compute().items()}
                for name in self.metrics:
                    self.log(f"val/{name}/{language}", self.transfer[language][name], batch_size=1)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build AdamW over the parameters that are not frozen, with a schedule that advances at every optimiser step."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        # a fused optimizer unscales float16 gradients itself, which is too late to clip them
        is_fused = self.trainer.scaler is None
        optimizer = torch.optim.AdamW(trainable, lr=self.learning_rate, weight_decay=self.weight_decay, fused=is_fused)
        n_steps = self.trainer.estimated_stepping_batches
        warmup = round(self.warmup_fraction * n_steps)
        if self.schedule == "linear":
            scheduler = get_linear_schedule_with_warmup(optimizer, warmup, n_steps)
        else:
            scheduler = get_constant_schedule_with_warmup(optimizer, warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
