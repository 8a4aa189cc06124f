"""One conformance test over every exported callback, and what each is for."""

import math

import pytest
import torch
from extraction import extract
from strangers import STRANGERS, Tagger, fit, loaders, make_trainer
from torch import nn

import xling.callbacks
from xling.callbacks import AlignmentMonitor, ImpactMonitor, LayerFreezing, RepresentationWriter
from xling.errors import XlingValueError
from xling.freezing import plan_freezing
from xling.probing.representations import load_representations

OBSERVERS = {
    "AlignmentMonitor": lambda layers: AlignmentMonitor("0", layers),
    "ImpactMonitor": lambda layers: ImpactMonitor(layers),
    "GradientMonitor": lambda layers: xling.callbacks.GradientMonitor("0", 3, names=layers),
    "LinearProbes": lambda layers: xling.callbacks.LinearProbes(layers),
    "RepresentationWriter": lambda layers: RepresentationWriter(layers=layers),
    "TrainingClock": lambda layers: xling.callbacks.TrainingClock(),
    "ProgressFile": lambda layers: xling.callbacks.ProgressFile(every_seconds=0.01),
    "RunCheckpoint": lambda layers: xling.callbacks.RunCheckpoint(every_n_steps=1),
    "StopOnDivergence": lambda layers: xling.callbacks.StopOnDivergence(),
    "StopOnSignal": lambda layers: xling.callbacks.StopOnSignal(),
    "ProgressLog": lambda layers: xling.callbacks.ProgressLog(every_seconds=0.0),
}


ADDS_FORWARDS = {"GradientMonitor"}
"""What encodes examples of its own, and says so; the others read the passes that run anyway."""


INTERVENERS = {"LayerFreezing", "TrainUsedRows"} | {  # test_intervening.py
    "Anchor", "GradualUnfreezing", "ImpactBudget", "LayerwiseRates", "PullToBase"
}  # fmt: skip


def test_every_exported_callback_is_tested_here():
    assert set(xling.callbacks.__all__) == set(OBSERVERS) | INTERVENERS


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("kind", STRANGERS)
def test_observers_leave_the_weights_alone(name, kind, tmp_path):
    plain = fit(kind, tmp_path / "plain")
    observed = fit(kind, tmp_path / "observed", [OBSERVERS[name](STRANGERS[kind].layers)])
    for key, value in plain.weights().items():
        assert torch.equal(value, observed.weights()[key]), key
    added = observed.module.forwards - plain.module.forwards
    own_passes = 2 * 3 if name in ADDS_FORWARDS else 0  # examples at each of two validations
    assert added in (own_passes, 4)  # at most the base pass: 26 rows in batches of 8
    assert {m: p.training for m, p in plain.module.named_modules()} == {
        m: p.training for m, p in observed.module.named_modules()
    }
    assert not any(part._forward_hooks for part in observed.module.modules())


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("kind", STRANGERS)
def test_observers_survive_two_fits_and_a_fast_run(name, kind, tmp_path):
    callback = OBSERVERS[name](STRANGERS[kind].layers)
    first, second = (fit(kind, tmp_path, [callback]) for _ in range(2))
    assert all(torch.equal(value, second.weights()[key]) for key, value in first.weights().items())
    fit(kind, tmp_path, [callback], fast_dev_run=True)


@pytest.mark.parametrize("name", OBSERVERS)
def test_observers_remove_their_hooks_after_an_exception(name, tmp_path):
    class Breaks(Tagger):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().validation_step(batch, batch_idx)
            if self.global_step:
                raise KeyError("broken on purpose")

    module = Breaks()
    with pytest.raises(KeyError, match="broken on purpose"):
        make_trainer(tmp_path, [OBSERVERS[name](None)]).fit(module, *loaders(module))
    assert not any(part._forward_hooks for part in module.modules())


@pytest.mark.parametrize("kind", STRANGERS)
def test_no_forward_pass_is_added_to_a_validation_batch(kind, tmp_path):
    plain = fit(kind, tmp_path / "a", num_sanity_val_steps=math.inf)
    observed = fit(kind, tmp_path / "b", [OBSERVERS[n](STRANGERS[kind].layers) for n in set(OBSERVERS) - ADDS_FORWARDS])
    assert plain.module.forwards == observed.module.forwards


def test_freezing_everything_is_refused(tmp_path):
    class OnlyEncoder(Tagger):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(16, 3).requires_grad_(False)

    module = OnlyEncoder()
    with pytest.raises(XlingValueError, match="leaves no parameter to train"):
        make_trainer(tmp_path, [LayerFreezing(plan_freezing("bottom_k", k=2))]).fit(module, *loaders(module))


def test_snapshots_hold_ids_and_numbers(tmp_path):
    fitted = fit("tagger", tmp_path, [RepresentationWriter(dtype="float32")])
    path = tmp_path / "representations" / "step_000010" / "0.safetensors"
    snapshot = load_representations(path, {"pooling": "mean", "step": "10"})
    assert snapshot.example_ids.tolist() == list(range(26))
    for stored, expected in zip(snapshot.layers.values(), extract(fitted.module), strict=True):
        torch.testing.assert_close(stored, expected)
