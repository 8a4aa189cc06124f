"""Low-rank adapters: what they leave alone, what they change, and whole runs with them."""

import pandas as pd
import pytest
import torch
from test_resume import KillAt, outcome, train_with  # noqa: F401  (a fixture)
from torch import nn

from xling.callbacks.freezing import LayerFreezing
from xling.commands.train import train
from xling.errors import XlingValueError
from xling.freezing import describe_plan, freeze_layers, plan_freezing
from xling.freezing.lora import TARGETS, merge_adapters
from xling.interventions import parse_shares
from xling.models import EncoderSpec, load_encoder
from xling.models.layers import ARCHITECTURES, find_layers
from xling.models.tiny import N_LAYERS
from xling.training.finished import load_run
from xling.training.restoring import Restoration, base_state, restore_run

pytest.importorskip("peft", reason="peft is not installed: pip install 'xling[lora]'")

IDS = torch.arange(5, 19).reshape(2, 7)


def tiny(architecture: str) -> nn.Module:
    return load_encoder(EncoderSpec("tiny", architecture, weights="tiny", pooling="mean"), "unused").eval()


def hidden_states(encoder: nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(encoder(input_ids=IDS, output_hidden_states=True).hidden_states)


def train_one_step(encoder: nn.Module) -> None:
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    encoder(input_ids=IDS)[0].square().sum().backward()
    torch.optim.AdamW(trained, lr=0.1).step()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_adapters_begin_as_nothing_and_then_change_every_block_alone(architecture):
    encoder = tiny(architecture)
    layers, before = find_layers(encoder), hidden_states(encoder)
    values = {name: parameter.detach().clone() for name, parameter in encoder.named_parameters()}
    frozen = freeze_layers(encoder, plan_freezing("lora", r=2))
    assert find_layers(encoder) == layers
    assert {name.replace(".base_layer", "") for name in frozen} == set(values)
    assert all(torch.equal(a, b) for a, b in zip(before, hidden_states(encoder), strict=True))
    train_one_step(encoder)
    after = dict(encoder.named_parameters())
    assert all(torch.equal(after[name], values[name.replace(".base_layer", "")]) for name in frozen)
    same = [torch.equal(a, b) for a, b in zip(before, hidden_states(encoder), strict=True)]
    assert same == [True] + [False] * N_LAYERS


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "umt5"])
def test_merged_weights_compute_the_same_without_adapters(architecture):
    options = {"r": 2, "alpha": 3.0}
    base, encoder = tiny(architecture), tiny(architecture)
    freeze_layers(encoder, plan_freezing("lora", **options))
    train_one_step(encoder)
    untouched = {name: value.clone() for name, value in base.state_dict().items()}
    merged = merge_adapters(base, encoder.state_dict(), options)
    assert all(torch.equal(base.state_dict()[name], value) for name, value in untouched.items())
    base.load_state_dict(merged)
    torch.testing.assert_close(hidden_states(base), hidden_states(encoder), rtol=1e-4, atol=1e-5)


def test_a_run_with_adapters_trains_them_and_the_head_alone(make_config):
    settings = ["trainer.max_epochs=1", "optimizer.learning_rate=1e-2"]
    plain = train(make_config(*settings))
    run = train(make_config(*settings, "freeze=lora", "freeze.r=2"))
    assert run.path.parts[-2] == "lora_r2"
    facts = run.read_manifest()
    assert (facts["frozen_layers"], facts["noise_floor"]) == ([], plain.read_manifest()["noise_floor"])
    last = pd.read_parquet(run.path / "impact.parquet").query("step > 0")
    assert sorted(last["layer"].unique()) == list(range(N_LAYERS + 1))
    assert last.loc[last["layer"] == 0, "impact"].eq(0.0).all()
    assert last.loc[last["layer"] > 0, "impact"].gt(1e-8).all()
    assert not last["is_frozen"].any()
    base = dict(tiny("bert").named_parameters())
    state = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    kept = {name.removeprefix("encoder.").replace(".base_layer", "") for name in state if ".lora_" not in name}
    assert base.keys() <= kept
    assert all(
        torch.equal(state[name], base[name.removeprefix("encoder.").replace(".base_layer", "")])
        for name in state
        if name.startswith("encoder.") and ".lora_" not in name
    )


def test_an_interrupted_run_with_adapters_ends_as_an_undisturbed_one(make_config, tmp_path, train_with):  # noqa: F811
    settings = ["freeze=lora", "freeze.adapter_dropout=0.1", "trainer.max_epochs=1", "checkpoint.every_n_steps=1"]
    undisturbed = outcome(train(make_config(*settings, f"output_dir={tmp_path}/undisturbed")))
    config = make_config(*settings, f"output_dir={tmp_path}/interrupted")
    train_with(config, KillAt("on_train_batch_end", 3))
    assert outcome(train(config)) == undisturbed


def test_layers_of_a_run_with_adapters_can_be_restored(make_config, tmp_path):
    path = train(make_config("trainer.max_epochs=1", "freeze=lora", "optimizer.learning_rate=1e-2")).path
    run = load_run(path)
    table = restore_run(run, base_state(run), [Restoration(parse_shares(range(1, N_LAYERS + 1)))], tmp_path).set_index(
        "target_language"
    )
    recorded = pd.read_parquet(path / "transfer.parquet").set_index("target_language")["score"]
    unrestored = table.loc[table["weight"] == 0, "score"]
    assert unrestored.to_dict() == recorded.to_dict()
    run = load_run(path)
    changed = [name for name, base in run.module.state_dict().items() if not torch.equal(base, run.finetuned[name])]
    maps = {".".join(name.split(".")[-2:]) for name in changed if name.startswith("encoder.")}
    assert maps == {"query.weight", "value.weight"}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "lora_r8"),
        ({"r": 8, "alpha": 16, "target_modules": None, "adapter_dropout": 0.0}, "lora_r8"),
        ({"r": 4, "alpha": 16}, "lora_r4_alpha16"),
        ({"target_modules": ["value", "key"], "adapter_dropout": 0.1}, "lora_r8_key_value_dropout0.1"),
        ({"target_modules": "all-linear"}, "lora_r8_all-linear"),
    ],
)
def test_the_name_says_what_is_not_usual(settings, name):
    assert plan_freezing("lora", **settings).name == name


def test_all_linear_maps_can_be_adapted():
    encoder = tiny("bert")
    freeze_layers(encoder, plan_freezing("lora", target_modules="all-linear"))
    adapted = {name.split(".lora_A")[0] for name, _ in encoder.named_parameters() if ".lora_A" in name}
    linear = {
        name.removesuffix(".base_layer") for name, part in tiny("bert").named_modules() if isinstance(part, nn.Linear)
    }
    assert adapted == linear


def test_a_second_fit_goes_on_with_the_same_adapters():
    encoder = tiny("bert")
    frozen = freeze_layers(encoder, plan_freezing("lora"))
    names = [name for name, _ in encoder.named_parameters()]
    assert freeze_layers(encoder, plan_freezing("lora")) == frozen
    assert [name for name, _ in encoder.named_parameters()] == names


def test_the_plan_describes_itself():
    assert describe_plan(plan_freezing("lora"), 12) == (
        "frozen: the encoder but for low-rank adapters (lora_r8) in its layers 1..12"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["querry"]}, r"no module of bert is called 'querry'; .*did you mean 'query'"),
        ({"target_modules": "query"}, r"expected freeze\.target_modules to be a list or all-linear, got 'query'"),
    ],
)
def test_maps_that_are_not_there_are_refused(settings, message):
    with pytest.raises(XlingValueError, match=message):
        freeze_layers(tiny("bert"), plan_freezing("lora", **settings))


def test_an_architecture_without_usual_maps_asks_for_names(monkeypatch):
    monkeypatch.delitem(TARGETS, "distilbert")  # peft has none for it either
    with pytest.raises(XlingValueError, match=r"\(distilbert\); set freeze\.target_modules"):
        freeze_layers(tiny("distilbert"), plan_freezing("lora"))


@pytest.mark.parametrize("r", [0, 2.0, True])
def test_a_rank_that_is_none_is_refused(r):
    with pytest.raises(XlingValueError, match=r"expected freeze\.r, the rank"):
        plan_freezing("lora", r=r)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("xling.freezing.lora.find_spec", lambda name: None)
    with pytest.raises(XlingValueError, match=r"freeze=lora needs the package peft: pip install 'xling\[lora\]'"):
        LayerFreezing(plan_freezing("lora"))
