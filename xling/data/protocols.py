"""What the data of a run ask of a source of examples and of a task."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from torch import nn
from transformers import PreTrainedTokenizerBase


class TaskData(Protocol):
    """What the data of a run must know of its task; see :mod:`xling.tasks`, whose classes are such."""

    @property
    def fills(self) -> Mapping[str, int]:
        """Columns with a value per token -> what pads them."""

    def check(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return `frame` if its examples fit the task, else raise XlingValueError."""

    def fitted(self, frame: pd.DataFrame) -> "TaskData":
        """The task with what it learns from its training examples, such as its labels."""

    def columns(self, frame: pd.DataFrame) -> list[str]:
        """Columns of `frame` that the task uses, ids apart."""

    def key(self) -> list[Any]:
        """What tokenised rows depend on beside the examples; JSON-able."""

    def tokenise(self, frame: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, Sequence]:
        """Columns of equal length: input_ids, example_id, group_id, length and more; row ids unique."""

    def module(
        self, encoder: nn.Module, *, pooling: str, pooler: nn.Module | None = None, **settings: Any
    ) -> pl.LightningModule:
        """A :class:`xling.tasks.transfer_module.TransferModule` with the task's head and scores around `encoder`."""


class ExampleSource(Protocol):
    """Gives the examples of one language and split. A plain function will do; the optional members tell more.

    Optional members:
        languages: tuple of the languages that the source has; needed where ``target_languages`` are not named.
        is_local: whether everything is on this machine, so that there is nothing to fetch.
        count_rows(language, split): number of examples without a download, or None, for estimates.
    """

    def __call__(self, language: str, split: str, /) -> pd.DataFrame:
        """Map (language, split) to examples: columns example_id and group_id, then the task's columns.

        Row i means the same in every language exactly where example_id says so; rows that share a premise or a document
        share group_id.
        """


def languages_of(source: ExampleSource) -> tuple[str, ...]:
    """Languages that a source says it has; empty where it does not say."""
    return tuple(getattr(source, "languages", ()))


def is_local(source: ExampleSource) -> bool:
    """Whether a source needs no hub; False where it does not say."""
    return bool(getattr(source, "is_local", False))


def count_rows(source: ExampleSource, language: str, split: str) -> int | None:
    """Number of examples of one language and split; None where only a hub could tell, or the source does not say."""
    count = getattr(source, "count_rows", None)
    if count is not None:
        return count(language, split)
    return len(source(language, split)) if is_local(source) else None


class TrainingSet(Protocol):
    """Rows to train on: tokenised examples, or such as carry the output of frozen layers besides."""

    @property
    def name(self) -> str:
        """Name of the split and language, e.g. ``train.en``."""

    @property
    def fingerprint(self) -> str:
        """Hash of ids, order, texts, labels and tokenisation."""

    @property
    def pad_token_id(self) -> int:
        """What pads input_ids."""

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per example, [n] int64."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: list[int], /) -> list[dict]: ...
