"""Whole runs on a GPU against the same runs on the processor: without dropout their figures agree up to rounding."""

import pandas as pd
import pytest
import torch
from task_files import make_task_config, write_pud

from xling.train import train

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


def assert_same_tables(one, other, atol):
    for table in ("impact", "transfer", "alignment"):
        frames = [
            pd.read_parquet(run.path / f"{table}.parquet")
            for run in (one, other)
            if (run.path / f"{table}.parquet").is_file()
        ]
        if len(frames) == 2:
            figures = [frame.select_dtypes("number") for frame in frames]
            pd.testing.assert_frame_equal(*figures, atol=atol, rtol=atol, check_exact=False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_on_a_gpu_gives_the_processors_figures(make_config, tmp_path, variant):
    settings = [*VARIANTS[variant], "model.dropout=off", "trainer.max_epochs=1", "optimizer.learning_rate=1e-4"]
    runs = [train(make_config(*settings, *place, f"output_dir={tmp_path}/{len(place)}", f"cache_dir={tmp_path}/cache{len(place)}"))
            for place in ([], GPU)]  # fmt: skip
    assert_same_tables(*runs, atol=5e-3)


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
