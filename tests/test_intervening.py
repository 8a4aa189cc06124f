"""Interventions in training, in modules that import nothing of xling: each changes what it says and nothing else."""

import math

import pytest
import pytorch_lightning as pl
import torch
from strangers import STRANGERS, Mlp, Tagger, fit, loaders, make_trainer
from torch.utils.data import DataLoader

from xling.callbacks import (
    Anchor,
    GradualUnfreezing,
    ImpactBudget,
    ImpactMonitor,
    LayerFreezing,
    LayerwiseRates,
    PullToBase,
    TrainUsedRows,
)
from xling.errors import XlingValueError
from xling.interventions.during_training import (
    add_pull,
    anchor_distance,
    first_trained_layer,
    rate_factor,
    shorten_steps,
)
from xling.similarity import linear_cka

FORWARD = {"forward": lambda module, batch: module.loss(batch)}
OFF = {
    "Anchor": lambda names: Anchor(0, names=names, **FORWARD),
    "PullToBase": lambda names: PullToBase(0, names=names),
    "LayerwiseRates": lambda names: LayerwiseRates(1.0, names=names),
    "GradualUnfreezing": lambda names: GradualUnfreezing(0, names=names),
    "ImpactBudget": lambda names: ImpactBudget(2.0, names=names),
}
ON = {
    "Anchor": lambda names: Anchor(5.0, names=names, **FORWARD),
    "Anchor by CKA": lambda names: Anchor(5.0, form="cka", names=names, **FORWARD),
    "PullToBase": lambda names: PullToBase(3.0, names=names),
    "LayerwiseRates": lambda names: LayerwiseRates(0.5, names=names),
    "GradualUnfreezing": lambda names: GradualUnfreezing(3, names=names),
    "ImpactBudget": lambda names: ImpactBudget(1e-3, names=names),
}


def with_monitor(callback, names):
    return [ImpactMonitor(names), callback] if isinstance(callback, ImpactBudget) else [callback]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("name", OFF)
@pytest.mark.parametrize("kind", STRANGERS)
def test_without_strength_nothing_is_done_to_the_bit(name, kind, tmp_path):
    names = STRANGERS[kind].layers
    callbacks = with_monitor(OFF[name](names), names)
    assert_same(fit(kind, tmp_path / "on", callbacks).weights(), fit(kind, tmp_path / "plain").weights())


@pytest.mark.parametrize("name", ON)
@pytest.mark.parametrize("kind", STRANGERS)
def test_an_intervention_changes_training_and_leaves_no_trace_on_the_module(name, kind, tmp_path):
    names = STRANGERS[kind].layers
    if (name, kind) == ("Anchor by CKA", "cnn"):
        names = ["features.3"]
    treated, plain = fit(kind, tmp_path / "on", with_monitor(ON[name](names), names)), fit(kind, tmp_path / "plain")
    assert any(not torch.equal(value, plain.weights()[key]) for key, value in treated.weights().items())
    assert not any(part._forward_hooks for part in treated.module.modules())
    flags = [{name: part.training for name, part in each.module.named_modules()} for each in (treated, plain)]
    assert flags[0] == flags[1]


@pytest.mark.parametrize("name", ON)
@pytest.mark.parametrize("kind", ["mlp", "tagger"])
def test_a_fit_goes_on_from_a_checkpoint_to_the_bit(name, kind, tmp_path):
    names = STRANGERS[kind].layers

    def started(folder, **changes):
        pl.seed_everything(3, verbose=False)
        module = STRANGERS[kind]()
        ordered = DataLoader(module.data(40), batch_size=8)  # Lightning restores no shuffling
        callbacks = with_monitor(ON[name](names), names)
        trainer = make_trainer(folder, [*callbacks, *changes.pop("more", [])], **changes)
        return module, trainer, (ordered, loaders(module)[1])

    class Dropless(pl.Callback):  # nor the random state of dropout
        def on_fit_start(self, trainer, pl_module):
            for part in pl_module.modules():
                if isinstance(part, torch.nn.Dropout):
                    part.p = 0.0

    whole, trainer, data = started(tmp_path / "a", max_epochs=3, more=[Dropless()])
    trainer.fit(whole, *data)
    first, trainer, data = started(tmp_path / "b", max_epochs=1, more=[Dropless()])
    trainer.fit(first, *data)
    trainer.save_checkpoint(tmp_path / "b" / "one.ckpt")
    second, trainer, data = started(tmp_path / "b", max_epochs=3, more=[Dropless()])
    trainer.fit(second, *data, ckpt_path=tmp_path / "b" / "one.ckpt", weights_only=True)
    assert_same(whole.state_dict(), second.state_dict())


def test_a_resumed_fit_with_another_base_is_refused(tmp_path):
    fitted = fit("mlp", tmp_path, [PullToBase(1.0, names="body.*")], max_epochs=1)
    fitted.trainer.save_checkpoint(tmp_path / "one.ckpt")
    pl.seed_everything(4, verbose=False)
    other = Mlp()
    trainer = make_trainer(tmp_path, [PullToBase(1.0, names="body.*")], max_epochs=2)
    with pytest.raises(XlingValueError, match="goes on from a checkpoint of a fit that began with other weights"):
        trainer.fit(other, *loaders(other), ckpt_path=tmp_path / "one.ckpt", weights_only=True)


def moved(module, prefix):
    """How far the weights below a name are from those of the seeded start."""
    pl.seed_everything(3, verbose=False)
    start = type(module)().state_dict()
    now = module.state_dict()
    return math.sqrt(sum(float((now[n] - start[n]).square().sum()) for n in start if n.startswith(prefix)))


def test_a_pull_holds_the_layers_it_treats(tmp_path):
    plain = fit("tagger", tmp_path / "plain", max_epochs=4).module
    pulled = fit("tagger", tmp_path / "on", [PullToBase(30.0, layers="1")], max_epochs=4).module
    lower, upper = "encoder.encoder.layer.0.", "encoder.encoder.layer.1."
    assert moved(pulled, lower) < 0.7 * moved(plain, lower)
    assert moved(pulled, upper) > 0.7 * moved(plain, upper)


def test_an_anchor_holds_the_representations_of_the_layers_it_treats(tmp_path):
    def impact(callbacks):
        monitor = ImpactMonitor(None)
        fit("tagger", tmp_path, [monitor, *callbacks], max_epochs=4)
        return {r["layer"]: r["impact_debiased"] for r in monitor.records if r["step"] == 20}

    plain = impact([])
    for form in ("l2", "cka"):
        held = impact([Anchor(20.0, "1", form, **FORWARD)])
        assert held[1] < 0.5 * plain[1], form
    probe = [batch for batch in DataLoader(Tagger().data(26), batch_size=26)]
    assert impact([Anchor(20.0, "1", batches=probe, **FORWARD)])[1] < 0.5 * plain[1]


def test_gradual_unfreezing_leaves_what_is_still_frozen_alone(tmp_path):
    fitted = fit("tagger", tmp_path, [GradualUnfreezing(6)], max_epochs=2).module  # 10 steps: layer 2, then 1
    assert moved(fitted, "encoder.embeddings.") == 0
    assert moved(fitted, "encoder.encoder.layer.0.") > 0
    early = fit("tagger", tmp_path / "early", [GradualUnfreezing(6)], max_epochs=1).module
    assert moved(early, "encoder.encoder.layer.0.") == 0
    assert moved(early, "encoder.encoder.layer.1.") > 0
    assert moved(early, "head.") > 0


def test_layerwise_rates_are_those_of_an_optimiser_with_a_group_per_layer(tmp_path):
    class Grouped(Tagger):
        def configure_optimizers(self):
            rates = {"encoder.embeddings": 0.25, "encoder.encoder.layer.0": 0.5}
            groups = [
                {"params": [p], "lr": 1e-2 * next((f for name, f in rates.items() if n.startswith(name)), 1.0)}
                for n, p in self.named_parameters()
            ]
            return torch.optim.AdamW(groups)

    pl.seed_everything(3, verbose=False)
    grouped = Grouped()
    make_trainer(tmp_path / "groups").fit(grouped, *loaders(grouped))
    ours = fit("tagger", tmp_path / "ours", [LayerwiseRates(0.5)]).module
    for name, value in grouped.state_dict().items():
        if "key.bias" not in name:  # its gradient is 0 but for rounding, which Adam scales up
            assert torch.allclose(value, ours.state_dict()[name], atol=1e-4), name
    assert moved(fit("tagger", tmp_path / "top", [LayerwiseRates(0.0)]).module, "encoder.encoder.layer.0.") == 0


def test_a_budget_holds_a_layer_and_all_below_from_the_validation_on_that_reaches_it(tmp_path):
    monitor, budget = ImpactMonitor(None), ImpactBudget(0.02, "1")
    fitted = fit("tagger", tmp_path, [monitor, budget], max_epochs=6, val_check_interval=1)
    impact = {r["step"]: r["impact_debiased"] for r in monitor.records if r["layer"] == 1}
    (event,) = budget.events
    steps = sorted(impact)
    assert event["impact"] == impact[event["step"]] >= 0.02
    assert all(impact[step] < 0.02 for step in steps if step < event["step"])
    assert 0 < event["step"] < steps[-1]
    after = [impact[step] for step in steps if step >= event["step"]]
    assert max(after) - min(after) < 1e-6  # exceeded by no more than the one interval's step
    assert moved(fitted.module, "encoder.encoder.layer.1.") > 0


def test_a_budget_heeds_the_targets_it_is_given(tmp_path):
    budget = ImpactBudget(1e-4, targets=["1"])
    fit("tagger", tmp_path, [ImpactMonitor(None), budget], n_val_loaders=2)
    assert {event["target"] for event in budget.events} == {"1"}
    with pytest.raises(XlingValueError, match="expected targets among 0, got de"):
        fit("tagger", tmp_path / "x", [ImpactMonitor(None), ImpactBudget(0.1, targets=["de"])])
    with pytest.raises(XlingValueError, match="needs an ImpactMonitor among the trainer's callbacks"):
        fit("tagger", tmp_path / "y", [ImpactBudget(0.1)])


def test_interventions_work_beside_rows_left_out_and_frozen_layers(tmp_path):
    used = TrainUsedRows(lambda: range(50), "encoder.embeddings.word_embeddings")

    class NoDecay(Tagger):
        def configure_optimizers(self):
            return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)

    for callback in (PullToBase(3.0), Anchor(5.0, **FORWARD), LayerwiseRates(0.5), GradualUnfreezing(3)):
        pl.seed_everything(3, verbose=False)
        module = NoDecay()
        frozen = LayerFreezing(["encoder.encoder.layer.0"])
        make_trainer(tmp_path, [frozen, used, callback]).fit(module, *loaders(module))
        assert moved(module, "encoder.encoder.layer.0.") == 0
    with pytest.raises(XlingValueError, match="treats layers of which no parameter trains"):
        fit("tagger", tmp_path, [LayerFreezing(["encoder.encoder.layer.0"]), PullToBase(1.0, "1")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PullToBase(-1.0), "expected strength to be a number of at least 0, got -1.0"),
        (lambda: Anchor(math.nan), "expected strength to be a number of at least 0, got nan"),
        (lambda: Anchor(1.0, form="l1"), "unknown form of an anchor 'l1'"),
        (lambda: Anchor(1.0, batches=[]), "got no batches"),
        (lambda: Anchor(1.0, every_n_steps=0), "got every_n_steps=0"),
        (lambda: LayerwiseRates(1.5), "expected decay between 0 and 1, got 1.5"),
        (lambda: GradualUnfreezing(-1), "every_n_steps to be a whole number of at least 0, got -1"),
        (lambda: ImpactBudget("much"), "expected bound to be a number of at least 0, got 'much'"),
        (lambda: anchor_distance(torch.ones(1, 1), torch.ones(1, 1), "l1"), "to be l2 or cka, got 'l1'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make, message):
    with pytest.raises(XlingValueError, match=message):
        make()


def test_a_layer_that_the_module_lacks_is_refused(tmp_path):
    with pytest.raises(XlingValueError, match="layer 3 does not exist"):
        fit("tagger", tmp_path, [PullToBase(1.0, "3")])


def test_the_pull_is_the_gradient_of_its_penalty():
    torch.manual_seed(0)
    origin, task = torch.randn(4, 3), torch.randn(4, 3)
    weight = torch.nn.Parameter(torch.randn(4, 3))
    weight.grad = task.clone()
    add_pull([weight], [origin], 0.7)
    (expected,) = torch.autograd.grad(0.35 * (weight - origin).square().sum(), weight)
    assert torch.allclose(weight.grad, task + expected)


@pytest.mark.parametrize("form", ["l2", "cka"])
def test_the_anchors_distance_is_0_at_the_base_and_follows_its_definition(form):
    torch.manual_seed(0)
    base = torch.randn(12, 5)
    groups = torch.arange(12) // 2
    assert anchor_distance(base, base, form, groups).item() == pytest.approx(0, abs=1e-6)
    now = base + 0.3 * torch.randn(12, 5)
    expected = {
        "l2": sum(float(((a - b) ** 2).sum() / (b**2).sum()) for a, b in zip(now, base, strict=True)) / 12,
        "cka": 1 - float(linear_cka(now, base, debiased=True)),
    }
    assert anchor_distance(now, base, form).item() == pytest.approx(expected[form], abs=1e-5)


def test_rates_and_schedules_are_as_documented():
    assert [rate_factor(layer, 2, 0.5) for layer in range(3)] == [0.25, 0.5, 1.0]
    assert [first_trained_layer(step, 2, 5) for step in (0, 4, 5, 10, 99)] == [2, 2, 1, 0, 0]
    weight = torch.nn.Parameter(torch.tensor([1.0, 3.0]))
    shorten_steps([weight], [torch.tensor([0.0, 1.0])], [0.5])
    assert weight.tolist() == [0.5, 2.0]
