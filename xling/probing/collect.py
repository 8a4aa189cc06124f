"""Gathers the rows of one loader, over batches and processes, into one Representations object."""

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.probing.representations import Representations


class RowCollector:
    """Keeps rows on the CPU until a loader is done.

    Args:
        labels: labels of the layers, in order.
        dtype: of the rows kept.
    """

    def __init__(self, labels: list[str], dtype: torch.dtype = torch.float32) -> None:
        self.labels, self.dtype = labels, dtype
        self._ids: list[Tensor] = []
        self._layers: list[list[Tensor]] = []

    def add(self, example_ids: Tensor, layers: list[Tensor]) -> None:
        """Take one batch: ids [b] and per layer [b, hidden]."""
        self._ids.append(example_ids.cpu())
        self._layers.append([layer.to("cpu", self.dtype) for layer in layers])

    def result(self, facts: dict[str, str]) -> Representations:
        """All rows of all processes, sorted by id.

        Raises:
            XlingValueError: no rows, or an id that occurs twice.
        """
        ids, columns = self._gathered()
        if not len(ids):
            raise XlingValueError("the validation loader gave no rows; expected at least one batch")
        ids, order = ids.sort(stable=True)
        twice = ids[1:] == ids[:-1]
        if twice.any():
            raise XlingValueError(
                f"example id {ids[1:][twice][0].item()} occurs twice in a validation loader; ids must be unique"
            )
        layers = {label: column[order] for label, column in zip(self.labels, columns, strict=True)}
        return Representations(layers, ids, facts)

    def _gathered(self) -> tuple[Tensor, list[Tensor]]:
        ids = torch.cat(self._ids) if self._ids else torch.empty(0, dtype=torch.int64)
        columns = [torch.cat(batches) for batches in zip(*self._layers, strict=True)]
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return ids, columns
        shards: list = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shards, (ids, columns))
        shards = [shard for shard in shards if len(shard[0])]
        if not shards:
            return ids, columns
        return torch.cat([shard[0] for shard in shards]), [
            torch.cat(parts) for parts in zip(*(s[1] for s in shards), strict=True)
        ]
