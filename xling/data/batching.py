"""Which examples are in one batch: neighbours in length, dealt to processes so that each counts once."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

FILLER = -1
"""Position that stands in a micro-batch without examples, since all processes must take part in every step. A data set returns its
last row there, with this number as example_id; modules leave it out of losses and scores, callbacks out of what they observe."""

FIRST_EVALUATION_BATCH = 12
"""Examples, the shortest, in the first batch of an evaluation: Lightning's sanity check runs one per language."""


class LengthBucketBatches(Sampler[list[int]]):
    """Batches of similar length; every example exactly once an epoch, over all processes and parts together.

    A batch is dealt to the processes, and within a process to the steps over which gradients are accumulated; what one process
    gets at one such step is a micro-batch. Every process gets the same number of them; one that would be empty holds
    :data:`FILLER` alone.

    Training shuffles, sorts pools of `pool_batches` batches by length, cuts them into batches and shuffles those: few
    padding tokens, random order. Evaluation sorts once; the order never changes, and the first batch is small. The
    generator is the sampler's own and depends on (seed, epoch) alone, so nothing is drawn from the global random state.

    Args:
        lengths: tokens per example, [n].
        batch_size: examples per step, over all processes and parts; each gets as many, give or take one.
        shuffle: training order; False for evaluation.
        seed: of the training order.
        rank: this process.
        world_size: number of processes.
        n_parts: consecutive micro-batches that a process gets of each batch.
        pool_batches: batches sorted together when shuffling.
        max_tokens: evaluation only: as many examples in a batch as hold no more tokens, padding included, whatever
            `batch_size` is; an example that is longer stands alone. None: `batch_size` examples.
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
            self._n_done = 0  # the rest of the epoch before was never asked for: there was none
        self.epoch = epoch

    def go_on(self, epoch: int, n_done: int) -> None:
        """Let the next pass, if it is one of `epoch`, leave out the first `n_done` micro-batches; the pass after it is
        whole.
        """
        self.epoch, self._n_done = epoch, n_done

    def __len__(self) -> int:
        n_batches = -(-len(self.lengths) // self.batch_size) if self.shuffle else len(self._batches())
        return n_batches * self.n_parts

    def __iter__(self) -> Iterator[list[int]]:
        n_done, self._n_done = self._n_done, 0
        for micro_batch in itertools.islice(self._micro_batches(), n_done, None):
            yield micro_batch.tolist() or [FILLER]

    def _micro_batches(self) -> Iterator[np.ndarray]:
        """Positions of the examples that this process gets, one accumulation step after another."""
        for batch in self._batches():
            for part in range(self.n_parts):
                yield batch[part * self.world_size + self.rank :: self.world_size * self.n_parts]

    def _batches(self) -> list[np.ndarray]:
        if not self.shuffle:
            order = np.argsort(self.lengths, kind="stable")
            first, others = np.split(order, [FIRST_EVALUATION_BATCH])
            cut = self._cut if self.max_tokens is None else self._cut_by_tokens
            return cut(first) + cut(others)
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
        """Cut examples in ascending order of length: the last one of a batch is what the others are padded to."""
        batches, start = [], 0
        for stop in range(1, len(indices) + 1):
            is_last = stop == len(indices)
            if is_last or self.lengths[indices[stop]] * (stop + 1 - start) > self.max_tokens:
                batches.append(indices[start:stop])
                start = stop
        return batches
