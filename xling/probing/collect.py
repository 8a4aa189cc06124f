"""Gathers the rows of one loader, over batches and processes, into one Representations object."""

import logging
from typing import Annotated

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.machine.distributed import gather_objects, is_distributed
from xling.probing.representations import Representations
from xling.similarity.shapes import Ids

log = logging.getLogger(__name__)


class RowCollector:
    """Keeps rows on the CPU until a loader is done.

    Args:
        labels: labels of the layers, in order.
        dtype: of the rows kept; a layer whose numbers it does not hold is kept in float32, which a line in the log says.
    """

    def __init__(self, labels: list[str], dtype: torch.dtype = torch.float32) -> None:
        self.labels, self.dtype = labels, dtype
        self._ids: list[Tensor] = []
        self._groups: list[Tensor] = []
        self._layers: list[list[Tensor]] = []

    def add(
        self,
        example_ids: Annotated[Tensor, "[n] int64"],
        layers: list[Annotated[Tensor, "[n, _] float"]],
        group_ids: Ids | None = None,
    ) -> None:
        """Add one batch.

        Args:
            example_ids: ids of the examples, [b] int64.
            layers: representations of these examples, [b, hidden] per layer.
            group_ids: ids of their groups, [b] integers, given with every batch or with none.
        """
        self._ids.append(example_ids.cpu())
        if group_ids is not None:
            self._groups.append(group_ids.cpu())
        self._layers.append([layer.to("cpu", fitting_dtype(layer, self.dtype)) for layer in layers])

    def result_or_none(self, facts: dict[str, str]) -> Representations | None:
        """Do as :meth:`result` does, but return None where no process has taken any row."""
        ids = self._gathered()[0]
        return self.result(facts) if len(ids) else None

    def result(self, facts: dict[str, str]) -> Representations:
        """Return the rows of all processes, sorted by id.

        Raises:
            XlingValueError: there are no rows, or an id occurs twice.
        """
        ids, groups, columns = self._gathered()
        if not len(ids):
            raise XlingValueError("the validation loader gave no rows; expected at least one batch")
        ids, order = ids.sort(stable=True)
        twice = ids[1:] == ids[:-1]
        if twice.any():
            raise XlingValueError(
                f"example id {ids[1:][twice][0].item()} occurs twice in a validation loader; ids must be unique, so give every "
                "example an id of its own"
            )
        layers = {label: column[order] for label, column in zip(self.labels, columns, strict=True)}
        if wide := [label for label, column in layers.items() if column.dtype != self.dtype]:
            log.warning(
                "%s does not hold the numbers of layers %s: they are kept in float32",
                str(self.dtype).removeprefix("torch."),
                ", ".join(wide),
            )
        return Representations(layers, ids, facts, groups[order] if len(groups) == len(ids) else None)

    def _gathered(
        self,
    ) -> tuple[Annotated[Tensor, "[n] int64"], Annotated[Tensor, "[_] int64"], list[Annotated[Tensor, "[n, _] float"]]]:
        """Put the batches of all processes together: ids, groups (empty where none were given) and the rows of each layer."""
        ids, groups = (
            torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64) for parts in (self._ids, self._groups)
        )
        columns = [torch.cat(batches) for batches in zip(*self._layers, strict=True)]
        if not is_distributed():
            return ids, groups, columns
        shards = [shard for shard in gather_objects((ids, groups, columns)) if len(shard[0])]
        if not shards:
            return ids, groups, columns
        ids, groups = torch.cat([shard[0] for shard in shards]), torch.cat([shard[1] for shard in shards])
        return ids, groups, [torch.cat(parts) for parts in zip(*(shard[2] for shard in shards), strict=True)]


def fitting_dtype(layer: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Give `dtype`, or float32 where `dtype` would turn numbers into infinities, or all of them into subnormal ones or 0.

    >>> fitting_dtype(torch.tensor([7e4]), torch.float16), fitting_dtype(torch.tensor([6e4]), torch.float16)
    (torch.float32, torch.float16)
    """
    if dtype == torch.float32:
        return dtype
    top, limits = float(layer.abs().max()) if layer.numel() else 0.0, torch.finfo(dtype)
    return dtype if top == 0 or limits.tiny <= top <= limits.max else torch.float32
