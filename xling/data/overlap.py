"""Checks whether examples of a probe set are training examples as well."""

import logging
from collections.abc import Hashable, Iterator

import pandas as pd

from xling.data.protocols import TaskData
from xling.errors import XlingValueError

log = logging.getLogger(__name__)


class Overlap:
    """Compares probe sets with the training examples by the columns that the task reads (texts and label).

    Args:
        train: the training examples.
        task: task of the examples.
        where: name of the training examples in messages, e.g. ``train.en``.
    """

    def __init__(self, train: pd.DataFrame, task: TaskData, where: str) -> None:
        self.task, self.where = task, where
        self._contents = set(self._rows(train))
        self._with_ids = set(zip(train["example_id"], self._rows(train), strict=True))

    def check(self, probe: pd.DataFrame, where: str) -> None:
        """Refuse a probe set all of whose examples are training examples; log how many are in the training set otherwise.

        Args:
            probe: examples of the probe set.
            where: name of the probe set in messages.

        Raises:
            XlingValueError: every probe example is in the training set, under the same id.
        """
        contents = list(self._rows(probe))
        if all(row in self._with_ids for row in zip(probe["example_id"], contents, strict=True)):
            raise XlingValueError(
                f"{where}: expected examples that are not trained on, found that all {len(probe)} are in {self.where} (same id, "
                "text and label); name the file of another split in data.pattern with {split}, or cut this one with data.parts"
            )
        n_shared = sum(row in self._contents for row in contents)
        if n_shared:
            log.warning(
                "%s: %d of %d examples have text and label of an example in %s, which is trained on",
                where, n_shared, len(probe), self.where,
            )  # fmt: skip

    def _rows(self, frame: pd.DataFrame) -> Iterator[Hashable]:
        columns = self.task.columns(frame)
        plain = [frame[name] if name in ("text", "text_pair", "label") else frame[name].map(str) for name in columns]
        return zip(*plain, strict=True)
