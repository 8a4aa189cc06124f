"""Prepares the classification of a sentence or a pair of sentences: XNLI, PAWS-X, sentiment, topics."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from torch import nn
from transformers import PreTrainedTokenizerBase

from xling.data.examples import check_examples
from xling.errors import check_known
from xling.tasks.encoding import encode_texts
from xling.tasks.labels import check_labels, fitted_labels, given_labels, is_missing, label_text, labels_of
from xling.tasks.sentence_module import METRICS, SequenceClassifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SentenceClassification:
    """The task of classifying sentences or pairs of sentences.

    Examples have the columns text, label and, where they are pairs, text_pair.

    Args:
        labels: all labels; their order numbers the classes. None: those of the training examples, sorted.
        metric: transfer metric, ``accuracy`` or ``macro_f1``; the other one is measured beside it.

    Raises:
        XlingValueError: `metric` is neither of these, or `labels` are not two or more different labels.
    """

    labels: Sequence[str] | None = None
    metric: str = "accuracy"
    fills: Mapping[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        check_known("metric", self.metric, METRICS)
        object.__setattr__(self, "labels", given_labels(self.labels))  # the class is frozen to everybody else

    def unlabelled(self, frame: pd.DataFrame) -> list[bool]:
        """Whether each example has no label, [n]."""
        return [is_missing(label_text(label), self.labels) for label in frame.get("label", [""] * len(frame))]

    def check(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return the examples with their labels as texts, and refuse examples that do not fit the task.

        Raises:
            XlingValueError: there are no rows, a column is missing, a label is missing or unknown, or an id occurs twice.
        """
        frame = check_examples(frame, ("text", "label"), where)
        frame = frame.assign(label=[label_text(label) for label in frame["label"]])
        check_labels(frame, [[label] for label in frame["label"]], self.labels, where)
        blank = frame[self._texts(frame)].apply(lambda column: column.astype(str).str.strip().eq("")).any(axis=1)
        if blank.any():  # machine-translated training text has some; the label still holds for the other sentence
            log.warning("%s: %d of %d examples have an empty text; they are kept", where, blank.sum(), len(frame))
        return frame

    def fitted(self, frame: pd.DataFrame) -> "SentenceClassification":
        """Return the task with the labels of the training examples `frame`, unless its labels are given."""
        return self if self.labels else replace(self, labels=labels_of(frame["label"], "training examples"))

    def columns(self, frame: pd.DataFrame) -> list[str]:
        """List the columns that the task uses besides ids."""
        return [*self._texts(frame), "label"]

    def key(self) -> list[Any]:
        """Give what tokenised rows depend on besides the examples; it is part of the cache's key."""
        return ["sentences", list(fitted_labels(self.labels))]

    def tokenise(self, frame: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, Sequence]:
        """Encode each text (pair) as one sequence of at most `max_length` tokens, cutting the first text first.

        Returns:
            Columns of equal length: input_ids (and token_type_ids where the model has them), label, example_id, group_id,
            length.
        """
        number = {label: index for index, label in enumerate(fitted_labels(self.labels))}
        texts = list(frame[self._texts(frame)].itertuples(index=False, name=None))
        columns = encode_texts(tokenizer, texts)
        for index, example in enumerate(texts):
            if len(columns["input_ids"][index]) > max_length:
                cut = _cut(*example, tokenizer=tokenizer, max_length=max_length)
                for name, values in columns.items():
                    values[index] = cut[name]
        return columns | {
            "label": [number[label] for label in frame["label"]],
            "example_id": frame["example_id"].tolist(),
            "group_id": frame["group_id"].tolist(),
            "length": [len(ids) for ids in columns["input_ids"]],
        }

    def module(
        self, encoder: nn.Module, *, pooling: str, pooler: nn.Module | None = None, **settings: Any
    ) -> SequenceClassifier:
        """Make the LightningModule; `settings` are those of :class:`xling.tasks.transfer_module.TransferModule`."""
        metrics = sorted(METRICS, key=lambda name: name != self.metric)
        labels = fitted_labels(self.labels)
        return SequenceClassifier(
            encoder, n_labels=len(labels), labels=labels, pooling=pooling, pooler=pooler, metrics=metrics, **settings
        )

    @staticmethod
    def _texts(frame: pd.DataFrame) -> list[str]:
        return [name for name in ("text", "text_pair") if name in frame.columns]


def _cut(text: str, text_pair: str | None = None, *, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict:
    if text_pair is None:
        return tokenizer(text, truncation=True, max_length=max_length)
    room = max_length - len(tokenizer("", text_pair, truncation=False, verbose=False)["input_ids"])
    # a second text that alone leaves no room for one token of the first is cut as well
    strategy = "only_first" if room > 0 else "longest_first"
    return tokenizer(text, text_pair, truncation=strategy, max_length=max_length)
