"""Puts examples into batches of similar length, and deals batches to processes so that each example counts once."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

FILLER = -1
"""Position that fills a micro-batch without examples. Such batches exist because all processes must take part in every step. For
this position a data set returns its last row, with this number as example_id; modules leave the row out of losses and scores, and
callbacks out of what they observe."""

FIRST_EVALUATION_BATCH = 12
"""Number of examples in the first batch of an evaluation, which are the shortest ones. It is small because Lightning's sanity check
runs the first batch of every language."""


class LengthBucketBatches(Sampler[list[int]]):
    """Yields batches of examples of similar length; each example occurs once per epoch, over all processes and parts together.

    A batch is dealt to the processes, and within a process to the steps over which gradients are accumulated; what one process
    gets at one such step is a micro-batch. Every process gets the same number of them; one that would be empty holds
    :data:`FILLER` alone.

    For training, examples are shuffled and cut into pools of `pool_batches` batches; each pool is sorted by length and cut into
    batches, and the batches are shuffled. So few tokens are padding, and the order is random. For evaluation, examples are
    sorted once, the order never changes, and the first batch is small. The random generator is the sampler's own and depends on
    (seed, epoch) alone, so that nothing is drawn from the global random state.

    Args:
        lengths: number of tokens in each example, [n].
        batch_size: examples per step, over all processes and parts; their numbers of examples differ by one at most.
        shuffle: True for training, False for evaluation.
        seed: seed of the training order.
        rank: index of this process among all processes.
        world_size: number of processes.
        n_parts: number of consecutive micro-batches that a process gets of each batch.
        pool_batches: number of batches in a pool that is sorted by length, when shuffling.
        max_tokens: largest number of tokens in an evaluation batch, padding included, which then replaces `batch_size`; a longer
            example has a batch of its own. None: `batch_size` examples.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        n_parts: int = 1,
        pool_batches: int = 32,
        max_tokens: int | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.n_parts = n_parts
        self.pool_batches = pool_batches
        self.max_tokens = max_tokens
        self.epoch = 0
        self._n_done = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        if epoch != self.epoch:
            self._n_done = (
                0  # if it was set for the epoch before, nobody asked for that epoch's rest, so there was none
            )
        self.epoch = epoch

    def go_on(self, epoch: int, n_done: int) -> None:
        """Let the next pass leave out the first `n_done` micro-batches if it is a pass of `epoch`; the pass after it is whole."""
        self.epoch, self._n_done = epoch, n_done

    def __len__(self) -> int:
        n_batches = -(-len(self.lengths) // self.batch_size) if self.shuffle else len(self._batches())
        return n_batches * self.n_parts

    def __iter__(self) -> Iterator[list[int]]:
        n_done, self._n_done = self._n_done, 0
        for micro_batch in itertools.islice(self._micro_batches(), n_done, None):
            yield micro_batch.tolist() or [FILLER]

    def _micro_batches(self) -> Iterator[np.ndarray]:
        """Yield the positions of the examples that this process gets, one accumulation step after another."""
        for batch in self._batches():
            for part in range(self.n_parts):
                yield batch[part * self.world_size + self.rank :: self.world_size * self.n_parts]

    def _batches(self) -> list[np.ndarray]:
        if not self.shuffle:
            order = np.argsort(self.lengths, kind="stable")
            first, others = np.split(order, [FIRST_EVALUATION_BATCH])
            cut = self._cut if self.max_tokens is None else self._cut_by_tokens
            return cut(first) + cut(others)
        # a factor larger than any number of epochs, so that no seed has an order of another seed
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        pool = self.pool_batches * self.batch_size
        batches = [
            batch
            for start in range(0, len(order), pool)
            for batch in self._cut(self._by_length(order[start : start + pool]))
        ]
        return [batches[index] for index in torch.randperm(len(batches), generator=generator)]

    def _by_length(self, indices: np.ndarray) -> np.ndarray:
        return indices[np.argsort(self.lengths[indices], kind="stable")]

    def _cut(self, indices: np.ndarray) -> list[np.ndarray]:
        return [indices[start : start + self.batch_size] for start in range(0, len(indices), self.batch_size)]

    def _cut_by_tokens(self, indices: np.ndarray) -> list[np.ndarray]:
        """Cut examples in ascending order of length into batches, each padded to the length of its last example."""
        batches, start = [], 0
        for stop in range(1, len(indices) + 1):
            is_last = stop == len(indices)
            if is_last or self.lengths[indices[stop]] * (stop + 1 - start) > self.max_tokens:
                batches.append(indices[start:stop])
                start = stop
        return batches
