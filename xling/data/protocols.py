"""Declares the interfaces between a run's data module and the parts it is given: a source of examples and a task."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from torch import nn
from transformers import PreTrainedTokenizerBase


class TaskData(Protocol):
    """A task, as the data module uses it; the classes of :mod:`xling.tasks` are such tasks."""

    @property
    def fills(self) -> Mapping[str, int]:
        """Column with one value per token -> the value that pads it; input_ids and the tokenizer's own columns apart."""

    def check(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return the examples of `frame` in the task's own form, and refuse those that do not fit the task.

        Args:
            frame: examples with the columns example_id, group_id and those of the task.
            where: name of the set, e.g. ``train.en``, for messages.

        Raises:
            XlingValueError: an example does not fit.
        """

    def fitted(self, frame: pd.DataFrame) -> "TaskData":
        """Return the task with what it learns from the training examples `frame`, such as its labels."""

    def columns(self, frame: pd.DataFrame) -> list[str]:
        """List the columns of `frame` that the task uses besides ids."""

    def key(self) -> list[Any]:
        """Give what tokenised rows depend on besides the examples, in values that JSON can write; part of the cache's key."""

    def tokenise(self, frame: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, Sequence]:
        """Encode the examples of `frame` in rows of at most `max_length` tokens.

        Returns:
            Columns of equal length: input_ids, example_id (different in every row), group_id, length (in tokens) and more.
        """

    def module(
        self, encoder: nn.Module, *, pooling: str, pooler: nn.Module | None = None, **settings: Any
    ) -> pl.LightningModule:
        """Make a :class:`xling.tasks.transfer_module.TransferModule` with the task's head and scores around `encoder`."""


class ExampleSource(Protocol):
    """Gives the examples of one language and split. It can be a plain function; an object may have optional members as well.

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
    """The languages that a source has; empty where the source does not say."""
    return tuple(getattr(source, "languages", ()))


def is_local(source: ExampleSource) -> bool:
    """Whether a source needs no hub; False where the source does not say."""
    return bool(getattr(source, "is_local", False))


def count_rows(source: ExampleSource, language: str, split: str) -> int | None:
    """Count the examples of one language and split; None where that is not known without a download."""
    count = getattr(source, "count_rows", None)
    if count is not None:
        return count(language, split)
    return len(source(language, split)) if is_local(source) else None


class TrainingSet(Protocol):
    """Rows to train on: tokenised examples, with or without the stored output of frozen layers."""

    @property
    def name(self) -> str:
        """Name of the split and language, e.g. ``train.en``."""

    @property
    def fingerprint(self) -> str:
        """Hash of the rows' ids, order, texts, labels and tokenisation."""

    @property
    def pad_token_id(self) -> int:
        """Id of the token that pads input_ids."""

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens in each row, [n] int64."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: list[int], /) -> list[dict]: ...
