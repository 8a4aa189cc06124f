"""Runs that version 0.1.0 recorded are accepted, skipped, resumed and analysed by this one (tests/recorded_0_1_0)."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import xling
from xling.commands.train import train
from xling.runs.directory import RunDirectory

RECORDED = Path(__file__).parent / "recorded_0_1_0"
SETTINGS = ("study=recorded", "data.batch_size=4", "checkpoint.every_n_steps=30")


@pytest.fixture
def recorded(tmp_path, make_config):
    """Copy a recorded run and compose the configuration that it was started with."""

    def copy(kind):
        shutil.copytree(RECORDED / kind, tmp_path, dirs_exist_ok=True)
        config = make_config(*SETTINGS)
        return config, RunDirectory.of(tmp_path, "recorded", "en", "none", 42)

    return copy


def test_a_finished_run_is_accepted_and_not_repeated(recorded):
    config, run = recorded("complete")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*.parquet")}
    assert train(config).path == run.path
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*.parquet")} == before


def test_a_finished_run_is_loaded_as_a_study(recorded, tmp_path):
    recorded("complete")
    study = xling.load_study(tmp_path / "recorded")
    assert sorted(study.transfer["target_language"].unique()) == ["de", "en", "sw"]
    assert sorted(study.impact["layer"].unique()) == [0, 1, 2, 3]


def test_an_interrupted_run_goes_on_and_ends_with_the_weights_of_an_undisturbed_one(recorded):
    config, run = recorded("interrupted")
    train(config)
    weights = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    expected = load_file(RECORDED / "final_weights.safetensors")
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        # processors round differently; a lost or doubled step would change weights by 1e-3
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-5)
    whole = pd.read_parquet(RECORDED / "complete/recorded/en/none/seed_42/transfer.parquet")
    resumed = pd.read_parquet(run.path / "transfer.parquet")
    assert resumed[["epoch", "step", "target_language"]].equals(whole[["epoch", "step", "target_language"]])
    assert resumed["score"].to_numpy() == pytest.approx(whole["score"].to_numpy(), abs=0.03)
