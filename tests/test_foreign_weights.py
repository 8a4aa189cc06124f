"""Training the used rows of a table beside callbacks that average weights, under Trainer's defaults."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from foreign import fit_by_default
from pytorch_lightning.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from strangers import Stranger
from torch import nn

from xling.callbacks import ImpactMonitor, TrainUsedRows
from xling.errors import XlingValueError
from xling.models.fast.used_rows import UsedRowsEmbedding


class Words(Stranger):
    """A table of 20 words, of which the training examples use 8, and a layer above it."""

    def __init__(self):
        super().__init__()
        self.words, self.layer = nn.Embedding(20, 4), nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, batch):
        self.forwards += 1
        self.seen += 1
        return nn.functional.mse_loss(self.layer(self.words(batch)).mean(dim=1), torch.ones(len(batch), 4))

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-1, weight_decay=0.0)

    def data(self, n=40):
        top = 8 if n == 40 else 20  # validation uses every word
        return [ids for ids in torch.randint(0, top, (n, 5), generator=torch.Generator().manual_seed(1))]


AVERAGES = {
    "EMA by default": EMAWeightAveraging,
    "EMA that turns an index of 3 into 2.999, then into 2": lambda: EMAWeightAveraging(decay=0.9),
    "EMA": lambda: EMAWeightAveraging(decay=0.5),
    "EMA without buffers": lambda: EMAWeightAveraging(decay=0.5, use_buffers=False),
    "SWA": lambda: StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=1),
}


def fitted(folder, callbacks):
    pl.seed_everything(3, verbose=False)
    module, monitor = Words(), ImpactMonitor(["words", "layer"])
    fit_by_default(module, folder, [*callbacks, monitor], max_epochs=3, enable_checkpointing=False)
    return module, [record["impact"] for record in monitor.records]


@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_weights_come_out_as_without_leaving_rows_out(name, tmp_path):
    plain, impact = fitted(tmp_path / "plain", [AVERAGES[name]()])
    used, other = fitted(tmp_path / "used", [TrainUsedRows(lambda: range(8), "words"), AVERAGES[name]()])
    assert type(used.words) is nn.Embedding
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(used.state_dict()[key], value, atol=1e-5, rtol=1e-4, msg=key)
    assert other == pytest.approx(impact, abs=1e-5)
    alone, _ = fitted(tmp_path / "alone", [])
    assert not torch.allclose(plain.words.weight, alone.words.weight, atol=1e-3)  # the average is another model


@pytest.mark.parametrize("name", AVERAGES)
def test_an_average_taken_before_the_rows_are_left_out_is_refused(name, tmp_path):
    average = AVERAGES[name]()
    with pytest.raises(XlingValueError, match=f"{type(average).__name__} has copied the module before TrainUsedRows"):
        fitted(tmp_path, [average, TrainUsedRows(lambda: range(8), "words")])


class OwnAverage(pl.Callback):
    """Somebody's own average: a copy of the module, made in ``setup``."""

    def __init__(self, copied=copy.deepcopy):
        self.copied = copied

    def setup(self, trainer, pl_module, stage):
        self.teacher = self.copied(pl_module)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda module: module.state_dict(), lambda module: list(module.parameters())]
)
def test_any_callback_that_has_copied_the_module_is_refused(copied, tmp_path):
    with pytest.raises(XlingValueError, match="OwnAverage has copied the module"):
        fitted(tmp_path, [OwnAverage(copied), TrainUsedRows(lambda: range(8), "words")])
    fitted(tmp_path / "after", [TrainUsedRows(lambda: range(8), "words"), OwnAverage(copied)])


@pytest.mark.parametrize("change", [lambda part: part.double(), lambda part: part.half().float(), copy.deepcopy])
def test_indices_are_no_buffers_and_stay_what_they_are(change):
    part = UsedRowsEmbedding(nn.Embedding(20, 4), [3, 5])
    assert list(part.buffers()) == []
    part = change(part)
    assert part.used.tolist() == [3, 5]
    assert part.position[[3, 5, 4]].tolist() == [0, 1, -1]
    assert part.used.device == part.rows.device


def test_indices_move_with_the_parameters():
    part = UsedRowsEmbedding(nn.Embedding(20, 4), [3, 5]).to("meta")
    assert part.used.device.type == part.position.device.type == "meta"


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(XlingValueError, match="Words has no module 'wrods' when TrainUsedRows looks for it"):
        fitted(tmp_path, [TrainUsedRows(lambda: range(8), "wrods")])
