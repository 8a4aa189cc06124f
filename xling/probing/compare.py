"""All layers of one loader against the base: summed batch by batch, or held where that is smaller or needed."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from xling.probing.uncertainty import evaluate_uncertainty
from xling.similarity import Marginal, Moments, Result, merged
from xling.similarity.marginal import ROWS_AT_ONCE
from xling.similarity.registry import Measure, similarities_of_rows


class Comparison:
    """Accumulates paired rows of base and present, then computes measures per layer.

    Memory does not grow with the number of examples: layers of equal width are one stack of sums, about ``2 d^2`` numbers
    a layer. Rows ``[n, d]`` are held instead where they take less (n below twice the width), and where a measure or an
    uncertainty needs them; then every layer is summed on its own at the end. Both give the same values up to rounding.

    Args:
        base: per layer, all rows of the base, [n, hidden] on the device.
        measures: by name.
        uncertainty: names in :data:`xling.probing.uncertainty.UNCERTAINTY`; they need the rows.
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
        needs_rows = bool(uncertainty) or any(measure.needs_rows for measure in measures.values())
        self._holds_rows = needs_rows or len(base[0]) < 2 * min(layer.shape[-1] for layer in base)
        self.n_unmatched = 0
        self._stacks = [] if self._holds_rows else _by_width(base)
        self._self_terms = [self._self_term(stack, torch.arange(len(base[0]))) for stack in self._stacks]
        self._moments: list[Moments] = []
        self._seen: list[Tensor] = []
        self._groups: list[Tensor] = []
        self._held: list[list[Tensor]] = []

    def update(self, rows: Tensor, layers: list[Tensor], groups: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            rows: which rows of the base, [b] int64.
            layers: per layer, the representations of the same examples now, [b, hidden].
            groups: id per row, [b] int64; rows that share one are not independent. None: every row its own.
        """
        if not len(rows):  # none of the batch was paired
            return
        self._seen.append(rows)
        if self._holds_rows:
            self._held.append(layers)
            self._groups.append(rows if groups is None else groups.to(rows.device))
        else:
            self._sum(rows, layers)

    def _sum(self, rows: Tensor, layers: list[Tensor]) -> None:
        before = [self._rows(stack, rows) for stack in self._stacks]
        now = [torch.stack([layers[index] for index in stack]) for stack in self._stacks]
        if not self._moments:
            self._moments = [Moments.start(*pair) for pair in zip(before, now, self._self_terms, strict=True)]
        for moments, x, y in zip(self._moments, before, now, strict=True):
            moments.update(x, y)

    def compute(self) -> list[dict[str, Any]]:
        """Per layer, over the rows of all processes: every measure by name, n_examples, and reason (why NaN, else empty)."""
        state = (self._seen, self._moments, self._held, self._groups, self.n_unmatched)
        shards = _gather(state, self._base[0].device) if self._is_distributed else [state]
        self.n_unmatched = sum(shard[4] for shard in shards)
        shards = [shard[:4] for shard in shards if shard[0]]
        if not shards:
            nothing = {"n_examples": 0, "reason": "no rows to compare"} | dict.fromkeys(self._measures, math.nan)
            return [nothing] * len(self._base)
        seen, moments, held, groups = ([part for shard in shards for part in shard[which]] for which in range(4))
        seen = torch.cat(seen)
        results: list[dict[str, Any]] = [{"n_examples": len(seen), "reason": ""} for _ in self._base]
        if self._holds_rows:
            self._enter_held(results, seen, held, torch.cat(groups))
        else:
            self._enter_summed(results, seen, moments)
        return results

    def _enter_held(
        self, results: list[dict[str, Any]], seen: Tensor, held: list[list[Tensor]], groups: Tensor
    ) -> None:
        order = seen.argsort()  # of the base, so that nothing depends on how the rows were dealt
        seen, groups = seen[order], groups[order]
        for index, base in enumerate(self._base):
            before, now = base[seen], torch.cat([layers[index] for layers in held])[order]
            for name, found in similarities_of_rows(self._measures.values(), before, now).items():
                _enter(results, [index], name, found)
            results[index] |= evaluate_uncertainty(self._uncertainty, before, now, groups)

    def _enter_summed(self, results: list[dict[str, Any]], seen: Tensor, moments: list[Moments]) -> None:
        for number, stack in enumerate(self._stacks):
            of_stack = functools.reduce(merged, moments[number :: len(self._stacks)])
            for measure in self._measures.values():
                _enter(results, stack, measure.name, measure.of_moments(of_stack, self._self_term_of(number, seen)))

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
