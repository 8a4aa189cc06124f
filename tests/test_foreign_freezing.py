"""What is called frozen does not move, in models of any kind, under Trainer's defaults."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from foreign import fit_by_default
from strangers import Cnn, Mlp, Tagger
from torch import nn
from torch.nn.utils import parametrizations

from xling.callbacks import ImpactMonitor, LayerFreezing, TrainUsedRows
from xling.errors import XlingValueError
from xling.freezing import freeze_layers, plan_freezing


class Normed(Mlp):
    """With a part that gathers statistics in its frozen layer."""

    def __init__(self, part):
        super().__init__()
        self.body = nn.Sequential(nn.Sequential(nn.Linear(6, 8), part), nn.Tanh(), nn.Linear(8, 5))


class Codebook(nn.Module):
    """Somebody's own part that learns in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x):
        if self.training:
            self.mean += 0.1 * (x.detach().mean(0) - self.mean)
        return x - self.mean


class Channels(nn.Module):
    """Instance normalisation of [batch, 8] as two channels of four numbers."""

    def __init__(self):
        super().__init__()
        self.norm = nn.InstanceNorm1d(2, track_running_stats=True)

    def forward(self, x):
        return self.norm(x.view(len(x), 2, 4)).flatten(1)


PARTS = {
    "batch norm": lambda: nn.BatchNorm1d(8),
    "batch norm, cumulative": lambda: nn.BatchNorm1d(8, momentum=None),
    "instance norm": Channels,
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(8, 8)),
}


@pytest.mark.parametrize("name", PARTS)
def test_statistics_of_a_frozen_layer_stand_still(name, tmp_path):
    pl.seed_everything(3, verbose=False)
    module, monitor = Normed(PARTS[name]()), ImpactMonitor(["body.0", "body.2"])
    before = copy.deepcopy(module.body[0].state_dict())
    fit_by_default(module, tmp_path, [LayerFreezing("body.0"), monitor])
    for key, value in before.items():
        assert torch.equal(module.body[0].state_dict()[key], value), key
    assert [record["impact"] for record in monitor.records if record["layer"] == 0] == [0.0, 0.0]
    assert monitor.records[-1]["impact"] > 1e-6
    assert all(part.training for part in module.modules())


def test_statistics_stand_still_in_any_loop_and_in_copies():
    module = Normed(nn.BatchNorm1d(8))
    freeze_layers(module, ["body.0"])
    freeze_layers(module, ["body.0"])  # twice is once
    copied = copy.deepcopy(module)
    module.train()
    for part in (module, copied):
        mean = part.body[0][1].running_mean.clone()
        part.body(torch.randn(8, 6))
        assert torch.equal(part.body[0][1].running_mean, mean)
        assert part.body[0][1].training
    assert len(module.body[0][1]._forward_pre_hooks) == 1


def test_statistics_of_layers_that_train_go_on(tmp_path):
    module = Cnn()
    mean = module.features[1].running_mean.clone()
    fit_by_default(module, tmp_path, [LayerFreezing("features.0")])
    assert not torch.equal(module.features[1].running_mean, mean)


def test_a_layer_that_learns_in_a_buffer_cannot_be_called_frozen(tmp_path):
    with pytest.raises(XlingValueError, match=r"buffer body.0.1.mean changed in training although its layer is frozen"):
        fit_by_default(Normed(Codebook()), tmp_path, [LayerFreezing("body.0")])


class BuiltLater(Tagger):
    """Builds its encoder in `hook`."""

    def __init__(self, freezes=False):
        super().__init__()
        self.kept, self.encoder, self.freezes = [self.encoder], None, freezes

    def build(self):
        if self.encoder is None:
            (self.encoder,) = self.kept
            if self.freezes:
                freeze_layers(self, plan_freezing("bottom_k", k=1))


class InSetup(BuiltLater):
    def setup(self, stage):
        self.build()


class InConfigureModel(BuiltLater):
    def configure_model(self):
        self.build()


@pytest.mark.parametrize(("kind", "hook"), [(InSetup, "setup"), (InConfigureModel, "configure_model")])
@pytest.mark.parametrize("plan", [plan_freezing("bottom_k", k=1), ["encoder.*"]])
def test_an_encoder_that_is_built_later_is_named_with_the_moment_to_freeze(kind, hook, plan, tmp_path):
    message = (
        f"does not have its layers yet when LayerFreezing looks for them, before the module's own {hook}; build them in"
    )
    with pytest.raises(XlingValueError, match=message):
        fit_by_default(kind(), tmp_path, [LayerFreezing(plan)])
    with pytest.raises(XlingValueError, match=message.replace("LayerFreezing", "TrainUsedRows")):
        fit_by_default(kind(), tmp_path, [TrainUsedRows(lambda: range(5))])


@pytest.mark.parametrize("kind", [InSetup, InConfigureModel])
def test_a_module_that_builds_its_encoder_later_freezes_there(kind, tmp_path):
    monitor = ImpactMonitor()
    fit_by_default(kind(freezes=True), tmp_path, [monitor])
    last = {record["layer"]: record["impact"] for record in monitor.records if record["step"] == 10}
    assert last[0] == last[1] == 0.0
    assert last[2] > 1e-6


def test_modules_are_frozen_by_name_in_any_model(tmp_path):
    module, monitor = Cnn(), ImpactMonitor(["features.0", "features.3"])
    fit_by_default(module, tmp_path, [LayerFreezing(["features.[01]"]), monitor])
    assert not any(p.requires_grad for p in module.features[0].parameters())
    assert [r["impact"] for r in monitor.records if r["label"] == "features.0"] == [0.0, 0.0]
    assert monitor.records[-1]["impact"] > 1e-6


def test_a_name_that_no_module_has_and_a_model_frozen_whole_are_refused(tmp_path):
    with pytest.raises(XlingValueError, match="no module matches layers='featurs.0'; did you mean 'features.0'"):
        fit_by_default(Cnn(), tmp_path, [LayerFreezing("featurs.0")])
    with pytest.raises(XlingValueError, match=r"freezing \['\*'\] leaves no parameter to train"):
        fit_by_default(Cnn(), tmp_path, [LayerFreezing(["*"])])
