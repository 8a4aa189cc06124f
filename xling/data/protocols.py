"""What the data of a run ask of a source of examples and of a task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pandas as pd
from transformers import PreTrainedTokenizerBase


class TaskData(Protocol):
    """What the data of a run must know of its task; see :mod:`xling.tasks`, whose classes are such."""

    fills: Mapping[str, int]
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


ExampleSource = Callable[[str, str], pd.DataFrame]
"""Maps (language, split) to a frame with :data:`IDS` and the columns of the task it feeds (see :mod:`xling.tasks`).

The same example_id means the same content in every language of a parallel set.
"""
