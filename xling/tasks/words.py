"""Prepares the classification of words: parts of speech, named entities."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from torch import nn
from transformers import PreTrainedTokenizerBase

from xling.data.collate import IGNORED
from xling.data.examples import check_examples, row_name
from xling.errors import XlingValueError, check_known
from xling.tasks.entities import is_entity_tag
from xling.tasks.heads import refuse_pooler
from xling.tasks.labels import check_labels, fitted_labels, given_labels, is_missing, label_text, labels_of
from xling.tasks.windows import WORD_BITS, SpecialTokens, pieces_of, window_id, windows
from xling.tasks.word_module import METRICS, TokenClassifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenClassification:
    """The task of classifying every word of a sentence.

    Examples have the columns words and tags, lists of equal length. A word's label stands at its first piece.

    Args:
        labels: all tags; their order numbers the classes. None: those of the training examples, sorted.
        metric: transfer metric, ``accuracy`` over words, or ``entity_f1`` for tags O, B-TYPE and I-TYPE (or BIOES, BILOU).

    Raises:
        XlingValueError: `metric` is neither of these, or `labels` are not two or more different labels.
    """

    labels: Sequence[str] | None = None
    metric: str = "accuracy"
    fills: Mapping[str, int] = field(default_factory=lambda: {"labels": IGNORED, "word": -1}, init=False)

    def __post_init__(self) -> None:
        check_known("metric", self.metric, METRICS)
        object.__setattr__(self, "labels", given_labels(self.labels))  # the class is frozen to everybody else

    def unlabelled(self, frame: pd.DataFrame) -> list[bool]:
        """Whether some word of each sentence has no tag, [n]."""
        return [
            any(is_missing(label_text(tag), self.labels) for tag in tags)
            for tags in frame.get("tags", [()] * len(frame))
        ]

    def check(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return the examples with their tags as texts, and refuse examples that do not fit the task.

        Raises:
            XlingValueError: there are no rows, a column is missing, a sentence has not as many tags as words, a tag is missing
                or unknown, or an id occurs twice.
        """
        frame = check_examples(frame, ("words", "tags"), where)
        words, tags = frame["words"].map(list), [[label_text(tag) for tag in row] for row in frame["tags"]]  # or arrays
        frame = frame.assign(words=words, tags=pd.Series(tags, index=frame.index, dtype=object))
        lengths, n_tags = frame["words"].map(len), frame["tags"].map(len)
        if (lengths != n_tags).any() or (lengths == 0).any() or lengths.max() >= 1 << WORD_BITS:
            first = int(((lengths != n_tags) | (lengths == 0) | (lengths >= 1 << WORD_BITS)).to_numpy().argmax())
            raise XlingValueError(
                f"{where}: expected a tag for each of 1 to {(1 << WORD_BITS) - 1:,} words, found {n_tags[first]} tags and "
                f"{lengths[first]} words in {row_name(frame, first)}"
            )
        check_labels(frame, frame["tags"], self.labels, where, "tag")
        kinds = set(itertools.chain.from_iterable(frame["tags"]))
        if self.metric == "entity_f1" and (other := sorted(tag for tag in kinds if not is_entity_tag(tag))):
            raise XlingValueError(
                f"{where}: entity_f1 needs tags O, B-TYPE and I-TYPE (or those of BIOES or BILOU), found {other[0]!r}; use "
                "accuracy"
            )
        return frame

    def fitted(self, frame: pd.DataFrame) -> "TokenClassification":
        """Return the task with the tags of the training examples `frame`, unless its labels are given."""
        tags = itertools.chain.from_iterable(frame["tags"])
        return self if self.labels else replace(self, labels=labels_of(tags, "training examples"))

    def columns(self, frame: pd.DataFrame) -> list[str]:
        """List the columns that the task uses besides ids."""
        return ["words", "tags"]

    def key(self) -> list[Any]:
        """Give what tokenised rows depend on besides the examples; it is part of the cache's key."""
        return ["tokens", list(fitted_labels(self.labels))]

    def tokenise(self, frame: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, Sequence]:
        """Encode sentences word by word; a sentence longer than `max_length` tokens is cut between words into several rows.

        Returns:
            Columns of equal length. Per token: input_ids (and token_type_ids where the model has them), labels (at the first
            piece of a word, else -100), word (position in the sentence; -1 for special tokens). Per row: example_id (of the
            window), sentence_id, group_id, length.
        """
        pieces = pieces_of(list(itertools.chain.from_iterable(frame["words"])), tokenizer)
        around = SpecialTokens.of(tokenizer)
        number = {label: index for index, label in enumerate(fitted_labels(self.labels))}
        rows, n_cut = [], 0
        for example in frame.itertuples(index=False):
            sizes = [len(pieces[word]) for word in example.words]
            spans = list(windows(sizes, around.room(max_length)))
            n_cut += len(spans) > 1
            for start, end in spans:
                words = [pieces[word][: around.room(max_length)] for word in example.words[start:end]]
                row = _row(words, [number[tag] for tag in example.tags[start:end]], start, around)
                ids = {"sentence_id": example.example_id, "group_id": example.group_id}
                rows.append(row | {"example_id": window_id(example.example_id, start)} | ids)
        if n_cut:
            log.info(
                "%d of %d sentences are longer than %d tokens and are cut between words", n_cut, len(frame), max_length
            )
        columns: dict[str, Sequence] = {name: [row[name] for row in rows] for name in rows[0]}
        if "token_type_ids" in tokenizer.model_input_names:
            columns["token_type_ids"] = [[0] * len(ids) for ids in columns["input_ids"]]
        return columns

    def module(
        self, encoder: nn.Module, *, pooling: str, pooler: nn.Module | None = None, **settings: Any
    ) -> TokenClassifier:
        """Make the LightningModule; `settings` are those of :class:`xling.tasks.transfer_module.TransferModule`.

        `pooling` is not used, since every token is scored.

        Raises:
            XlingValueError: a pooler is given, which would read a single token.
        """
        refuse_pooler(pooler)
        return TokenClassifier(encoder, labels=fitted_labels(self.labels), metric=self.metric, **settings)


def _row(words: list[list[int]], labels: list[int], start: int, around: SpecialTokens) -> dict[str, Any]:
    ids, marks, positions = list(around.before), [IGNORED] * len(around.before), [-1] * len(around.before)
    for offset, (pieces, label) in enumerate(zip(words, labels, strict=True)):
        ids += pieces
        marks += [label] + [IGNORED] * (len(pieces) - 1)
        positions += [start + offset] * len(pieces)
    n_after = len(around.after)
    row = {"input_ids": ids + around.after, "labels": marks + [IGNORED] * n_after, "word": positions + [-1] * n_after}
    return row | {"length": len(row["input_ids"])}
