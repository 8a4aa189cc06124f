"""Epochs and steps of modules that train in their own way, and fits that go on, under Trainer's defaults."""

import math

import pytest
import pytorch_lightning as pl
import torch
from foreign import default_trainer, fit_by_default
from strangers import Mlp
from torch.utils.data import DataLoader, IterableDataset

from xling.callbacks import AlignmentMonitor, ImpactMonitor, ProgressFile, RepresentationWriter
from xling.runs.state import read_progress

# Lightning's checkpoints of a fit that goes on are written beside the first one's, or elsewhere; it says so
pytestmark = pytest.mark.filterwarnings("ignore:(Checkpoint directory|The dirpath has changed).*")


class Unsized(IterableDataset):
    """Rows that come one by one; nobody knows how many."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class TwoOptimisers(Mlp):
    """Optimises by hand, twice a batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=1e-2) for part in (self.body, self.head)]


class Accumulates(TwoOptimisers):
    """Optimises by hand, after every fourth batch."""

    def training_step(self, batch, batch_idx):
        self.manual_backward(self.loss(batch))
        if batch_idx % 4 == 3:
            self.optimizers().step()
            self.optimizers().zero_grad()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-2)


def epochs(monitor):
    return [record["epoch"] for record in monitor.records if record["layer"] == 0]


@pytest.mark.parametrize("module", [Mlp, TwoOptimisers, Accumulates])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_epochs_are_whole_however_a_module_optimises(module, accumulate, tmp_path):
    changes = {} if module is not Mlp else {"accumulate_grad_batches": accumulate}
    monitor = ImpactMonitor("body.*")
    fit_by_default(module(), tmp_path, [monitor], **changes)
    assert epochs(monitor) == [1.0, 2.0]


def test_epochs_in_mid_epoch_count_batches(tmp_path):
    monitor = ImpactMonitor("body.*")
    fit_by_default(TwoOptimisers(), tmp_path, [monitor], val_check_interval=2)
    assert epochs(monitor) == [0.4, 0.8, 1.4, 1.8]


def test_a_training_set_without_length_has_whole_epochs_and_no_number_within_one(tmp_path):
    module, monitor = Mlp(), ImpactMonitor("body.*")
    progress = ProgressFile(every_seconds=1e-6)
    data = module.data(40)
    loader = DataLoader(Unsized([data[i] for i in range(40)]), batch_size=8)
    fit_by_default(module, tmp_path, [monitor, progress], training=loader)
    assert epochs(monitor) == [1.0, 2.0]
    found = read_progress(tmp_path)
    assert (found.epoch, found.total_steps) == (2.0, None)
    within = ImpactMonitor("body.*")
    fit_by_default(Mlp(), tmp_path / "within", [within], training=loader, val_check_interval=2, max_epochs=1)
    assert all(math.isnan(epoch) for epoch in epochs(within))
    assert [record["step"] for record in within.records if record["layer"] == 0] == [2, 4]


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_a_fit_that_goes_on_after_an_epoch_records_nothing_in_its_sanity_check(n_epochs, tmp_path):
    pl.seed_everything(3, verbose=False)
    whole = [ImpactMonitor("body.*"), AlignmentMonitor("0", "body.*")]
    module = Mlp()
    two = [DataLoader(module.data(26), batch_size=8) for _ in range(2)]
    fit_by_default(module, tmp_path / "whole", whole, two, max_epochs=3)
    first = fit_by_default(Mlp(), tmp_path / "half", [ImpactMonitor("body.*")], two, max_epochs=n_epochs)
    resumed = [ImpactMonitor("body.*"), AlignmentMonitor("0", "body.*"), RepresentationWriter(layers="body.*")]
    fit_by_default(
        Mlp(), tmp_path / "half", resumed, two, ckpt_path=first.checkpoint_callback.best_model_path, max_epochs=3
    )
    steps = [(record["loader"], record["epoch"], record["step"], record["n_examples"]) for record in resumed[0].records]
    assert steps == [
        (record["loader"], record["epoch"], record["step"], record["n_examples"]) for record in whole[0].records
    ]
    assert {record["step"] for record in resumed[1].records} == {5 * epoch for epoch in range(n_epochs + 1, 4)}


def test_a_fit_that_goes_on_without_its_base_says_so_before_it_trains(tmp_path):
    first = fit_by_default(Mlp(), tmp_path / "half", [ImpactMonitor("body.*")], max_epochs=1)
    trainer = default_trainer(tmp_path / "elsewhere", [ImpactMonitor("body.*")])
    module = Mlp()
    with pytest.raises(FileNotFoundError, match="training has begun"):
        loaders = DataLoader(module.data(40), 8), DataLoader(module.data(26), 8)
        trainer.fit(module, *loaders, ckpt_path=first.checkpoint_callback.best_model_path, weights_only=True)
    assert module.forwards < 3
