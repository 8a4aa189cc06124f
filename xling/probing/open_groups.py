"""Rows of groups that are not whole yet: probe batches are sorted by length, so a group's rows come in several of them."""

from collections import defaultdict
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from xling.similarity.grouping import Grouping
from xling.similarity.shapes import Ids


class OpenGroups:
    """Holds rows back until their group is whole; memory grows with the groups that are open at one time.

    Args:
        groups: id of each row that may come, ``[n]`` integers; a group is whole once all its rows have come.
    """

    def __init__(self, groups: Ids) -> None:
        grouping = Grouping.of(groups.cpu())
        self._which, self._left = grouping.which.numpy(), grouping.sizes.numpy().copy()
        self._places: dict[int, list[int]] = defaultdict(list)
        self._free: list[int] = []
        self._row = np.zeros(0, dtype=np.int64)
        self._held: list[Tensor] = []

    def add(
        self, rows: Annotated[Tensor, "[n] int64"], stacks: list[Annotated[Tensor, "[_, n, _] float"]]
    ) -> tuple[Annotated[Tensor, "[r] int64"], list[Annotated[Tensor, "[_, r, _] float"]]]:
        """Add a batch, and return the rows whose groups are complete now together with their representations.

        Args:
            rows: which rows these are, ``[b]`` int64.
            stacks: per stack of layers, ``[L, b, d]``.
        """
        if not self._held:
            self._held = [stack[:, :0] for stack in stacks]
        numbers = rows.cpu().numpy()
        groups = self._which[numbers]
        np.subtract.at(self._left, groups, 1)
        is_whole = self._left[groups] == 0
        places = [place for group in np.unique(groups[is_whole]) for place in self._places.pop(int(group), [])]
        now, before = (torch.from_numpy(np.asarray(x)).to(rows.device) for x in (np.flatnonzero(is_whole), places))
        whole = [
            torch.cat([stack.index_select(1, now), held.index_select(1, before.long())], 1)
            for stack, held in zip(stacks, self._held, strict=True)
        ]
        found = torch.from_numpy(np.concatenate([numbers[is_whole], self._row[places]])).to(rows.device)
        self._free += places
        self._keep(numbers[~is_whole], groups[~is_whole], np.flatnonzero(~is_whole), stacks)
        return found, whole

    def rest(self) -> tuple[Annotated[Tensor, "[r] int64"], list[Annotated[Tensor, "[_, r, _] float"]]]:
        """Return the rows whose groups are still incomplete, with their representations."""
        places = [place for places in self._places.values() for place in places]
        index = torch.tensor(places, dtype=torch.int64)
        held = [stack.index_select(1, index.to(stack.device)) for stack in self._held]
        return torch.from_numpy(self._row[places]), held

    def _keep(self, numbers: np.ndarray, groups: np.ndarray, which: np.ndarray, stacks: list[Tensor]) -> None:
        self._make_room(len(numbers))
        places = [self._free.pop() for _ in numbers]
        self._row[places] = numbers
        for group, place in zip(groups.tolist(), places, strict=True):
            self._places[group].append(place)
        for held, stack in zip(self._held, stacks, strict=True):
            source, target = (torch.as_tensor(x, dtype=torch.int64, device=stack.device) for x in (which, places))
            held.index_copy_(1, target, stack.index_select(1, source))

    def _make_room(self, n: int) -> None:
        missing = n - len(self._free)
        if missing > 0:
            before, more = len(self._row), max(missing, len(self._row))
            self._row = np.concatenate([self._row, np.zeros(more, dtype=np.int64)])
            self._held = [torch.cat([held, held.new_empty(len(held), more, held.shape[-1])], 1) for held in self._held]
            self._free += range(before, before + more)
