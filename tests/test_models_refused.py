"""Checkpoints that are incomplete, or that would execute code: refused with one sentence."""

import json
import pickle
from pathlib import Path

import pytest
from tiny_checkpoints import spec_of

from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.models import (
    EncoderSpec,
    encoders,
    load_encoder,
    load_tokenizer,
)
from xling.models.tiny import tiny_config


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
