"""The LightningModule of extractive question answering, and its scores."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from xling.models.config import config_of
from xling.tasks.answers import answer_f1, exact_match
from xling.tasks.heads import TokenHead
from xling.tasks.predictions import Columns
from xling.tasks.transfer_module import TransferModule

METRICS = ("f1", "exact_match")


class AnswerScores(Metric):
    """Exact match and F1 of each question's best window; a question's windows may come in different batches."""

    full_state_update = False
    questions: list[Tensor]
    certainty: list[Tensor]
    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("questions", "certainty", "values"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, questions: Tensor, certainty: Tensor, values: Tensor) -> None:
        """Add windows: their questions' ids [n] int64, how good their best span is [n], and its F1 and exact match [n, 2]."""
        self.questions.append(questions)
        self.certainty.append(certainty)
        self.values.append(values)

    def compute(self) -> dict[str, Tensor]:
        """f1 and exact_match, 0..1 (NaN once a window's answer is undefined), n_examples, which counts questions, n_undefined."""
        states = (self.questions, self.certainty, self.values)
        questions, certainty, values = (dim_zero_cat(state).cpu() for state in states)
        best = values[surest_windows(questions, certainty)].double()
        undefined = questions[certainty.isnan()].unique()
        scores = dict(zip(METRICS, best.mean(dim=0), strict=True))
        if len(undefined):
            scores = dict.fromkeys(METRICS, torch.tensor(torch.nan, dtype=torch.float64))
        return scores | {"n_examples": torch.tensor(len(best)), "n_undefined": torch.tensor(len(undefined))}


def surest_windows(questions: Tensor, certainty: Tensor) -> Tensor:
    """Find each question's window with the largest certainty; of equal ones the first.

    Args:
        questions: id of each window's question, [n] int64.
        certainty: certainty of each window's best span, [n]; NaN counts as the largest, so that an undefined answer shows.

    Returns:
        Positions of the windows, one per question, by ascending id of the question.
    """
    order = certainty.argsort(descending=True, stable=True)
    order = order[questions[order].argsort(stable=True)]
    is_first = torch.ones(len(order), dtype=torch.bool)
    is_first[1:] = questions[order][1:] != questions[order][:-1]
    return order[is_first]


class SpanClassifier(TransferModule[AnswerScores]):
    """An encoder with a score per token for being the first and the last of the answer.

    Batches have start and end [batch], context_start and context_end [batch, sequence], question_id [batch], and the texts
    context and answers.

    Args:
        encoder: see :class:`xling.tasks.transfer_module.TransferModule`, which takes `settings`.
        max_answer_length: largest number of tokens in an answer.
    """

    def __init__(self, encoder: nn.Module, *, max_answer_length: int, **settings: Any) -> None:
        head = TokenHead(config_of(encoder).hidden_size, 2)
        super().__init__(encoder, head, metrics=METRICS, meter=AnswerScores(), **settings)
        self.max_answer_length = max_answer_length

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, int]:
        """Compute the summed loss of a batch, and the number of windows it is summed over.

        A window's loss is the mean of two cross-entropies: that of the answer's first token and that of its last.
        """
        first, last = self(batch).masked_fill(batch["attention_mask"][..., None] == 0, -torch.inf).unbind(dim=-1)
        total = nn.functional.cross_entropy(first, batch["start"], reduction="sum")
        total = total + nn.functional.cross_entropy(last, batch["end"], reduction="sum")
        return total / 2, len(batch["start"])

    def score(self, meter: AnswerScores, outputs: Tensor, batch: dict[str, Any], language: str) -> Columns:
        """Find each window's best span, and score it."""
        is_context = batch["context_start"] >= 0
        first, last, certainty = best_spans(outputs.float(), is_context, self.max_answer_length)
        is_defined = (outputs.isfinite().all(dim=-1) | ~is_context).all(dim=-1)
        certainty = certainty.masked_fill(~is_defined, torch.nan)
        rows = torch.arange(len(first), device=first.device)
        starts, ends = batch["context_start"][rows, first].tolist(), batch["context_end"][rows, last].tolist()
        texts = [context[s:e] for context, s, e in zip(batch["context"], starts, ends, strict=True)]
        values = [
            [answer_f1(text, true, language), exact_match(text, true, language)]
            for text, true in zip(texts, batch["answers"], strict=True)
        ]
        meter.update(batch["question_id"], certainty, certainty.new_tensor(values).view(-1, len(METRICS)))
        ids = {"example_id": batch["question_id"], "group_id": batch["group_id"]}
        return ids | {"gold": list(batch["answers"]), "predicted": texts, "certainty": certainty}

    def predictions(self, language: str) -> pd.DataFrame:
        """Give one row per question: that of the window whose best span has the largest certainty."""
        windows = super().predictions(language)
        if windows.empty:
            return windows
        surest = surest_windows(*(torch.tensor(windows[name].to_numpy()) for name in ("example_id", "certainty")))
        best = windows.iloc[surest.numpy()].reset_index(drop=True)
        is_undefined = best["certainty"].isna()
        return best.assign(predicted=best["predicted"].mask(is_undefined))


def best_spans(logits: Tensor, is_context: Tensor, max_length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the span of the context, of at most `max_length` tokens, for which both scores together are largest.

    Args:
        logits: scores for being the first and the last token of the answer, float [batch, sequence, 2].
        is_context: whether a token belongs to the context, bool [batch, sequence]; at least one does in each row.
        max_length: largest number of tokens in a span, at least 1.

    Returns:
        Index of the first token, index of the last token, and the sum of their scores, each [batch].

    >>> logits = torch.tensor([[[9.0, 9.0], [1.0, 0.0], [0.0, 2.0]]])
    >>> [x.tolist() for x in best_spans(logits, torch.tensor([[False, True, True]]), 2)]
    [[1], [2], [3.0]]
    """
    first, last = logits.masked_fill(~is_context[..., None], -torch.inf).unbind(dim=-1)
    sums = first[:, :, None] + last[:, None, :]
    is_span = torch.ones(sums.shape[1:], dtype=torch.bool, device=sums.device).triu().tril(max_length - 1)
    best, place = sums.masked_fill(~is_span, -torch.inf).flatten(start_dim=1).max(dim=1)
    return place // sums.shape[-1], place % sums.shape[-1], best
