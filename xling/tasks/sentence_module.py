"""The LightningModule of sentence and sentence-pair classification, and its scores."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from xling.models.config import config_of
from xling.tasks.heads import ClassificationHead
from xling.tasks.predictions import UNDEFINED, Columns, classes_of
from xling.tasks.transfer_module import TransferModule

METRICS = ("accuracy", "macro_f1")


class LabelScores(Metric):
    """Accuracy and macro-F1 from counts of (true, predicted) labels; exact over any number of processes.

    Macro-F1 is the mean over the labels that occur among truths or predictions.

    Args:
        n_labels: number of classes.
    """

    full_state_update = False
    counts: Tensor
    n_undefined: Tensor

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.n_labels = n_labels
        self.add_state("counts", torch.zeros(n_labels, n_labels, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("n_undefined", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, true: Tensor) -> None:
        """Count labels, both [n] int64; a predicted :data:`UNDEFINED` leaves the scores without a value."""
        is_defined = predicted != UNDEFINED
        self.n_undefined += (~is_defined).sum()
        predicted, true = predicted[is_defined], true[is_defined]
        cells = torch.bincount(true * self.n_labels + predicted, minlength=self.n_labels**2)
        self.counts += cells.view(self.n_labels, self.n_labels)

    def compute(self) -> dict[str, Tensor]:
        """accuracy and macro_f1, 0..1 (NaN once a prediction is undefined), n_examples, and n_undefined of them."""
        counts = self.counts.cpu().double()  # not every device has float64
        correct, either = counts.diagonal(), counts.sum(0) + counts.sum(1)
        occurs, n_undefined = either > 0, self.n_undefined.cpu()
        scores = {
            "accuracy": correct.sum() / counts.sum(),
            "macro_f1": (2 * correct[occurs] / either[occurs]).mean(),
        }
        if n_undefined:
            scores = dict.fromkeys(scores, torch.tensor(torch.nan, dtype=torch.float64))
        return scores | {"n_examples": counts.sum() + n_undefined, "n_undefined": n_undefined}


class SequenceClassifier(TransferModule[LabelScores]):
    """An encoder with a classification head; batches have a label [batch] int64.

    Args:
        encoder: see :class:`xling.tasks.transfer_module.TransferModule`, which takes `settings`.
        n_labels: number of classes.
        pooling: how the head makes one vector of an example, ``cls`` or ``mean``.
        pooler: see :class:`xling.tasks.heads.ClassificationHead`.
        labels: names of the classes; None: their numbers.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        n_labels: int,
        pooling: str,
        pooler: nn.Module | None = None,
        labels: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        head = ClassificationHead(config_of(encoder).hidden_size, n_labels, pooling=pooling, pooler=pooler)
        super().__init__(encoder, head, meter=LabelScores(n_labels), **settings)
        self.label_names = tuple(labels or map(str, range(n_labels)))

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, int]:
        """Compute a batch's summed cross-entropy, and the number of its examples."""
        return nn.functional.cross_entropy(self(batch), batch["label"], reduction="sum"), len(batch["label"])

    def score(self, meter: LabelScores, outputs: Tensor, batch: dict[str, Any], language: str) -> Columns:
        """Count the predicted labels, and return the predictions."""
        predicted = classes_of(outputs)
        meter.update(predicted, batch["label"])
        ids = {name: batch[name] for name in ("example_id", "group_id") if name in batch}
        return ids | {"gold": batch["label"], "predicted": predicted, "probabilities": outputs.float().softmax(dim=-1)}
