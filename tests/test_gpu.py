"""Whole runs on a GPU against the same runs on the processor: without dropout their figures agree up to rounding."""

import pandas as pd
import pytest
import torch
from task_files import make_task_config, write_pud
from weights import assert_same_weights, weights_of

from xling.commands.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
GPU = ["trainer.accelerator=gpu", "trainer.devices=1"]
VARIANTS = {
    "plain": [],
    "packed": ["packed=true"],
    "frozen prefix": ["freeze=bottom_k", "freeze.k=1", "freeze.dropout=off", "cache_frozen=true"],
    "accumulated": ["trainer.accumulate_grad_batches=2"],
}


def assert_same_tables(one, other):
    for table in ("impact", "transfer", "alignment"):
        frames = [pd.read_parquet(run.path / f"{table}.parquet") for run in (one, other)]
        pd.testing.assert_frame_equal(*frames, atol=1e-5, rtol=1e-2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_on_a_gpu_gives_the_processors_figures(make_config, tmp_path, variant):
    settings = [*VARIANTS[variant], "model.dropout=off"]
    runs = [train(make_config(*settings, *place, f"output_dir={tmp_path}/{len(place)}", f"cache_dir={tmp_path}/cache{len(place)}"))
            for place in ([], GPU)]  # fmt: skip
    # weights move by 1e-3 to 6e-3 and impact is 1e-3 to 3e-3; a learning rate a tenth higher fails both
    assert_same_weights(*map(weights_of, runs), atol=1e-4)
    assert_same_tables(*runs)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_run_on_a_gpu_trains_in_lower_precision_and_probes_in_full(make_config, precision):
    run = train(make_config(*GPU, f"trainer.precision={precision}", "compile=false"))
    assert run.read_manifest()["noise_floor"] <= 1e-6


@pytest.mark.parametrize("pooling", ["word", "word_mean"])
def test_word_vectors_are_compared_on_a_gpu(tmp_path, pooling):
    write_pud(tmp_path, ["en", "pl"])
    config = make_task_config(tmp_path, tmp_path, "data=ud", "source_language=en", f"probe.pooling={pooling}", *GPU)
    impact = pd.read_parquet(train(config).path / "impact.parquet")
    assert impact.loc[impact["step"] > 0, "impact"].gt(0).all()


def test_the_clock_counts_the_gpus_time(make_config):
    run = train(make_config(*GPU))
    assert 0 < run.read_manifest()["train_seconds"] <= run.read_manifest()["seconds"]
