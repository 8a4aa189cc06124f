"""Every architecture through the command's own function: random weights in a folder, a run, its tables, an interruption."""

import json

import pandas as pd
import pytest
import torch
from test_resume import KillAt, outcome, train_with  # noqa: F401  (a fixture)
from transformers import AutoConfig

from xling.commands.train import train
from xling.errors import XlingValueError
from xling.models import EncoderSpec, load_encoder, load_tokenizer
from xling.models.layers import ARCHITECTURES, CAUSAL, layer_parameters
from xling.models.pooling import masked_mean
from xling.models.tiny import N_LAYERS, VOCABULARY, tiny_config, tiny_tokenizer

OF_A_KIND = ("distilbert", "deberta-v2", "umt5", "modernbert", "qwen3")
IN_SUITE = [pytest.param(name, marks=[] if name in OF_A_KIND else pytest.mark.slow) for name in ARCHITECTURES]
"""Whole runs: one of each family by default (BERT has test_train.py and test_resume.py), all with ``-m slow``."""

FROZEN = [0, 1]
SHORT = ["trainer.max_epochs=1", "data.source.n_premises={train: 16, probe: 8}", "trainer.log_every_n_steps=2"]
FREEZE = ["freeze=layers", f"freeze.layers={FROZEN}"]


@pytest.fixture
def folder(tmp_path):
    """Make the folder of a published checkpoint, without weights."""

    def make(architecture: str, **settings):
        path = tmp_path / architecture
        config = tiny_config(architecture)
        config.update(settings)
        config.save_pretrained(path)
        tiny_tokenizer().save_pretrained(path)
        return path

    return make


def model_of(path) -> list[str]:
    return ["model=encoder", "model.name=tiny", f"model.name_or_path={path}", "model.weights=random"]


@pytest.mark.parametrize("architecture", IN_SUITE)
def test_a_run_measures_impact_and_keeps_frozen_layers(architecture, folder, make_config):
    path = folder(architecture)
    run = train(make_config(*model_of(path), *SHORT, *FREEZE))
    impact = pd.read_parquet(run.path / "impact.parquet")
    last = impact[impact["step"] > 0]
    assert sorted(last["layer"].unique()) == list(range(N_LAYERS + 1))
    assert last.loc[last["is_frozen"], "impact"].eq(0.0).all()
    assert last.loc[~last["is_frozen"], "impact"].gt(1e-8).all()
    assert set(last.loc[last["is_frozen"], "layer"]) == set(FROZEN)
    assert run.read_manifest()["noise_floor"] <= 1e-6
    base = load_encoder(EncoderSpec("tiny", str(path), weights="random"), path)
    trained = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    kept = {parameter for layer in FROZEN for _, parameter in layer_parameters(base, layer)}
    same = {value for name, value in base.named_parameters() if torch.equal(value, trained[f"encoder.{name}"])}
    assert same == kept


@pytest.mark.parametrize("architecture", IN_SUITE)
def test_an_interrupted_run_of_any_architecture_ends_as_an_undisturbed_one(
    architecture,
    folder,
    make_config,
    tmp_path,
    train_with,  # noqa: F811
):
    settings = [*model_of(folder(architecture)), *SHORT, "checkpoint.every_n_steps=1"]
    undisturbed = outcome(train(make_config(*settings, f"output_dir={tmp_path}/undisturbed")))
    config = make_config(*settings, f"output_dir={tmp_path}/interrupted")
    train_with(config, KillAt("on_train_batch_end", 2))
    assert outcome(train(config)) == undisturbed


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_changes_no_layer_of_an_example(architecture):
    encoder = load_encoder(EncoderSpec("tiny", architecture, weights="tiny", pooling="mean"), "unused").eval()
    alone, filler = torch.arange(5, 12)[None], torch.arange(20, 34)[None]
    padded = torch.cat([torch.nn.functional.pad(alone, (0, 7), value=0), filler])
    mask = torch.cat([torch.tensor([[1] * 7 + [0] * 7]), torch.ones(1, 14, dtype=torch.long)])
    found = pooled_layers(encoder, alone, torch.ones_like(alone)), pooled_layers(encoder, padded, mask)
    for by_itself, in_batch in zip(*found, strict=True):
        torch.testing.assert_close(in_batch[:1], by_itself, rtol=1e-4, atol=1e-5)


def pooled_layers(encoder, ids, mask) -> list[torch.Tensor]:
    with torch.no_grad():
        states = encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    return [masked_mean(state, mask) for state in states]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_decoders_leave_the_first_token_without_the_rest(architecture):
    encoder = load_encoder(EncoderSpec("tiny", architecture, weights="tiny", pooling="mean"), "unused").eval()
    ids = torch.arange(5, 12)[None].repeat(2, 1)
    ids[1, -1] = 77
    with torch.no_grad():
        first = encoder(input_ids=ids)[0][:, 0]
    assert torch.allclose(first[0], first[1]) is (architecture in CAUSAL)


def test_the_first_token_of_a_decoder_is_refused(make_config, folder):
    with pytest.raises(XlingValueError, match=r"model\.pooling=cls reads the first token, which in qwen3, a decoder"):
        train(make_config(*model_of(folder("qwen3")), "model.pooling=cls"))


@pytest.fixture
def unknown(tmp_path):
    """Make a checkpoint folder of an architecture that is not in the table."""
    sizes = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": N_LAYERS, "num_attention_heads": 4}
    config = AutoConfig.for_model("electra", vocab_size=VOCABULARY, intermediate_size=64, **sizes)
    config.save_pretrained(tmp_path / "electra")
    tiny_tokenizer().save_pretrained(tmp_path / "electra")
    return tmp_path / "electra"


def test_an_unknown_architecture_is_named_with_the_remedy_and_runs_with_it(make_config, unknown):
    with pytest.raises(
        XlingValueError, match=r"layers of electra are not known.*set model\.layers to the module paths"
    ):
        train(make_config(*model_of(unknown), *SHORT))
    layers = "model.layers={embeddings: embeddings, blocks: encoder.layer}"
    run = train(make_config(*model_of(unknown), *SHORT, layers, "freeze=bottom_k", "freeze.k=1"))
    impact = pd.read_parquet(run.path / "impact.parquet")
    assert sorted(impact["layer"].unique()) == list(range(N_LAYERS + 1))
    with pytest.raises(XlingValueError, match=r"no module inside .* has the paths .*blocks.*see named_modules"):
        train(make_config(*model_of(unknown), *SHORT, "study=other", layers.replace("encoder.layer", "encoder.block")))


def test_a_tokenizer_without_padding_pads_with_the_end_of_text(folder):
    path = folder("gpt2")
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings.pop("pad_token")
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    spec = EncoderSpec("tiny", str(path), weights="random", pooling="mean")
    with pytest.raises(XlingValueError, match=r"padding or an end-of-text token, found neither; set pad_token"):
        load_tokenizer(spec, path)
    (path / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": "[SEP]"}))
    assert load_tokenizer(spec, path).pad_token == "[SEP]"


def test_a_sentencepiece_tokenizer_needs_its_package(folder, monkeypatch):
    path = folder("mt5")
    (path / "tokenizer.json").rename(path / "spiece.model")
    monkeypatch.setattr("xling.models.encoders.find_spec", lambda name: None)
    with pytest.raises(XlingValueError, match=r"SentencePiece model.*pip install 'xling\[sentencepiece\]'"):
        load_tokenizer(EncoderSpec("tiny", str(path), weights="random"), path)
