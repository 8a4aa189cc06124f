"""From tokenised rows to one padded batch."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PadToLongest:
    """Collate rows into tensors padded to the batch's longest sequence.

    Args:
        pad_token_id: fills `input_ids`.

    Returns (of a call):
        input_ids, attention_mask and, where rows have them, token_type_ids: int64 [batch, sequence];
        label, example_id, premise_id: int64 [batch].
    """

    pad_token_id: int

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": self.pad_token_id, "token_type_ids": 0}
        batch = {
            name: _padded([row[name] for row in rows], longest, value)
            for name, value in fill.items()
            if name in rows[0]
        }
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        batch["attention_mask"] = (torch.arange(longest) < lengths[:, None]).long()
        for name in ("label", "example_id", "premise_id"):
            batch[name] = torch.tensor([row[name] for row in rows])
        return batch


def _padded(sequences: list[list[int]], longest: int, value: int) -> torch.Tensor:
    return torch.tensor([[*sequence, *[value] * (longest - len(sequence))] for sequence in sequences])
