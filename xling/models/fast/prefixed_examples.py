"""Adds the output of a frozen layer to the examples, so that the encoder need not compute it again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xling.data.tokenised import TokenisedExamples
from xling.errors import CorruptArtefactError
from xling.storage.hashing import quick_checksum


class PrefixStates:
    """The output of one layer for every example of a set, memory-mapped, with a checksum per example.

    The file holds float32 [tokens of all examples, hidden], then uint64 [examples]: the xxh3 of each example's rows. It is compared
    whenever the rows are read, since nobody would notice a changed number.

    Args:
        path: file that :func:`xling.models.fast.prefix.store_prefix` fills.
        lengths: number of tokens in each example, [n], in the order of the set.
        hidden_size: width of the encoder.
        is_new: whether the file is made now, to be filled by :meth:`put`.

    Raises:
        CorruptArtefactError: the file has another size.
    """

    def __init__(
        self, path: Path, lengths: Sequence[int] | np.ndarray, hidden_size: int, *, is_new: bool = False
    ) -> None:
        self._path, self._lengths, self._ends = path, np.asarray(lengths), np.cumsum(lengths)
        n_tokens, n_bytes = int(self._ends[-1]), prefix_bytes(lengths, hidden_size)
        if not is_new and path.stat().st_size != n_bytes:
            raise CorruptArtefactError(
                f"expected {n_bytes} bytes in {path}, found {path.stat().st_size}; {self._advice}"
            )
        self._file = np.memmap(path, np.uint8, "w+" if is_new else "r", shape=(n_bytes,))
        states, checksums = np.split(self._file, [n_bytes - 8 * len(self._lengths)])
        self._states = states.view(np.float32).reshape(n_tokens, hidden_size)
        self._checksums = checksums.view(np.uint64)

    def put(self, index: int, hidden_states: np.ndarray) -> None:
        """Store the states of one example, [tokens, hidden] float32."""
        self._states[self._span(index)] = hidden_states
        self._checksums[index] = quick_checksum(np.ascontiguousarray(hidden_states).data)

    def flush(self) -> None:
        """Write everything to the disk."""
        self._file.flush()

    def rows(self, indices: Sequence[int]) -> list[Tensor]:
        """Read the states of some examples, each [tokens, hidden] float32.

        Raises:
            CorruptArtefactError: the states have changed since they were written.
        """
        return [torch.from_numpy(self._row(index)) for index in indices]

    def _row(self, index: int) -> np.ndarray:
        hidden_states = np.array(self._states[self._span(index)])
        if quick_checksum(hidden_states.data) != int(self._checksums[index]):
            raise CorruptArtefactError(f"{self._path} has changed since it was written; {self._advice}")
        return hidden_states

    def _span(self, index: int) -> slice:
        return slice(self._ends[index] - self._lengths[index], self._ends[index])

    @property
    def _advice(self) -> str:
        return f"delete {self._path} and run again"


def prefix_bytes(lengths: Sequence[int] | np.ndarray, hidden_size: int) -> int:
    """Compute the size of the file in bytes, for examples of so many tokens."""
    return int(np.sum(lengths)) * hidden_size * 4 + len(lengths) * 8


@dataclass(frozen=True)
class PrefixedExamples(torch.utils.data.Dataset):
    """Tokenised examples whose rows have one column more, `prefix`, [tokens, hidden] float32.

    Attributes:
        examples: the tokenised examples.
        states: stored states of the same examples, in the same order.
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
        """Name of the examples' split and language, e.g. ``train.en``."""
        return self.examples.name

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the examples, which their stored hidden states do not change."""
        return self.examples.fingerprint

    @property
    def pad_token_id(self) -> int:
        """Token id that pads the examples' input_ids."""
        return self.examples.pad_token_id
