"""Keeps rows of groups that are not whole yet: probe batches are sorted by length, so a group's rows come in several of them."""

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
        self._group_of_row, self._n_missing = grouping.which.numpy(), grouping.sizes.numpy().copy()
        # rows are held at places of a buffer that grows where needed; places of groups that became whole are used again
        self._held: list[Tensor] = []  # per stack of layers [L, places, d]
        self._row_at = np.zeros(0, dtype=np.int64)  # number of the row at each place
        self._places: dict[int, list[int]] = defaultdict(list)  # of the rows of each open group
        self._free: list[int] = []

    def add(
        self, rows: Annotated[Tensor, "[n] int64"], stacks: list[Annotated[Tensor, "[_, n, _] float"]]
    ) -> tuple[Annotated[Tensor, "[r] int64"], list[Annotated[Tensor, "[_, r, _] float"]]]:
        """Add a batch, and return the rows whose groups are complete now together with their representations.

        Args:
            rows: numbers of the batch's rows, ``[b]`` int64.
            stacks: their representations, ``[L, b, d]`` per stack of layers.

        Returns:
            Numbers of the rows of complete groups, ``[r]`` int64, and their representations, ``[L, r, d]`` per stack.
        """
        if not self._held:
            self._held = [stack[:, :0] for stack in stacks]
        numbers = rows.cpu().numpy()
        groups = self._group_of_row[numbers]
        np.subtract.at(self._n_missing, groups, 1)
        is_whole = self._n_missing[groups] == 0
        places = [place for group in np.unique(groups[is_whole]) for place in self._places.pop(int(group), [])]
        now, before = (torch.from_numpy(np.asarray(x)).to(rows.device) for x in (np.flatnonzero(is_whole), places))
        whole = [
            torch.cat([stack.index_select(1, now), held.index_select(1, before.long())], 1)
            for stack, held in zip(stacks, self._held, strict=True)
        ]
        whole_rows = torch.from_numpy(np.concatenate([numbers[is_whole], self._row_at[places]])).to(rows.device)
        self._free += places
        self._hold_back(numbers[~is_whole], groups[~is_whole], np.flatnonzero(~is_whole), stacks)
        return whole_rows, whole

    def rest(self) -> tuple[Annotated[Tensor, "[r] int64"], list[Annotated[Tensor, "[_, r, _] float"]]]:
        """Return the rows whose groups are still incomplete, with their representations."""
        places = [place for places in self._places.values() for place in places]
        index = torch.tensor(places, dtype=torch.int64)
        held = [stack.index_select(1, index.to(stack.device)) for stack in self._held]
        return torch.from_numpy(self._row_at[places]), held

    def _hold_back(self, numbers: np.ndarray, groups: np.ndarray, which: np.ndarray, stacks: list[Tensor]) -> None:
        """Hold rows of open groups; `which` says where in the batch of `stacks` they are."""
        self._make_room(len(numbers))
        places = [self._free.pop() for _ in numbers]
        self._row_at[places] = numbers
        for group, place in zip(groups.tolist(), places, strict=True):
            self._places[group].append(place)
        for held, stack in zip(self._held, stacks, strict=True):
            source, target = (torch.as_tensor(x, dtype=torch.int64, device=stack.device) for x in (which, places))
            held.index_copy_(1, target, stack.index_select(1, source))

    def _make_room(self, n: int) -> None:
        """See to `n` free places; the buffer at least doubles when it grows, so that it is seldom copied."""
        missing = n - len(self._free)
        if missing > 0:
            before, more = len(self._row_at), max(missing, len(self._row_at))
            self._row_at = np.concatenate([self._row_at, np.zeros(more, dtype=np.int64)])
            self._held = [torch.cat([held, held.new_empty(len(held), more, held.shape[-1])], 1) for held in self._held]
            self._free += range(before, before + more)
