"""Checkpoints inside installed packages."""

import sys

import pytest
import torch

from xling.errors import MissingFileError, UnreachableError
from xling.models import EncoderSpec, load_encoder, load_tokenizer
from xling.models.encoders import content_hash, describe_encoder
from xling.models.packaged import packaged_checkpoint
from xling.models.tiny import tiny_tokenizer


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    """An importable package with a tiny checkpoint in its folder `model`; importing it would fail."""
    folder = tmp_path / "packages" / "made_up_weights"
    load_encoder(EncoderSpec("tiny", "bert", weights="tiny"), tmp_path).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(folder.parent))
    return "package:made_up_weights/model"


def test_a_checkpoint_is_found_without_importing_its_package(package, tmp_path):
    spec = EncoderSpec("mine", package, pooling="mean")
    encoder = load_encoder(spec, tmp_path)
    tiny = load_encoder(EncoderSpec("tiny", "bert", weights="tiny"), tmp_path)
    assert content_hash(encoder) == content_hash(tiny)
    assert load_tokenizer(spec, tmp_path)("ab")["input_ids"] == tiny_tokenizer()("ab")["input_ids"]
    assert "made_up_weights" not in sys.modules


def test_random_weights_take_only_the_shape(package, tmp_path):
    encoders = [load_encoder(EncoderSpec("mine", package, weights="random", seed=seed), tmp_path) for seed in (1, 1, 2)]
    first, again, other = (encoder.get_input_embeddings().weight for encoder in encoders)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)


def test_the_record_names_the_package_and_its_version(tmp_path):
    _, revision = packaged_checkpoint("package:hydra/conf", tmp_path)
    assert revision.startswith("hydra-core 1.")


def test_the_record_names_the_module_where_no_package_owns_it(package, tmp_path):
    spec = EncoderSpec("mine", package)
    assert describe_encoder(spec, load_encoder(spec, tmp_path), tmp_path)["revision"] == "made_up_weights"


@pytest.mark.parametrize("name", ["package:not_installed_anywhere/model", "package:not.a.name", "package:"])
def test_a_package_that_is_not_installed_is_named(name, tmp_path):
    with pytest.raises(UnreachableError, match="not installed"):
        packaged_checkpoint(name, tmp_path)


@pytest.mark.parametrize("below", ["nowhere", "../made_up_weights/model", "__init__.py"])
def test_a_folder_that_the_package_lacks_is_named(package, below, tmp_path):
    with pytest.raises(MissingFileError, match="expected a checkpoint folder"):
        packaged_checkpoint(f"package:made_up_weights/{below}", tmp_path)
