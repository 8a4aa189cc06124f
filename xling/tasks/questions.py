"""Prepares extractive question answering, in which the answer is a span of a paragraph."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from torch import nn
from transformers import BatchEncoding, PreTrainedTokenizerBase

from xling.data.examples import check_examples, refuse_unlabelled, row_name
from xling.errors import XlingValueError
from xling.tasks.heads import refuse_pooler
from xling.tasks.question_module import SpanClassifier
from xling.tasks.windows import window_id

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuestionAnswering:
    """The task of extractive question answering.

    Examples have the columns context, question and answers, a list of {text, start}, where start counts characters of the
    context. A context longer than the encoder takes is cut into windows that overlap by a third of the tokens; the answer is the
    best span of all windows.

    Args:
        max_answer_length: largest number of tokens in an answer.
    """

    max_answer_length: int = 30
    fills: Mapping[str, int] = field(default_factory=lambda: {"context_start": -1, "context_end": -1}, init=False)

    def unlabelled(self, frame: pd.DataFrame) -> list[bool]:
        """Whether each question has no answer in its context (SQuAD 2), [n]."""
        return [not _as_list(answers) for answers in frame.get("answers", [[None]] * len(frame))]

    def check(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return the examples with their answers in one form, and refuse examples that do not fit the task.

        Raises:
            XlingValueError: there are no rows, a column is missing, a question has no answer, an answer is not at its place in
                the context, or an id occurs twice.
        """
        frame = check_examples(frame, ("context", "question", "answers"), where)
        frame = frame.assign(answers=frame["answers"].map(_as_list))
        refuse_unlabelled(frame, np.array(self.unlabelled(frame)), where, "an answer")
        for position, example in enumerate(frame.itertuples(index=False)):
            for answer in example.answers:
                start, text = answer["start"], answer["text"]
                found = example.context[start : start + len(text)]
                if found != text or not text or start < 0:
                    raise XlingValueError(
                        f"{where}: the answer {text[:40]!r} to {example.question[:60]!r} in {row_name(frame, position)} is "
                        f"not in its context at character {start}, where {found[:40]!r} stands; correct its answer_start"
                    )
        return frame

    def fitted(self, frame: pd.DataFrame) -> "QuestionAnswering":
        """Return the task itself, since it has no labels to learn."""
        return self

    def columns(self, frame: pd.DataFrame) -> list[str]:
        """List the columns that the task uses besides ids."""
        return ["context", "question", "answers"]

    def key(self) -> list[Any]:
        """Give what tokenised rows depend on besides the examples; it is part of the cache's key."""
        return ["questions"]

    def tokenise(self, frame: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, Sequence]:
        """Encode each question with its context, window by window; a question that fills over half of `max_length` is cut.

        Returns:
            Columns of equal length. Per token: input_ids (and token_type_ids where the model has them), context_start and
            context_end (its characters in the context, else -1). Per row: start and end (tokens of the first answer, 0 where
            the window does not hold it), context, answers (texts), example_id (of the window), question_id, group_id, length.
        """
        questions = _cut_questions(frame["question"].tolist(), tokenizer, max_length // 2)
        encoded = tokenizer(
            questions,
            frame["context"].tolist(),
            truncation="only_second",
            max_length=max_length,
            stride=max_length // 3,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        owners = encoded["overflow_to_sample_mapping"]
        rows = [_row(encoded, index, frame.iloc[owner]) for index, owner in enumerate(owners)]
        log.info("%d questions in %d windows of at most %d tokens", len(frame), len(rows), max_length)
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        return columns | {name: list(encoded[name]) for name in ("input_ids", "token_type_ids") if name in encoded}

    def module(
        self, encoder: nn.Module, *, pooling: str, pooler: nn.Module | None = None, **settings: Any
    ) -> SpanClassifier:
        """Make the LightningModule; `settings` are those of :class:`xling.tasks.transfer_module.TransferModule`.

        `pooling` is not used, since every token is scored.

        Raises:
            XlingValueError: a pooler is given, which would read a single token.
        """
        refuse_pooler(pooler)
        return SpanClassifier(encoder, max_answer_length=self.max_answer_length, **settings)


def _as_list(answers: Any) -> list[dict[str, Any]]:
    """Bring answers into one form, a list of {text, start}.

    They come as such a list, as an array of dicts, or as SQuAD on the hub has them: {text: [...], answer_start: [...]}.
    """
    if isinstance(answers, Mapping):
        answers = [{"text": t, "start": s} for t, s in zip(answers["text"], answers["answer_start"], strict=True)]
    return [{"text": answer["text"], "start": int(answer["start"])} for answer in answers]


def _cut_questions(questions: list[str], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[str]:
    encoded = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = encoded["offset_mapping"]
    return [q if len(o) <= limit else q[: o[limit - 1][1]] for q, o in zip(questions, offsets, strict=True)]


def _row(encoded: BatchEncoding, index: int, example: pd.Series) -> dict[str, Any]:
    is_context = [sequence == 1 for sequence in encoded.sequence_ids(index)]
    offsets = encoded["offset_mapping"][index]
    starts = [offset[0] if inside else -1 for offset, inside in zip(offsets, is_context, strict=True)]
    ends = [offset[1] if inside else -1 for offset, inside in zip(offsets, is_context, strict=True)]
    first, last = _answer_tokens(starts, ends, example["answers"][0])
    return {
        "context_start": starts,
        "context_end": ends,
        "start": first,
        "end": last,
        "context": example["context"],
        "answers": [answer["text"] for answer in example["answers"]],
        "example_id": window_id(int(example["example_id"]), starts[is_context.index(True)]),
        "question_id": int(example["example_id"]),
        "group_id": int(example["group_id"]),
        "length": len(offsets),
    }


def _answer_tokens(starts: list[int], ends: list[int], answer: dict[str, Any]) -> tuple[int, int]:
    """Find the first and the last token of an answer; (0, 0) where the window does not hold all of it."""
    start, end = answer["start"], answer["start"] + len(answer["text"])
    inside = [i for i, (s, e) in enumerate(zip(starts, ends, strict=True)) if s >= 0 and s < end and e > start]
    if not inside or starts[inside[0]] > start or ends[inside[-1]] < end:
        return 0, 0
    return inside[0], inside[-1]
