"""Batches: every example once over processes, orders, and padding."""

import itertools

import numpy as np
import pytest
import torch
from made_up_examples import TASK, make_examples

from xling.data.batching import FILLER, FIRST_EVALUATION_BATCH, LengthBucketBatches
from xling.data.collate import PadToLongest
from xling.data.tokenised import load_tokenised
from xling.models.tiny import tiny_tokenizer


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_example_comes_once_over_all_processes(shuffle, world_size):
    lengths = np.random.default_rng(0).integers(5, 90, 101)
    seen = [
        index
        for rank in range(world_size)
        for batch in LengthBucketBatches(lengths, 8, shuffle=shuffle, rank=rank, world_size=world_size)
        for index in batch
        if index != FILLER
    ]
    assert sorted(seen) == list(range(101))


def test_every_process_gets_equally_many_shares_and_a_filler_where_one_would_be_empty():
    shares = [
        list(LengthBucketBatches([5] * 9, 4, shuffle=False, rank=rank, world_size=2, n_parts=2)) for rank in (0, 1)
    ]
    assert shares[0] == [[0], [2], [4], [6], [8], [FILLER]]
    assert shares[1] == [[1], [3], [5], [7], [FILLER], [FILLER]]


def test_the_filler_is_a_row_without_an_id(tmp_path):
    examples = load_tokenised(make_examples(), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)
    (filler,) = examples[[FILLER]]
    assert filler == examples[len(examples) - 1] | {"example_id": FILLER}


def test_training_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        batches = LengthBucketBatches(list(range(100)), 8, shuffle=True, seed=seed)
        batches.set_epoch(epoch)
        return list(batches)

    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)
    assert torch.equal(before, torch.get_rng_state())


def test_batches_hold_neighbours_in_length():
    lengths = np.random.default_rng(0).integers(5, 128, 2000)

    def padded(batches):
        return sum(lengths[batch].max() * len(batch) for batch in batches)

    bucketed = padded(LengthBucketBatches(lengths, 32, shuffle=True))
    random_order = padded(np.array_split(np.random.default_rng(1).permutation(2000), 63))
    assert bucketed < 1.1 * lengths.sum() < 0.7 * random_order


def test_collate_pads_to_the_longest():
    rows = [
        {"input_ids": [5, 6, 7], "label": 1, "example_id": 3, "group_id": 1, "length": 3},
        {"input_ids": [8], "label": 0, "example_id": 4, "group_id": 1, "length": 1},
    ]
    batch = PadToLongest(pad_token_id=9)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["example_id"].tolist() == [3, 4]
    assert "token_type_ids" not in batch


@pytest.mark.parametrize("max_tokens", [12, 30, 10_000])
def test_a_token_budget_holds_and_every_example_comes_once(max_tokens):
    lengths = np.random.default_rng(0).integers(2, 15, size=40)
    batches = list(sampler := LengthBucketBatches(lengths, 4, shuffle=False, max_tokens=max_tokens))
    assert len(sampler) == len(batches)
    assert sorted(index for batch in batches for index in batch) == list(range(40))
    sizes = [len(batch) * lengths[batch].max() for batch in batches]
    assert all(size <= max_tokens or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    ends = itertools.accumulate(map(len, batches))
    follows = [
        pair for pair, end in zip(itertools.pairwise(batches), ends, strict=False) if end != FIRST_EVALUATION_BATCH
    ]
    assert all((len(batch) + 1) * lengths[after[0]] > max_tokens for batch, after in follows)


@pytest.mark.parametrize("n", [5, 8, 40])
def test_an_evaluation_begins_with_few_short_examples(n):
    lengths = np.random.default_rng(0).integers(2, 90, size=n)
    first, *others = LengthBucketBatches(lengths, 20, shuffle=False)
    assert len(first) == min(n, FIRST_EVALUATION_BATCH)
    assert all(lengths[first].max() <= lengths[batch].min() for batch in others)
    assert sorted(index for batch in (first, *others) for index in batch) == list(range(n))
