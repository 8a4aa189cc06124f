"""Whose rows they are: orders that change, first axes that are no batch, tensors that are no examples."""

import pytest
import pytorch_lightning as pl
import torch
from foreign import fit_by_default
from strangers import Mlp, Stranger
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset

from xling.callbacks import ImpactMonitor, RepresentationWriter
from xling.errors import XlingValueError
from xling.probing.representations import load_representations

# Lightning says of two of the loaders below that they shuffle
pytestmark = pytest.mark.filterwarnings("ignore:.*sampler has shuffling enabled.*")


class Still(Mlp):
    """Does not learn, so that the truth is an impact of 0."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Named(Still):
    """Says which examples a batch holds."""

    def example_ids(self, batch):
        return batch[1]

    def loss(self, batch):
        return super().loss((batch[0], batch[1] % 2))

    def data(self, n=40):
        return TensorDataset(super().data(n).tensors[0], torch.arange(n))


class NewOrder:
    """Batches in another order at each pass."""

    def __init__(self, n, size):
        self.n, self.size, self.generator = n, size, torch.Generator().manual_seed(0)

    def __iter__(self):
        return iter(torch.randperm(self.n, generator=self.generator).split(self.size))

    def __len__(self):
        return -(-self.n // self.size)


class Backwards(SequentialSampler):
    """Another order under a familiar class."""

    def __iter__(self):
        return iter(range(len(self.data_source) - 1, -1, -1))


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class Shelf:
    """Anything that gives batches."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def orders(data):
    return {
        "NewOrder as batch_sampler": DataLoader(data, batch_sampler=NewOrder(26, 8)),
        "RandomSampler": DataLoader(data, batch_sampler=BatchSampler(RandomSampler(data), 8, drop_last=False)),
        "Backwards": DataLoader(data, batch_size=8, sampler=Backwards(data)),
        "Stream, whose order is not known": DataLoader(Stream([data[i] for i in range(26)]), batch_size=8),
        "Shelf, whose order is not known": Shelf([data[start : start + 8] for start in range(0, 26, 8)]),
    }


@pytest.mark.parametrize("kind", orders(Still().data(26)))
def test_a_loader_whose_order_may_change_is_asked_for_ids(kind, tmp_path):
    module = Still()
    with pytest.raises(XlingValueError, match=rf"loader '0' has an? {kind}.*give the module an example_ids\(batch\)"):
        fit_by_default(module, tmp_path, [ImpactMonitor("body.*")], orders(module.data(26))[kind])


@pytest.mark.parametrize("kind", orders(Named().data(26)))
def test_with_ids_any_order_will_do(kind, tmp_path):
    module, monitor = Named(), ImpactMonitor("body.*")
    fit_by_default(module, tmp_path, [monitor], orders(module.data(26))[kind])
    assert all(abs(record["impact"]) < 1e-6 for record in monitor.records)
    assert monitor.records


def test_a_plain_batch_sampler_in_order_needs_no_ids(tmp_path):
    module, monitor = Still(), ImpactMonitor("body.*")
    data = module.data(26)
    in_order = DataLoader(data, batch_sampler=BatchSampler(SequentialSampler(data), 8, drop_last=False))
    fit_by_default(module, tmp_path, [monitor], in_order)
    assert {record["n_examples"] for record in monitor.records} == {26}
    assert all(abs(record["impact"]) < 1e-6 for record in monitor.records)


@pytest.mark.parametrize("ids", [torch.zeros(8, 1, dtype=torch.int64), torch.zeros(8), ["a"] * 8])
def test_ids_are_whole_numbers_one_per_example(ids, tmp_path):
    module = Still()
    module.example_ids = lambda batch: ids
    with pytest.raises(
        XlingValueError, match=r"expected Still.example_ids\(batch\) to give one whole number per example"
    ):
        fit_by_default(module, tmp_path, [ImpactMonitor("body.*")])


class Sequences(Stranger):
    """Tuple batches of sequences; what its `layer` gives is up to the test."""

    layers = ["layer"]

    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(4, 2)

    def loss(self, batch):
        self.forwards += 1
        hidden_states = self.layer(batch[0])
        return self.head(hidden_states[0] if isinstance(hidden_states, tuple) else hidden_states).square().mean()

    def data(self, n=40):
        return TensorDataset(torch.randn(n, 5, 4, generator=torch.Generator().manual_seed(1)))


class Turned(nn.Module):
    """A layer that turns its input about before it."""

    def __init__(self, turn):
        super().__init__()
        self.turn, self.linear = turn, nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(self.turn(x))


@pytest.mark.parametrize(
    ("turn", "rows"),
    [
        (lambda x: x.transpose(0, 1), 5),  # time first
        (lambda x: x.repeat_interleave(4, dim=0), 32),  # four choices per question
        (lambda x: torch.cat([x, -x]), 16),  # two views
        (lambda x: x.flatten(0, 1), 40),  # tokens
    ],
)
def test_a_layer_whose_first_axis_is_not_the_batch_is_named_with_its_sizes(turn, rows, tmp_path):
    with pytest.raises(XlingValueError, match=f"layer layer gave {rows} rows for a batch of 8 examples"):
        fit_by_default(Sequences(Turned(turn)), tmp_path, [ImpactMonitor("layer")])


def test_a_recurrent_layer_with_time_first_is_named_too(tmp_path):
    with pytest.raises(XlingValueError, match=r"layer layer gave 5 rows .* batch_first=True"):
        module = Sequences(nn.GRU(4, 4))
        module.loss = lambda batch: module.head(module.layer(batch[0].transpose(0, 1))[0]).mean()
        fit_by_default(module, tmp_path, [RepresentationWriter(layers="layer")])


class Weighted(Mlp):
    """Batches that begin with what belongs to no example."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def collate(self, rows):
        x, y = (torch.stack(column) for column in zip(*rows, strict=True))
        return {"first": self.first, "x": x, "y": y}

    def loss(self, batch):
        return super().loss((batch["x"], batch["y"]))


@pytest.mark.parametrize("first", [torch.ones(3), torch.zeros(2, 30, dtype=torch.int64), torch.ones(100)])
def test_a_first_tensor_that_is_not_per_example_does_no_harm(first, tmp_path):
    module = Weighted(first)
    monitor, writer = ImpactMonitor("body.*"), RepresentationWriter(tmp_path / "rows", "body.*", dtype="float32")
    loader = {"loader": DataLoader(module.data(26), 8, collate_fn=module.collate)}
    fit_by_default(
        module, tmp_path, [monitor, writer], loader, DataLoader(module.data(40), 8, collate_fn=module.collate)
    )
    assert {record["n_examples"] for record in monitor.records} == {26}
    stored = load_representations(tmp_path / "rows" / "step_000010" / "loader.safetensors")
    assert stored.example_ids.tolist() == list(range(26))
    module.eval()
    torch.testing.assert_close(stored.layers["body.3"], module.body(module.data(26).tensors[0]).detach())


def test_a_collate_function_that_drops_examples_is_refused(tmp_path):
    module = Mlp()
    dropping = DataLoader(module.data(26), 8, collate_fn=lambda rows: torch.utils.data.default_collate(rows[1:]))
    with pytest.raises(XlingValueError, match="gave 7 rows for a batch of 8 examples"):
        fit_by_default(module, tmp_path, [ImpactMonitor("body.*")], dropping)


def test_data_sets_of_whole_batches_whose_first_tensor_is_no_example_are_refused(tmp_path):
    module = Weighted(torch.ones(3))
    data = module.data(40)
    batches = [module.collate([data[i] for i in range(start, start + 8)]) for start in range(0, 40, 8)]
    loader = DataLoader(batches, batch_size=None)
    with pytest.raises(XlingValueError, match=r"gave 8 rows for a batch of 3 examples.*example_ids"):
        fit_by_default(module, tmp_path, [ImpactMonitor("body.*")], loader, loader)


def test_sequences_flattened_to_differing_widths_are_refused(tmp_path):
    module = Sequences(nn.Linear(4, 4))
    batches = [(torch.randn(8, length, 4),) for length in (5, 6)]
    loader = DataLoader(batches, batch_size=None)
    with pytest.raises(XlingValueError, match="layer layer gave rows of 20 features, then of 24"):
        fit_by_default(module, tmp_path, [ImpactMonitor("layer", pooling="flatten")], loader, loader)


def test_loaders_within_loaders_are_named_by_their_place(tmp_path):
    module, monitor = Mlp(), ImpactMonitor("body.*")
    validation = {"de": [DataLoader(module.data(n), 8) for n in (26, 20)], "sw": DataLoader(module.data(17), 8)}
    fit_by_default(module, tmp_path, [monitor], validation)
    sizes = {record["loader"]: record["n_examples"] for record in monitor.records}
    assert sizes == {"de.0": 26, "de.1": 20, "sw": 17}


WORDS = {
    "got torch.float32": lambda ids: ids.float(),
    r"got torch.int64 \[40\]": lambda ids: ids.flatten(),
    "got list": lambda ids: ids.tolist(),
    r"word_ids\(batch\) is \[16, 5\] and the output \[8, 5, 4\], of which 4 are features": lambda ids: torch.cat(
        [ids, ids]
    ),
    r"word_ids\(batch\) is \[8, 3\]": lambda ids: ids[:, :3],
}


@pytest.mark.parametrize("message", WORDS)
def test_words_that_do_not_fit_a_layer_are_refused(message, tmp_path):
    module = Sequences(nn.Linear(4, 4))
    module.word_ids = lambda batch: WORDS[message](torch.arange(5).expand(len(batch[0]), 5))
    with pytest.raises(XlingValueError, match=message):
        fit_by_default(module, tmp_path, [ImpactMonitor("layer", pooling="word")])


def test_words_of_other_examples_than_the_batch_holds_are_refused(tmp_path):
    module = Sequences(Turned(lambda x: torch.cat([x, x])))
    module.word_ids = lambda batch: torch.arange(5).expand(2 * len(batch[0]), 5)
    with pytest.raises(XlingValueError, match=r"word_ids\(batch\) has 16 rows for a batch of 8 examples"):
        fit_by_default(module, tmp_path, [ImpactMonitor("layer", pooling="word")])


def test_weights_stay_bit_identical_with_lightnings_default_sanity_check(tmp_path):
    states = []
    for callbacks in ([], [ImpactMonitor("body.*"), RepresentationWriter(layers="body.*")]):
        pl.seed_everything(3, verbose=False)
        module = Mlp()
        training = DataLoader(module.data(40), 8, shuffle=True)
        fit_by_default(module, tmp_path / str(len(callbacks)), callbacks, training=training)
        states.append(module.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
