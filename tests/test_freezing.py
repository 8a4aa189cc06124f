"""Freezing strategies: the layers they name, and what freezing them does to parameters, dropout and the backward pass."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from transformers import AutoModel, AutoModelForTextEncoding

from xling.analysis.questions.suggestion import make_suggestion, save_suggestion
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.freezing import (
    STRATEGIES,
    describe_plan,
    freeze_layers,
    plan_freezing,
    saves_no_backward,
    switch_off_dropout,
)
from xling.models import EncoderSpec, load_encoder
from xling.models.layers import ARCHITECTURES, layer_modules, layer_parameters, output_of
from xling.models.tiny import N_LAYERS, tiny_config

IDS = torch.arange(5, 19).reshape(2, 7)
CONF = Path(__file__).parents[1] / "conf" / "freeze"


def tiny(architecture: str) -> nn.Module:
    return load_encoder(EncoderSpec("tiny", architecture, weights="tiny"), "unused")


def tiny_with_dropout(architecture: str) -> nn.Module:
    """Every dropout that the architecture knows is on, also those that are 0 by default."""
    config = tiny_config(architecture)
    for name, value in vars(config).items():
        if ("drop" in name) and isinstance(value, float):
            setattr(config, name, 0.3)
    factory = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
    return factory.from_config(config).train()


def train_one_step(encoder: nn.Module) -> None:
    torch.manual_seed(0)
    head = nn.Linear(encoder.config.hidden_size, 3)
    trained = [p for p in [*encoder.parameters(), *head.parameters()] if p.requires_grad]
    loss = nn.functional.cross_entropy(head(encoder(input_ids=IDS)[0].mean(1)), torch.tensor([0, 2]))
    loss.backward()
    torch.optim.AdamW(trained, lr=0.1).step()


def hidden_states(encoder: nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(encoder.eval()(input_ids=IDS, output_hidden_states=True).hidden_states)


@pytest.mark.parametrize(
    ("settings", "name", "layers"),
    [
        ({"strategy": "none"}, "none", ()),
        ({"strategy": "embeddings"}, "embeddings", (0,)),
        ({"strategy": "word_embeddings"}, "word_embeddings", ()),
        ({"strategy": "bottom_k", "k": 3}, "bottom_3", (0, 1, 2, 3)),
        ({"strategy": "bottom_k", "k": 3, "embeddings": False}, "bottom_3_no_embeddings", (1, 2, 3)),
        ({"strategy": "top_k", "k": 2}, "top_2", (11, 12)),
        ({"strategy": "top_k", "k": 12}, "top_12", tuple(range(1, 13))),
        ({"strategy": "layers", "layers": [6, 1, 2, 1]}, "layers_1_2_6", (1, 2, 6)),
        ({"strategy": "layers", "layers": [0], "dropout": "off"}, "layers_0_dropout_off", (0,)),
    ],
)
def test_strategy_is_a_named_list_of_layers(settings, name, layers):
    plan = plan_freezing(**settings)
    assert (plan.name, plan.layers_of(12)) == (name, layers)


def test_random_sets_have_k_blocks_and_follow_their_seed():
    sets = [plan_freezing("random_k", k=3, seed=seed).layers_of(12) for seed in range(50)]
    assert all(len(set(layers)) == 3 and min(layers) >= 1 and max(layers) <= 12 for layers in sets)
    assert sets[7] == plan_freezing("random_k", k=3, seed=7).layers_of(12)
    assert set().union(*sets) == set(range(1, 13))
    assert len(set(sets)) > 25


def test_random_set_of_a_seed_never_changes():
    assert plan_freezing("random_k", k=3, seed=1).layers_of(12) == (2, 3, 10)
    plan = plan_freezing("random_k", k=3, seed=1, embeddings=True)
    assert (plan.name, plan.layers_of(12)) == ("random_3_seed1_embeddings", (0, 2, 3, 10))


def test_every_strategy_has_a_file_that_makes_its_plan():
    files = {file.stem: OmegaConf.load(file) for file in CONF.glob("*.yaml")}
    whole = {name: OmegaConf.to_container(own) for name, own in files.items() if "defaults" not in own}
    whole["layers"]["layers"] = list(files["layers"]["layers"])  # the paper's, unless an experiment says others
    assert set(whole) == set(STRATEGIES)
    for name, settings in whole.items():
        assert settings["strategy"] == name
        experiments = {"k": 3, "word_embeddings": False}  # what an experiment may set; these where none does
        plan = plan_freezing(**{key: experiments.get(key, value) for key, value in settings.items()})
        if name != "guided":
            assert all(0 <= layer <= 12 for layer in plan.layers_of(12))


def write_suggestion(folder: Path, value: object) -> str:
    path = folder / "suggestion.json"
    path.write_text(json.dumps(value))
    return str(path)


def test_guided_reads_the_layers_of_its_distance(tmp_path):
    file = write_suggestion(
        tmp_path,
        {
            "distances": {
                "genetic": {"layers": [4, 1], "reason": ""},
                "syntactic": {"layers": [], "reason": "none significant"},
            }
        },
    )
    assert plan_freezing("guided", suggestion=file, distance="genetic").layers_of(12) == (1, 4)
    with pytest.raises(XlingValueError, match=r"suggests no layer by syntactic \(none significant\)"):
        plan_freezing("guided", suggestion=file, distance="syntactic").layers_of(12)
    assert plan_freezing("guided", suggestion=file, distance="genetic").name == "guided_genetic"
    with pytest.raises(XlingValueError, match=r"suggests layers by genetic, syntactic, not by 'genetik'; did you mean"):
        plan_freezing("guided", suggestion=file, distance="genetik").layers_of(12)


def test_guided_reads_what_an_analysis_writes(tmp_path):
    layers = {"analysis": "impact_vs_distance", "predictor": "genetic", "p_max_t": 0.01, "p_bh": 0.01}
    rows = [layers | {"layer": layer, "r": r, "reason": ""} for layer, r in ((1, -0.8), (2, 0.8), (3, -0.6))]
    save_suggestion(tmp_path / "suggestion.json", make_suggestion(pd.DataFrame(rows), "study"))
    plan = plan_freezing("guided", suggestion=str(tmp_path / "suggestion.json"), distance="genetic")
    assert plan.layers_of(12) == (1, 3)


@pytest.mark.parametrize("value", [[1, 2], {"distances": [1]}, {"distances": {"genetic": [1]}}, {"layers": [1]}])
def test_guided_refuses_another_layout(tmp_path, value):
    plan = plan_freezing("guided", suggestion=write_suggestion(tmp_path, value))
    with pytest.raises(CorruptArtefactError, match="is no suggestion file: expected"):
        plan.layers_of(12)


def test_guided_needs_a_file(tmp_path):
    with pytest.raises(XlingValueError, match=r"expected freeze\.suggestion to be the suggestion file"):
        plan_freezing("guided", suggestion=None).layers_of(12)
    with pytest.raises(MissingFileError, match="expected a JSON file"):
        plan_freezing("guided", suggestion=str(tmp_path / "none.json")).layers_of(12)


def test_unknown_strategy_names_the_known():
    with pytest.raises(XlingValueError, match=r"unknown freezing strategy 'botom_k'.*did you mean 'bottom_k'"):
        plan_freezing("botom_k")


@pytest.mark.parametrize("options", [{}, {"k": 1, "layers": [1]}])
def test_settings_that_do_not_fit_the_strategy_are_refused(options):
    with pytest.raises(XlingValueError, match=r"freezing strategy bottom_k takes k, embeddings"):
        plan_freezing("bottom_k", **options)


def test_unknown_dropout_is_refused():
    with pytest.raises(XlingValueError, match=r"unknown freeze\.dropout 'on'; choose from active, off"):
        plan_freezing("bottom_k", dropout="on", k=1)


@pytest.mark.parametrize("strategy", ["bottom_k", "top_k"])
@pytest.mark.parametrize("k", [0, 13, 1.0, None, True])
def test_count_out_of_range_names_the_range(strategy, k):
    with pytest.raises(XlingValueError, match=r"expected freeze\.k to be a whole number from 1 to 12"):
        plan_freezing(strategy, k=k).layers_of(12)


def test_layer_out_of_range_is_refused():
    with pytest.raises(XlingValueError, match="layer 13 does not exist"):
        plan_freezing("layers", layers=[1, 13]).layers_of(12)
    with pytest.raises(XlingValueError, match="layer 4 does not exist"):
        freeze_layers(tiny("bert"), plan_freezing("layers", layers=[4]))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_step_changes_everything_but_the_frozen(architecture):
    encoder = tiny(architecture)
    frozen = freeze_layers(encoder, plan_freezing("layers", layers=[0, 2]))
    expected = {p for layer in (0, 2) for _, p in layer_parameters(encoder, layer)}
    assert {encoder.get_parameter(name) for name in frozen} == expected
    before = {parameter: parameter.detach().clone() for parameter in encoder.parameters()}
    train_one_step(encoder)
    assert {parameter for parameter, value in before.items() if torch.equal(parameter, value)} == expected


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frozen_layers_above_frozen_layers_keep_their_output(architecture):
    encoder = tiny(architecture)
    freeze_layers(encoder, plan_freezing("bottom_k", k=2))
    before = hidden_states(encoder)
    train_one_step(encoder.train())
    same = [torch.equal(a, b) for a, b in zip(before, hidden_states(encoder), strict=True)]
    assert same == [True, True, True, False]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_freezing_all_layers_leaves_the_encoder_as_it_was(architecture):
    encoder = tiny(architecture)
    freeze_layers(encoder, plan_freezing("bottom_k", k=N_LAYERS))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_word_embeddings_are_frozen_alone(architecture):
    encoder = tiny(architecture)
    frozen = freeze_layers(encoder, plan_freezing("word_embeddings"))
    assert len(frozen) == 1
    assert [p for p in encoder.parameters() if not p.requires_grad] == [encoder.get_input_embeddings().weight]


def test_encoder_inside_a_larger_module_is_frozen_by_full_names():
    outer = nn.ModuleDict({"encoder": tiny("bert"), "head": nn.Linear(2, 2)})
    frozen = freeze_layers(outer, plan_freezing("layers", layers=[1]))
    assert frozen
    assert all(name.startswith("encoder.encoder.layer.0.") for name in frozen)
    assert frozen == [name for name, parameter in outer.named_parameters() if not parameter.requires_grad]


def repeats(encoder: nn.Module, layer: int) -> bool:
    """Whether a layer gives the same output twice for the same input, in training mode."""
    part = dict(layer_modules(encoder))[layer]
    kept = []
    hook = part.register_forward_hook(lambda _, args, kwargs, out: kept.append((args, kwargs, out)), with_kwargs=True)
    encoder(input_ids=IDS)
    hook.remove()
    args, kwargs, output = kept[0]
    return all(torch.equal(output_of(part(*args, **kwargs)), output_of(output)) for _ in range(3))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dropout", ["active", "off"])
def test_dropout_inside_frozen_blocks_follows_the_setting(architecture, dropout):
    encoder = tiny_with_dropout(architecture)
    freeze_layers(encoder, plan_freezing("layers", dropout=dropout, layers=[2]))
    encoder.eval().train()  # as a validation inside training does
    assert repeats(encoder, 2) is (dropout == "off")
    assert not repeats(encoder, 1)


def test_dropout_of_frozen_embeddings_can_be_off():
    for dropout in ("active", "off"):
        encoder = tiny_with_dropout("bert")
        freeze_layers(encoder, plan_freezing("embeddings", dropout=dropout))
        assert repeats(encoder, 0) is (dropout == "off")


def test_switching_off_dropout_lasts_through_train():
    module = nn.Sequential(nn.Dropout(0.5))
    switch_off_dropout(module)
    assert torch.equal(module.train()(torch.ones(100)), torch.ones(100))


@pytest.mark.parametrize(
    ("layers", "saves_none"), [([0, 1, 2], False), ([0], False), ([1, 2], True), ([0, 2], True), ([12], True)]
)
def test_blocks_frozen_above_something_trained_save_no_backward_and_say_so(layers, saves_none):
    plan = plan_freezing("layers", layers=layers)
    assert saves_no_backward(plan, 12) is saves_none
    assert ("saves no backward pass" in describe_plan(plan, 12)) is saves_none


def test_backward_really_stops_below_the_lowest_trained_layer():
    for layers, reaches in (([0, 1], False), ([1], True)):
        encoder = tiny("bert")
        freeze_layers(encoder, plan_freezing("layers", layers=layers))
        seen = []
        encoder.encoder.layer[0].register_forward_hook(lambda _, __, out, seen=seen: seen.append(output_of(out)))
        encoder(input_ids=IDS)
        assert seen[0].requires_grad is reaches


def test_plans_without_layers_describe_themselves():
    assert describe_plan(plan_freezing("none"), 12) == "frozen: nothing"
    assert describe_plan(plan_freezing("word_embeddings"), 12) == "frozen: the word embeddings alone"


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_sets_of_layers_can_freeze_the_word_piece_table_besides(architecture) -> None:
    plan = plan_freezing("top_k", k=1, word_embeddings=True)
    module = tiny(architecture)

    both = freeze_layers(module, plan)

    table = freeze_layers(tiny(architecture), plan_freezing("word_embeddings"))
    block = freeze_layers(tiny(architecture), plan_freezing("top_k", k=1))
    assert sorted(both) == sorted([*block, *table])
    assert plan.layers_of(N_LAYERS) == (N_LAYERS,)  # the table is no layer
    assert f"layers {N_LAYERS} of 0..{N_LAYERS} and the word embeddings" in describe_plan(plan, N_LAYERS)


@pytest.mark.parametrize("strategy", ["word_embeddings", "lora"])
def test_what_freezes_the_word_piece_table_anyway_is_not_told_to(strategy) -> None:
    with pytest.raises(XlingValueError, match="freezes the word-piece table already"):
        plan_freezing(strategy, word_embeddings=True)


def test_whether_the_word_piece_table_is_frozen_is_yes_or_no() -> None:
    with pytest.raises(XlingValueError, match="freeze.word_embeddings to be true or false, got 'yes'"):
        plan_freezing("none", word_embeddings="yes")
