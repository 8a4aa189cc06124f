"""Examples that carry the output of a frozen layer, so that the encoder need not compute it again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xling.data.tokenised import TokenisedExamples


class PrefixStates:
    """The output of one layer for every example of a set, memory-mapped.

    Args:
        path: file of :func:`xling.models.prefix.store_prefix`.
        lengths: tokens per example, [n], in the order of the set.
        hidden_size: width of the encoder.
    """

    def __init__(self, path: Path, lengths: Sequence[int], hidden_size: int) -> None:
        self._ends = np.cumsum(lengths)
        shape = (int(self._ends[-1]), hidden_size)
        self._states = np.memmap(path, dtype=np.float32, mode="r", shape=shape)
        self._lengths = np.asarray(lengths)

    def rows(self, indices: Sequence[int]) -> list[Tensor]:
        """Of every example asked for, [tokens, hidden] float32."""
        spans = zip(self._ends[indices] - self._lengths[indices], self._ends[indices], strict=True)
        return [torch.from_numpy(np.array(self._states[start:end])) for start, end in spans]


@dataclass(frozen=True)
class PrefixedExamples(torch.utils.data.Dataset):
    """Tokenised examples whose rows have `prefix`, [tokens, hidden] float32, besides.

    Attributes:
        examples: the rows.
        states: of the same examples in the same order.
    """

    examples: TokenisedExamples
    states: PrefixStates

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, indices: list[int]) -> list[dict]:
        """The rows of a batch."""
        rows = zip(self.examples[indices], self.states.rows(indices), strict=True)
        return [row | {"prefix": states} for row, states in rows]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per example, [n] int64."""
        return self.examples.lengths

    @property
    def name(self) -> str:
        """As the examples'."""
        return self.examples.name

    @property
    def fingerprint(self) -> str:
        """As the examples'."""
        return self.examples.fingerprint

    @property
    def pad_token_id(self) -> int:
        """As the examples'."""
        return self.examples.pad_token_id
