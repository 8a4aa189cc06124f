"""Fine-tuning of an encoder for sequence classification, evaluated on every target language."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class SequenceClassifier(pl.LightningModule):
    """An encoder with a classification head.

    Batches are dicts with input_ids, attention_mask, (token_type_ids,) label and example_id. Validation takes one loader
    per target language. Logs ``train/loss``, ``val/accuracy/<language>`` and ``val/loss/<language>``.

    Args:
        encoder: a Hugging Face encoder; its output 0 is the last hidden state [batch, sequence, hidden].
        head: maps (hidden states, mask) to logits [batch, n_labels].
        n_labels: number of classes.
        target_languages: names of the validation loaders, in any order.
        learning_rate: peak of AdamW.
        weight_decay: of AdamW.
        warmup_fraction: share of all steps over which the rate rises from 0.
        schedule: ``linear`` decay to 0 or ``constant``.
        evaluation_autocast: False runs validation in float32 whatever the training precision; early layers' impact of
            1e-4 to 1e-3 is below bfloat16's noise.
    """

    transfer_metric = "accuracy"

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        *,
        n_labels: int,
        target_languages: Sequence[str],
        learning_rate: float,
        weight_decay: float = 0.0,
        warmup_fraction: float = 0.0,
        schedule: str = "linear",
        evaluation_autocast: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.target_languages = tuple(target_languages)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.warmup_fraction, self.schedule = warmup_fraction, schedule
        self.evaluation_autocast = evaluation_autocast
        accuracy = MulticlassAccuracy(n_labels, average="micro")
        self.accuracy = MetricCollection({t: accuracy.clone() for t in target_languages}, compute_groups=False)
        self.transfer: dict[str, dict[str, float]] = {}
        """Per target language of the last validation: score and n_examples."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Class scores, [batch, n_labels]."""
        hidden_states = self.encoder(**{name: batch[name] for name in _INPUTS if name in batch})[0]
        return self.head(hidden_states, batch["attention_mask"])

    def example_ids(self, batch: dict[str, Tensor]) -> Tensor:
        """Stable ids of the batch's rows, [batch] int64, for callbacks that compare rows over time."""
        return batch["example_id"]

    def group_ids(self, batch: dict[str, Tensor]) -> Tensor:
        """Premise ids of the batch's rows, [batch] int64: examples that share one are not independent."""
        return batch["premise_id"]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Mean cross-entropy of the batch."""
        loss = nn.functional.cross_entropy(self(batch), batch["label"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["label"]))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count correct predictions; callbacks read the layers of this same forward pass."""
        with torch.autocast(
            self.device.type, enabled=self.evaluation_autocast and torch.is_autocast_enabled(self.device.type)
        ):
            logits = self(batch)
        language = list(self.trainer.val_dataloaders)[dataloader_idx]
        self.accuracy[language].update(logits, batch["label"])

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of an earlier or interrupted validation."""
        self.accuracy.reset()

    def on_validation_epoch_end(self) -> None:
        """Compute and log the accuracy on every target."""
        self.transfer = {}
        for language, metric in self.accuracy.items(keep_base=True):
            if metric.update_called:
                with metric.sync_context():  # sums over processes; integers, so the fraction is exact
                    correct, n_examples = int(metric.tp), int(metric.tp + metric.fn)
                self.transfer[language] = {"score": correct / n_examples, "n_examples": n_examples}
                self.log(f"val/accuracy/{language}", correct / n_examples)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over what is not frozen, with the schedule stepped every optimiser step."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        n_steps = self.trainer.estimated_stepping_batches
        warmup = round(self.warmup_fraction * n_steps)
        if self.schedule == "linear":
            scheduler = get_linear_schedule_with_warmup(optimizer, warmup, n_steps)
        else:
            scheduler = get_constant_schedule_with_warmup(optimizer, warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
