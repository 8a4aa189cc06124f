"""The LightningModule of word classification, and its scores."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from xling.data.collate import IGNORED
from xling.models.config import config_of
from xling.tasks.entities import entity_f1
from xling.tasks.heads import TokenHead
from xling.tasks.predictions import UNDEFINED, Columns, classes_of
from xling.tasks.transfer_module import TransferModule
from xling.tasks.windows import WORD_BITS

METRICS = ("accuracy", "entity_f1")


class WordScores(Metric):
    """Accuracy over words and F1 over entities.

    All words are kept with their ids until the end, because the words of an entity may be in different windows and batches.

    Args:
        labels: names of the classes.
    """

    full_state_update = False
    words: list[Tensor]
    true: list[Tensor]
    predicted: list[Tensor]

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        for name in ("words", "true", "predicted"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, words: Tensor, predicted: Tensor, true: Tensor) -> None:
        """Add words: their ids (sentence and position) and labels, each [n] int64."""
        self.words.append(words)
        self.predicted.append(predicted)
        self.true.append(true)

    def compute(self) -> dict[str, Tensor]:
        """accuracy and entity_f1, 0..1 (NaN once a prediction is undefined), n_examples, which counts words, and n_undefined."""
        words, true, predicted = (dim_zero_cat(state).cpu() for state in (self.words, self.true, self.predicted))
        counts = {"n_examples": torch.tensor(len(words)), "n_undefined": (predicted == UNDEFINED).sum()}
        if counts["n_undefined"]:
            return dict.fromkeys(METRICS, torch.tensor(torch.nan, dtype=torch.float64)) | counts
        order = words.argsort()
        sizes = torch.unique_consecutive(words[order] >> WORD_BITS, return_counts=True)[1].tolist()
        tags = (
            [[self.labels[i] for i in s.tolist()] for s in labels[order].split(sizes)] for labels in (true, predicted)
        )
        return {
            "accuracy": (true == predicted).double().mean(),
            "entity_f1": torch.tensor(entity_f1(*tags), dtype=torch.float64),
        } | counts


class TokenClassifier(TransferModule[WordScores]):
    """An encoder with a classifier on every word's first piece.

    Batches have labels [batch, sequence] (-100 where a token has none), word [batch, sequence] (the position of a token's word in
    its sentence, -1 where it belongs to none) and sentence_id [batch].

    Args:
        encoder: see :class:`xling.tasks.transfer_module.TransferModule`, which takes `settings`.
        labels: names of the classes.
        metric: transfer metric, one of :data:`METRICS`; entity_f1 is measured only where it is the transfer metric.
    """

    def __init__(self, encoder: nn.Module, *, labels: Sequence[str], metric: str, **settings: Any) -> None:
        metrics = ["entity_f1", "accuracy"] if metric == "entity_f1" else ["accuracy"]
        head = TokenHead(config_of(encoder).hidden_size, len(labels))
        super().__init__(encoder, head, metrics=metrics, meter=WordScores(labels), **settings)
        self.label_names = tuple(labels)

    def word_ids(self, batch: dict[str, Any]) -> Tensor:
        """Give each token's word, an id that is unique over a set, [batch, sequence] int64; -1 where it belongs to none."""
        ids = (batch["sentence_id"][:, None] << WORD_BITS) + batch["word"]
        return ids.masked_fill(batch["word"] < 0, -1)

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Compute a batch's summed cross-entropy, and the number of its words."""
        logits, labels = self(batch).flatten(0, 1), batch["labels"].flatten()
        return nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"), (
            labels != IGNORED
        ).sum()

    def score(self, meter: WordScores, outputs: Tensor, batch: dict[str, Any], language: str) -> Columns:
        """Score each word by the prediction at its first piece."""
        is_first = batch["labels"] != IGNORED
        words, logits, true = self.word_ids(batch)[is_first], outputs[is_first], batch["labels"][is_first]
        predicted = classes_of(logits)
        meter.update(words, predicted, true)
        groups = batch["group_id"][:, None].expand_as(is_first)[is_first]
        found = {"example_id": words, "group_id": groups, "gold": true, "predicted": predicted}
        return found | {"probabilities": logits.float().softmax(dim=-1)}
