"""Turns tokenised rows into one padded batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

IGNORED = -100
"""Label of a position that has none; PyTorch's cross-entropy leaves it out."""


@dataclass(frozen=True)
class PadToLongest:
    """Collate rows into tensors padded to the batch's longest sequence.

    Args:
        pad_token_id: id that pads `input_ids`.
        fills: further column with one value per token -> the value that pads it.

    Returns (of a call):
        input_ids, attention_mask, token_type_ids where rows have them, and the columns of `fills`: int64 [batch, sequence];
        columns that hold a tensor [tokens, hidden]: [batch, sequence, hidden], 0 at padding;
        other columns that hold a number, such as label, example_id and group_id: int64 [batch]; texts stay lists.
    """

    pad_token_id: int
    fills: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        longest = max(len(row["input_ids"]) for row in rows)
        fills = {"input_ids": self.pad_token_id, "token_type_ids": 0, **self.fills}
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        batch: dict[str, Any] = {"attention_mask": (torch.arange(longest) < lengths[:, None]).long()}
        for name in rows[0]:
            values = [row[name] for row in rows]
            if name in fills:
                batch[name] = _padded(values, longest, fills[name])
            elif isinstance(values[0], torch.Tensor):
                batch[name] = pad_sequence(values, batch_first=True)
            elif name != "length":
                batch[name] = torch.tensor(values) if isinstance(values[0], int) else values
        return batch


def _padded(sequences: list[list[int]], longest: int, value: int) -> torch.Tensor:
    return torch.tensor([[*sequence, *[value] * (longest - len(sequence))] for sequence in sequences])
