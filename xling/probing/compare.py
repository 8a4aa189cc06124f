"""Compares all layers of one loader with the base: by sums of its batches, or with rows in memory where that is less or needed."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, TypeVar

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.machine.distributed import gather_objects, is_distributed
from xling.probing.open_groups import OpenGroups
from xling.probing.stack_sums import StackSums
from xling.probing.uncertainty import ComparedRows, evaluate_uncertainty
from xling.similarity import GroupedMoments, Moments, Result, chance_levels, merged, merged_groups
from xling.similarity.grouping import Grouping
from xling.similarity.registry import Measure, similarities_of_pair
from xling.similarity.shapes import Ids, RowsX, RowsY

_Sums = TypeVar("_Sums", Moments, GroupedMoments)


class Comparison:
    """Accumulates paired rows of base and present, then computes measures per layer.

    Layers of equal width are one stack of sums, whose memory does not grow with the number of examples: about ``2 d^2`` numbers a
    layer, and ``3.2 d^2`` more for a measure that knows groups, beside the rows of groups that are not whole yet. Rows ``[n, d]``
    are held instead

    - of a layer for which they are fewer numbers than sums (n below twice the width), and
    - of all layers, where a measure, an uncertainty or chance levels need them, or where a measure knows groups and those of the
      base are not known beforehand.

    Layers whose rows are held are compared one by one at the end. Both ways give the same values up to rounding.

    Args:
        base: all rows of the base at each layer, [n, hidden] on the device.
        measures: name -> measure.
        uncertainty: names in :data:`xling.probing.uncertainty.UNCERTAINTY`; they need the rows.
        groups: group id of each of the base's rows, [n] int64, where known beforehand; rows of one group are not independent.
        is_distributed: whether processes hold different rows, which :meth:`compute` then puts together.
        chance: whether to give also the chance level of every measure, its value once groups are paired anew; needs the rows.

    Attributes:
        n_unmatched: number of rows that the caller could not pair; after :meth:`compute`, of all processes.
    """

    def __init__(
        self,
        base: list[Annotated[Tensor, "[n, _] float"]],
        measures: Mapping[str, Measure],
        *,
        uncertainty: Sequence[str] = (),
        groups: Ids | None = None,
        is_distributed: bool = True,
        chance: bool = False,
    ) -> None:
        self._base, self._is_distributed = base, is_distributed
        self._measures, self._uncertainty = list(measures.values()), list(uncertainty)
        self._knows_groups = any(measure.knows_groups for measure in self._measures)
        self._has_chance = chance
        needs_rows = bool(uncertainty) or chance or any(measure.needs_rows for measure in self._measures)
        needs_rows |= self._knows_groups and groups is None
        self.n_unmatched = 0
        all_rows = torch.arange(len(base[0]))
        self._known_groups = None if groups is None else groups.to(base[0].device)
        stacks = (
            [] if needs_rows else [stack for stack in _by_width(base) if len(base[0]) >= 2 * base[stack[0]].shape[-1]]
        )
        self._sums = [StackSums([base[index] for index in stack], stack, self._measures, groups) for stack in stacks]
        self._held_layers = [index for index in range(len(base)) if not any(index in stack for stack in stacks)]
        self._open = OpenGroups(groups) if groups is not None and self._sums and self._knows_groups else None
        for sums in self._sums:
            sums.start(all_rows)
        self._seen: list[Tensor] = []
        self._groups: list[Tensor] = []
        self._held: list[list[Tensor]] = []

    def update(
        self,
        rows: Annotated[Tensor, "[n] int64"],
        layers: list[Annotated[Tensor, "[n, _] float"]],
        groups: Ids | None = None,
    ) -> None:
        """Add a batch.

        Args:
            rows: numbers of the base's rows, [b] int64.
            layers: present representations of the same examples at each layer, [b, hidden].
            groups: group id of each row, [b] int64. None: the groups of the base, or, where these are not known, every row is a
                group by itself.

        Raises:
            XlingValueError: the groups are not those of the base.
        """
        if not len(rows):  # none of the batch was paired
            return
        self._seen.append(rows)
        self._groups.append(self._groups_of(rows, groups))
        if self._held_layers:
            self._held.append([layers[index] for index in self._held_layers])
        now = [torch.stack([layers[index] for index in sums.stack]) for sums in self._sums]
        for sums, stack in zip(self._sums, now, strict=True):
            sums.add(rows, stack)
        if self._open is not None:
            self._add_groups(*self._open.add(rows, now))

    def _groups_of(self, rows: Annotated[Tensor, "[n] int64"], groups: Ids | None) -> Ids:
        if self._known_groups is None:
            return rows if groups is None else groups.to(rows.device)
        known = self._known_groups[rows]
        if groups is not None and not torch.equal(known, groups.to(known.device)):
            raise XlingValueError(
                "the base's rows were stored in other groups than the probe's; delete the stored base, or give the same groups"
            )
        return known

    def _add_groups(
        self, rows: Annotated[Tensor, "[r] int64"], stacks: list[Annotated[Tensor, "[_, r, _] float"]]
    ) -> None:
        for sums, stack in zip(self._sums, stacks, strict=True):
            if len(rows):
                sums.add_groups(rows, stack)

    def compute(self) -> list[dict[str, Any]]:
        """Compute every measure over the rows of all processes.

        Returns:
            Per layer name -> value: every measure by its name, n_examples, n_groups where a measure knows groups,
            chance_<measure> where asked for, the columns of the uncertainties, and reason (why a value is NaN, else empty).
        """
        rest = None if self._open is None else self._open.rest()
        sums = [(each.moments, each.grouped) for each in self._sums]
        of_this_process = _Shard(self._seen, self._groups, self._held, sums, rest, self.n_unmatched)
        shards = _gather(of_this_process, self._base[0].device) if self._is_distributed else [of_this_process]
        self.n_unmatched = sum(shard.n_unmatched for shard in shards)
        shards = [shard for shard in shards if shard.seen]
        if not shards:
            nothing = {"n_examples": 0, "reason": "no rows to compare"} | dict.fromkeys(self._names, math.nan)
            return [nothing] * len(self._base)
        seen = torch.cat([rows for shard in shards for rows in shard.seen])
        groups = torch.cat([ids for shard in shards for ids in shard.groups])
        counts = {"n_examples": len(seen)} | ({"n_groups": len(groups.unique())} if self._knows_groups else {})
        results: list[dict[str, Any]] = [counts | {"reason": ""} for _ in self._base]
        if self._held_layers:
            self._enter_held(results, seen, [layers for shard in shards for layers in shard.held], groups)
        if self._sums:
            self._enter_summed(results, seen, shards)
        return results

    @property
    def _names(self) -> list[str]:
        return [measure.name for measure in self._measures]

    def _enter_held(
        self, results: list[dict[str, Any]], seen: Annotated[Tensor, "[n] int64"], held: list[list[Tensor]], groups: Ids
    ) -> None:
        order = seen.argsort()  # the order of the base, so that nothing depends on how rows were dealt to processes
        seen, groups = seen[order], groups[order]
        grouping = Grouping.of(groups)
        for place, index in enumerate(self._held_layers):
            before, now = self._base[index][seen], torch.cat([layers[place] for layers in held])[order]
            rows = ComparedRows(before, now, grouping)
            for name, found in similarities_of_pair(self._measures, rows).items():
                _enter(results, [index], name, found)
            results[index] |= evaluate_uncertainty(self._uncertainty, rows)
            if self._has_chance:
                results[index] |= self._chance(before, now, groups)

    def _chance(self, before: RowsX, now: RowsY, groups: Ids) -> dict[str, float]:
        if len(groups.unique()) < 2:
            return {}
        levels = chance_levels(self._measures, before, now, groups)
        return {f"chance_{name}": float(found.value) for name, found in levels.items()}

    def _enter_summed(self, results: list[dict[str, Any]], seen: Tensor, shards: "list[_Shard]") -> None:
        # rows of groups of which some rows are on other processes, or did not come at all
        rests = [shard.rest for shard in shards if shard.rest is not None and len(shard.rest[0])]
        for number, sums in enumerate(self._sums):
            sums.moments = _reduced(merged, [shard.sums[number][0] for shard in shards])
            sums.grouped = _reduced(merged_groups, [shard.sums[number][1] for shard in shards])
            if rests:
                rows, stack = torch.cat([rows for rows, _ in rests]), torch.cat([held[number] for _, held in rests], 1)
                sums.add_groups(rows.to(seen.device), stack)
            for measure in self._measures:
                _enter(results, sums.stack, measure.name, sums.evaluate(measure, seen))


@dataclass(frozen=True)
class _Shard:
    """What one process has accumulated.

    Attributes:
        seen: numbers of the base's rows that came, ``[b]`` per batch.
        groups: group ids of these rows, ``[b]`` per batch.
        held: per batch, the rows of each layer whose rows are held, ``[b, hidden]``.
        sums: per stack, the sums over rows and over whole groups.
        rest: numbers of the rows of groups that are not whole, and their representations ``[L, r, hidden]`` per stack.
        n_unmatched: number of rows that could not be paired.
    """

    seen: list[Tensor]
    groups: list[Tensor]
    held: list[list[Tensor]]
    sums: list[tuple[Moments | None, GroupedMoments | None]]
    rest: tuple[Tensor, list[Tensor]] | None
    n_unmatched: int


def _reduced(merge: Callable[[_Sums, _Sums], _Sums], parts: Sequence[_Sums | None]) -> _Sums | None:
    """Merge the sums of the processes that have some; None where none has."""
    some = [part for part in parts if part is not None]
    return functools.reduce(merge, some) if some else None


def _enter(results: list[dict[str, Any]], stack: list[int], name: str, result: Result) -> None:
    """Write the values of a measure to the layers at the positions `stack`; of several reasons a layer has the first."""
    for index, value, reason in zip(stack, result.value.tolist(), result.reason, strict=True):
        results[index] |= {name: value, "reason": results[index]["reason"] or reason}


def _by_width(layers: list[Tensor]) -> list[list[int]]:
    """Group the positions of layers by width, both in the order in which they come."""
    widths: dict[int, list[int]] = {}
    for index, layer in enumerate(layers):
        widths.setdefault(layer.shape[-1], []).append(index)
    return list(widths.values())


def _gather(state: _Shard, device: torch.device) -> list[_Shard]:
    """Collect what every process has accumulated; the result is the same on all of them."""
    if not is_distributed():
        return [state]
    return _moved(gather_objects(_moved(state, torch.device("cpu"))), device)


def _moved(value: Any, device: torch.device) -> Any:
    """Move all tensors in a dataclass, list or tuple to a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _moved(getattr(value, field.name), device) for field in fields(value)})
    return type(value)(_moved(part, device) for part in value) if isinstance(value, list | tuple) else value
