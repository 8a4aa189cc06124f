"""Shared fixtures: the real configuration, shrunk."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers with two threads each are ten times slower, not two

import warnings
from pathlib import Path

import pytest
import shape_checks  # noqa: F401  (checks the shapes in what is imported after it)
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from xling.settings import RunSettings

THIRD_PARTY_ADVICE = (
    ".*does not have many workers.*",  # tokenised rows are cheap to read
    ".*isinstance.treespec, LeafSpec.* is deprecated.*",  # Lightning 2.6 under torch 2.13
    ".*smaller than the logging interval.*",  # tests train a handful of steps
    ".*`srun` command is available.*",  # where Slurm is installed, it need not be used
)


@pytest.fixture(autouse=True)
def no_third_party_advice():
    """Let pass the few warnings that say nothing about this project; all others are errors in tests."""
    with warnings.catch_warnings():
        for message in THIRD_PARTY_ADVICE:
            warnings.filterwarnings("ignore", message=message)
        yield


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory) -> Path:
    """A cache of tokenised data and base representations that all runs of the session share, as a user's runs do."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_config(tmp_path, cache_dir):
    """Compose the real configuration with the random tiny model, few examples and three languages."""

    def make(*overrides: str) -> RunSettings:
        shrunk = [
            "model=tiny_bert",
            "study=test",
            "data.languages=[en,de,sw]",
            "data.source.n_premises={train: 30, probe: 12}",
            "data.batch_size=16",
            "optimizer.learning_rate=1e-3",
            "trainer.max_epochs=2",
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",  # figures are compared; what auto is depends on the machine (test_precision.py)
            f"output_dir={tmp_path}",
            f"cache_dir={cache_dir}",
        ]
        with initialize_config_module("xling.conf", version_base="1.3"):
            plain = OmegaConf.to_container(compose("train", [*shrunk, *overrides]), resolve=True)
        return RunSettings.from_plain(plain)

    return make


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A complete checkpoint folder of a tiny BERT with pooler and tokenizer."""
    from xling.models import EncoderSpec, load_encoder
    from xling.models.tiny import tiny_tokenizer

    folder = tmp_path / "checkpoint"
    load_encoder(EncoderSpec("tiny", "bert", weights="tiny", pooler=True), tmp_path).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
