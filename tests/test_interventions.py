"""Plans of interventions, shares of layers, and what is done to weights after training."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch import nn

from xling.commands.train import train
from xling.errors import XlingValueError
from xling.interventions import INTERVENTIONS, average_states, blend_layers, parse_shares, plan_intervention
from xling.interventions.layer_shares import format_shares, layers_in, name_shares, scaled
from xling.runs.comparable import design_of, find_mixed
from xling.runs.directory import read_settings
from xling.runs.planned_runs import identity_of, run_key
from xling.runs.study import load_study
from xling.storage.atomic import read_json
from xling.training.intervening import build_intervention

OWNERS = [["embeddings"], ["blocks.1"], ["blocks.10", "norm"]]


def make_state(seed: int) -> dict:
    torch.manual_seed(seed)
    net = nn.ModuleDict(
        {
            "embeddings": nn.Embedding(5, 3),
            "blocks": nn.ModuleDict({name: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for name in ("1", "10")}),
            "norm": nn.LayerNorm(3),
            "head": nn.Linear(3, 2),
        }
    )
    for _ in range(seed + 1):
        net["blocks"]["1"](torch.randn(4, 3))  # counts batches: a buffer of whole numbers
    with torch.no_grad():
        net["norm"].weight.normal_()
    return net.state_dict()


def assert_equal(state, expected):
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("1", {1: 1.0}),
        (0, {0: 1.0}),
        ([2, 1], {1: 1.0, 2: 1.0}),
        ("0-2, 5:0.5,head", {0: 1.0, 1: 1.0, 2: 1.0, 5: 0.5, "head": 1.0}),
        ("head:0.25,1-2:0.1", {1: 0.1, 2: 0.1, "head": 0.25}),
    ],
)
def test_shares_are_read_and_written_back(text, shares):
    assert parse_shares(text) == shares
    assert parse_shares(format_shares(shares)) == shares


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected layers such as 1-4,5:0.5 or head, got ''"),
        ([], r"got none in \[\]"),
        ("1-3,2", "got a layer twice in '1-3,2'"),
        ("3-1", "ascending order, got 3-1; write 1-3"),
        ("1:x", "got '1:x'"),
        ("top", "got 'top'"),
        ("1:1.5", "a share between 0 and 1, got 1.5"),
        ("1:nan", "a share between 0 and 1, got nan"),
    ],
)
def test_layers_that_cannot_be_read_are_refused(text, message):
    with pytest.raises(XlingValueError, match=message):
        parse_shares(text)


def test_shares_scale_and_name_a_folder():
    shares = scaled(parse_shares("0-2,3:0.5"), 0.5)
    assert name_shares(shares) == "0-2x0.5_3x0.25"
    assert layers_in({1: 1.0, 2: 0.0, "head": 1.0}, 2) == (1,)
    with pytest.raises(XlingValueError, match="layer 3 does not exist"):
        layers_in({3: 1.0}, 2)


def test_a_blend_of_every_part_is_the_other_model_and_of_none_the_own():
    own, other = make_state(0), make_state(1)
    assert_equal(blend_layers(own, other, OWNERS, parse_shares("0-2,head")), other)
    assert_equal(blend_layers(own, other, OWNERS, parse_shares("0-2:0,head:0")), own)


def test_a_blend_ends_at_the_layer_and_interpolates_by_the_share():
    own, other = make_state(0), make_state(1)
    blended = blend_layers(own, other, OWNERS, {1: 0.25})
    for name in own:
        mean = 0.75 * own[name].double() + 0.25 * other[name].double()
        is_blended = name.startswith("blocks.1.") and own[name].is_floating_point()
        assert torch.allclose(blended[name].double(), mean if is_blended else own[name].double(), atol=1e-7), name


def test_blending_with_another_architecture_is_refused():
    own, other = make_state(0), make_state(1)
    with pytest.raises(XlingValueError, match="layer 7 does not exist"):
        blend_layers(own, other, OWNERS, {7: 1.0})
    with pytest.raises(XlingValueError, match="share between 0 and 1"):
        blend_layers(own, other, OWNERS, {1: 2.0})
    with pytest.raises(XlingValueError, match=r"norm.bias of shape \[3\] in run B, found no such tensor"):
        blend_layers(own, {n: t for n, t in other.items() if n != "norm.bias"}, OWNERS, {2: 1.0}, "run B")
    with pytest.raises(XlingValueError, match="no weights in layer 0"):
        blend_layers(own, other, [["nowhere"], *OWNERS[1:]], {0: 1.0})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_average_of_a_model_with_itself_is_that_model_to_the_bit(dtype, n):
    state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in make_state(3).items()}
    assert_equal(average_states([state] * n), state)


def test_the_average_is_the_mean_of_the_weights():
    states = [make_state(seed) for seed in range(3)]
    average = average_states(states)
    for name, tensor in average.items():
        if tensor.is_floating_point():
            mean = torch.stack([state[name] for state in states]).double().mean(0)
            assert torch.allclose(tensor.double(), mean, atol=1e-7)
        else:
            assert torch.equal(tensor, states[0][name])


def test_models_of_different_architectures_are_not_averaged():
    with pytest.raises(XlingValueError, match="at least one model"):
        average_states([])
    state = make_state(0)
    lacking = {name: tensor for name, tensor in state.items() if name != "norm.bias"}
    with pytest.raises(XlingValueError, match="in model 2, found no such tensor"):
        average_states([state, lacking])
    with pytest.raises(XlingValueError, match="in model 1, found no such tensor"):
        average_states([lacking, state])


def test_a_plan_is_named_with_its_settings_and_joins_the_freezing_strategy():
    plan = plan_intervention("revert", layers="0-4,5:0.5")
    assert plan.name == "revert_0-4_5x0.5"
    assert plan.strategy("none") == "revert_0-4_5x0.5"
    assert plan.strategy("word_embeddings") == "word_embeddings_revert_0-4_5x0.5"
    assert plan_intervention().strategy("none") == "none"
    assert plan_intervention("swap", layers=[1], donor="s/sw/none/seed_1", whose="sw").name == "swap_1_from_sw"
    assert plan_intervention("average", models=["a", "b"], whose="seeds_1_2").name == "average_seeds_1_2"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("rewert", {}, "unknown intervention 'rewert'; did you mean 'revert'"),
        ("revert", {}, "intervention revert takes layers, draw, got none"),
        ("revert", {"layer": 1}, "intervention revert takes layers, draw, got layer"),
        ("none", {"layers": "1"}, "intervention none takes no settings, got layers"),
        ("average", {"models": [], "whose": "x"}, "at least one model to average"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(kind, options, message):
    with pytest.raises(XlingValueError, match=message):
        plan_intervention(kind, **options)


def test_every_intervention_says_whether_it_acts_in_training():
    assert all(kind.callback is None or ":" in kind.callback for kind in INTERVENTIONS.own.values())


CONF = Path(__file__).parents[1] / "conf" / "intervention"


@pytest.mark.parametrize("option", sorted(file.stem for file in CONF.glob("*.yaml")))
def test_every_file_of_the_group_is_a_plan_and_its_callback_takes_what_it_says(option, make_config):
    settings = make_config(f"intervention={option}")
    plan = settings.intervention
    assert plan.kind == option
    if option == "none":
        assert not plan.trains
        return
    datamodule = SimpleNamespace(unlabelled_batches=lambda languages: [])
    assert isinstance(build_intervention(settings, datamodule), pl.Callback)
    facts = plan.facts(2)
    assert facts["treated_layers"] == [0, 1, 2]
    assert facts["dose"] > 0


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (["anchor", "intervention.layers=1-2", "intervention.strength=0.5"], "anchor_1-2_0.5"),
        (["anchor", "intervention.form=cka", "intervention.languages=[de]"], "anchor_all_0.1_cka_de"),
        (["anchor", "intervention.every_n_steps=4", "freeze=word_embeddings"], "word_embeddings_anchor_all_0.1_every4"),
        (["l2_sp"], "l2_sp_all_0.01"),
        (["layerwise_lr"], "layerwise_lr_0.9"),
        (["gradual"], "gradual_20"),
        (["budget", "intervention.targets=[sw]"], "budget_all_0.1_sw"),
    ],
)
def test_a_run_is_named_with_its_intervention(make_config, settings, name):
    assert run_key(make_config(f"intervention={settings[0]}", *settings[1:])).strategy == name


def test_a_run_with_an_anchor_on_other_languages_is_recorded(make_config):
    anchor = [
        "intervention=anchor",
        "intervention.languages=[de,sw]",
        "intervention.strength=50",
        "trainer.max_epochs=1",
    ]
    path = train(make_config(*anchor)).path
    assert path.parent.name == "anchor_all_50_de_sw"
    manifest = read_json(path / "manifest.json")
    assert (manifest["intervention"], manifest["dose"], manifest["treated_layers"]) == ("anchor", 50.0, [0, 1, 2, 3])
    plain = train(make_config("trainer.max_epochs=1")).path
    last = [pd.read_parquet(each / "impact.parquet").query("step > 0 and layer == 3") for each in (path, plain)]
    mean = [frame[frame["measure"] == "cka_grouped"]["impact"].mean() for frame in last]
    assert mean[0] < mean[1]
    assert "intervention anchor all 50 de sw." in load_study(path).runs["recipe"].iloc[0]


def test_a_run_says_when_a_layer_reached_its_budget(make_config):
    """The manifest says it, and the study; a run without a budget says nothing of the kind."""
    settings = ["intervention=budget", "intervention.bound=1e-6", "intervention.layers=1", "trainer.max_epochs=2"]
    path = train(make_config(*settings)).path
    (event,) = read_json(path / "manifest.json")["budget_events"]
    impact = pd.read_parquet(path / "impact.parquet")
    reached = impact[(impact["layer"] == 1) & (impact["step"] == event["step"])]
    assert event["layer"] == 1
    assert event["impact"] == pytest.approx(reached.set_index("target_language")["impact"][event["target"]].iloc[0])
    assert load_study(path).runs["budget_events"].iloc[0] == [event]
    plain = train(make_config("trainer.max_epochs=1")).path
    assert "budget_events" not in read_json(plain / "manifest.json")


def test_an_anchor_without_strength_leaves_a_runs_numbers_as_they_are(make_config):
    paths = [
        train(make_config("trainer.max_epochs=1", *settings)).path
        for settings in ([], ["intervention=anchor", "intervention.strength=0"])
    ]
    columns = ["target_language", "step", "layer", "measure", "impact"]
    pd.testing.assert_frame_equal(*(pd.read_parquet(path / "impact.parquet")[columns] for path in paths))


def test_an_anchor_beside_stored_frozen_layers_is_refused(make_config):
    with pytest.raises(XlingValueError, match="set cache_frozen=false"):
        train(
            make_config(
                "intervention=anchor", "freeze=bottom_k", "freeze.k=1", "freeze.dropout=off", "cache_frozen=true"
            )
        )


def test_settings_of_an_intervention_are_checked_before_anything_is_loaded():
    with pytest.raises(XlingValueError, match="expected intervention.strength to be a number of at least 0, got -1"):
        plan_intervention("anchor", strength=-1)
    with pytest.raises(XlingValueError, match="expected intervention.form to be l2 or cka, got 'l3'"):
        plan_intervention("anchor", strength=1, form="l3")


def write_config(folder, settings, **intervention):
    folder.mkdir(parents=True, exist_ok=True)
    plain = settings.to_plain() | {"intervention": intervention}
    (folder / "config.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
    return folder


def test_a_recorded_intervention_of_another_package_is_read_without_importing_it(make_config, tmp_path):
    path = tmp_path / "test" / "en" / "word_embeddings_mine_3" / "seed_42"
    settings = read_settings(
        write_config(path, make_config("freeze=word_embeddings"), kind="no_such_package:mine", size=3)
    )
    assert settings.intervention.options == {"size": 3}
    assert settings.intervention.trains
    assert run_key(settings).strategy == "word_embeddings_mine_3"


def test_runs_of_one_study_may_differ_in_their_intervention_but_not_in_what_one_name_means(make_config):
    environment, data = {"model": {"content_hash": "0"}}, {"train": {"name": "x", "n_examples": 1, "fingerprint": "0"}}

    def design(seed, **options):
        plan = plan_intervention(**options)
        return design_of(make_config().changed(intervention=plan, seed=seed), environment, data)

    swaps = [design(s, kind="swap", layers="1", donor=f"test/de/none/seed_{s}", whose="de") for s in (1, 2)]
    others = [design(1, kind="revert", layers="1"), design(1, kind="none")]
    assert not find_mixed(dict(zip("abcd", [*swaps, *others], strict=True)))
    anchors = [design(1, kind="anchor", strength=strength) for strength in (0.1, 0.10000001)]  # one name
    (mixed,) = find_mixed(dict(zip("ab", anchors, strict=True)))
    assert mixed.name == "intervention of anchor_all_0.1.strength"


def test_a_name_that_leads_elsewhere_is_refused(make_config):
    plan = plan_intervention("average", models=["x"], whose="../../x")
    with pytest.raises(XlingValueError, match="the strategy's name"):
        identity_of(make_config().changed(intervention=plan))


def test_a_head_that_is_reverted_is_recorded_among_what_is_treated():
    assert plan_intervention("revert", layers="1-2,head").facts(3)["treated_layers"] == [1, 2, "head"]
    assert plan_intervention("revert", layers="1-2,head:0").facts(3)["treated_layers"] == [1, 2]
