"""All layers of one loader against the base, streamed: layers of equal width are one stack."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from xling.callbacks.uncertainty import evaluate_uncertainty

from xling.similarity import Marginal, Moments, Result, merged
from xling.similarity.marginal import ROWS_AT_ONCE
from xling.similarity.registry import Measure


class Comparison:
    """Accumulates paired rows of base and present, then computes measures per layer.

    Memory does not grow with the number of examples, unless a measure needs the rows; then one loader's rows are held.

    Args:
        base: per layer, all rows of the base, [n, hidden] on the device.
        measures: by name.
        uncertainty: names in :data:`xling.callbacks.uncertainty.UNCERTAINTY`; they need the rows.
        is_distributed: processes hold different rows, to be put together (where there are several processes).

    Attributes:
        n_unmatched: rows that the caller could not pair; after :meth:`compute`, those of all processes.
    """

    def __init__(
        self,
        base: list[Tensor],
        measures: Mapping[str, Measure],
        *,
        uncertainty: Sequence[str] = (),
        is_distributed: bool = True,
    ) -> None:
        self._base, self._measures, self._is_distributed = base, measures, is_distributed
        self._uncertainty = list(uncertainty)
        self._needs_rows = bool(uncertainty) or any(measure.needs_rows for measure in measures.values())
        self.n_unmatched = 0
        self._stacks = _by_width(base)
        self._self_terms = [self._self_term(stack, torch.arange(len(base[0]))) for stack in self._stacks]
        self._moments: list[Moments] = []
        self._seen: list[Tensor] = []
        self._groups: list[Tensor] = []
        self._present: list[list[Tensor]] = []

    def update(self, rows: Tensor, layers: list[Tensor], groups: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            rows: which rows of the base, [b] int64.
            layers: per layer, the representations of the same examples now, [b, hidden].
            groups: id per row, [b] int64; rows that share one are not independent. None: every row its own.
        """
        if not len(rows):  # none of the batch was paired
            return
        before = [self._rows(stack, rows) for stack in self._stacks]
        now = [torch.stack([layers[index] for index in stack]) for stack in self._stacks]
        if not self._moments:
            self._moments = [Moments.start(*pair) for pair in zip(before, now, self._self_terms, strict=True)]
        for moments, x, y in zip(self._moments, before, now, strict=True):
            moments.update(x, y)
        self._seen.append(rows)
        if self._needs_rows:
            self._present.append(now)
            self._groups.append(rows if groups is None else groups)

    def compute(self) -> list[dict[str, Any]]:
        """Per layer, over the rows of all processes: every measure by name, n_examples, and reason (why NaN, else empty)."""
        state = (self._moments, self._seen, self._present, self._groups, self.n_unmatched)
        shards = _gather(state, self._base[0].device) if self._is_distributed else [state]
        self.n_unmatched = sum(shard[4] for shard in shards)
        shards = [shard for shard in shards if shard[0]]
        if not shards:
            return [{"n_examples": 0, "reason": "no rows to compare"} | dict.fromkeys(self._measures, math.nan)] * len(
                self._base
            )
        seen = torch.cat([rows for shard in shards for rows in shard[1]])
        results: list[dict[str, Any]] = [{"n_examples": len(seen), "reason": ""} for _ in self._base]
        for number, stack in enumerate(self._stacks):
            moments = functools.reduce(merged, [shard[0][number] for shard in shards])
            for measure in self._measures.values():
                if not measure.needs_rows:
                    _enter(results, stack, measure.name, measure.of_moments(moments, self._self_term_of(number, seen)))
            if self._needs_rows:
                order = (
                    seen.argsort()
                )  # of the base, so that random draws over rows do not depend on how they were dealt
                now = torch.cat([batch[number] for shard in shards for batch in shard[2]], dim=1)[:, order]
                groups = torch.cat([ids for shard in shards for ids in shard[3]])[order]
                self._enter_row_statistics(results, stack, self._rows(stack, seen[order]), now, groups)
        return results

    def _enter_row_statistics(
        self, results: list[dict[str, Any]], stack: list[int], before: Tensor, now: Tensor, groups: Tensor
    ) -> None:
        for measure in self._measures.values():
            if measure.needs_rows:
                _enter(results, stack, measure.name, measure.of_rows(before, now))
        for index, x, y in zip(stack, before, now, strict=True):
            results[index] |= evaluate_uncertainty(self._uncertainty, x, y, groups)

    def _self_term(self, stack: list[int], rows: Tensor) -> Marginal:
        """The base's self-term over `rows`, without a copy of them all."""
        return Marginal.of_batches(self._rows(stack, some) for some in rows.split(ROWS_AT_ONCE))

    def _self_term_of(self, number: int, seen: Tensor) -> Marginal:
        """The base's self-term over the rows seen: the one at hand if these are all."""
        known = self._self_terms[number]
        return known if int(known.n) == len(seen) else self._self_term(self._stacks[number], seen)

    def _rows(self, stack: list[int], rows: Tensor | slice) -> Tensor:
        return torch.stack([self._base[index][rows] for index in stack])


def _enter(results: list[dict[str, Any]], stack: list[int], name: str, result: Result) -> None:
    for index, value, reason in zip(stack, result.value.tolist(), result.reason, strict=True):
        results[index] |= {name: value, "reason": results[index]["reason"] or reason}


def _by_width(layers: list[Tensor]) -> list[list[int]]:
    """Positions of layers, grouped by width, in order."""
    widths: dict[int, list[int]] = {}
    for index, layer in enumerate(layers):
        widths.setdefault(layer.shape[-1], []).append(index)
    return list(widths.values())


def _gather(state: Any, device: torch.device) -> list[Any]:
    """What every process has accumulated; this process's alone where there is one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [state]
    shards: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shards, _moved(state, torch.device("cpu")))
    return _moved(shards, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Moments | Marginal):
        return replace(value, **{field.name: _moved(getattr(value, field.name), device) for field in fields(value)})
    return type(value)(_moved(part, device) for part in value) if isinstance(value, list | tuple) else value
