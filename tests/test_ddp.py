"""The real command in two processes (gloo) gives what one process gives: the same examples, each counted once."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from task_files import write_pud

from xling.commands.train import train
from xling.probing.representations import load_representations
from xling.settings import RunSettings

pytestmark = pytest.mark.xdist_group("distributed")  # the runs are made once

ROOT = Path(__file__).parents[1]
# 33 training rows in batches of 8: the last batch has one row, so one of two processes has none; 21 probe rows in batches
# of 20 likewise
SETTINGS = ["model=tiny_bert", "model.dropout=off", "study=t", "data.languages=[en,de]", "data.batch_size=8",
            "data.eval_batch_size=20", "data.source.n_premises={train:11,probe:7}", "optimizer.learning_rate=1e-3",
            "trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.log_every_n_steps=1",
            "probe.write_representations=true", "probe.uncertainty=[jackknife,shuffled]"]  # fmt: skip
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
TWO = ["trainer=ddp", "trainer.devices=2"]


def places(folder, name):
    return [f"output_dir={folder / name}", f"cache_dir={folder / name}_cache"]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(*settings, launcher=()):
    """What a user types."""
    return [sys.executable, *launcher, str(ROOT / "train.py"), *SETTINGS, *settings]


def start(*settings, launcher=()):
    """Run it."""
    return subprocess.run(
        command(*settings, launcher=launcher), capture_output=True, text=True, timeout=900, env=ENVIRONMENT
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One run in this process; and one in two, with their own cache, so that they tokenise and capture the base together."""
    folder = tmp_path_factory.mktemp("ddp")
    with initialize_config_module("xling.conf", version_base="1.3"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fixture that silences third parties is not there yet
        plain = OmegaConf.to_container(compose("train", [*SETTINGS, *places(folder, "one")]), resolve=True)
        train(RunSettings.from_plain(plain))
    done = start(*places(folder, "two"), *TWO)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture
def both(folder):
    return [folder / name / "t" / "en" / "none" / "seed_42" for name in ("one", "two")]


def test_every_step_has_the_same_loss(both):
    one, two = (pd.read_csv(path / "logs" / "metrics.csv")["train/loss"].dropna() for path in both)
    assert len(one) == len(two) == 2 * 5
    assert two.tolist() == pytest.approx(one.tolist(), abs=2e-6)


def test_the_final_weights_are_equal(both):
    one, two = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for path in both)
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-4, rtol=1e-4)  # Adam turns rounding into 1e-3 x rate


@pytest.mark.parametrize("table", ["transfer", "impact", "alignment"])
def test_tables_are_equal(both, table):
    one, two = (pd.read_parquet(path / f"{table}.parquet") for path in both)
    assert one.loc[one["step"] > 0, "n_examples"].eq(21).all()  # before training one batch is enough
    pd.testing.assert_frame_equal(two, one, atol=1e-5, rtol=1e-3)


def test_snapshots_are_equal(both):
    files = sorted(path.relative_to(both[0]) for path in both[0].rglob("step_*/*.safetensors"))
    assert len(files) == 2 * 2  # epochs x targets
    for file in files:
        one, two = (load_representations(path / file) for path in both)
        assert one.example_ids.tolist() == two.example_ids.tolist()
        for layer, other in zip(one.layers.values(), two.layers.values(), strict=True):
            torch.testing.assert_close(other, layer, atol=2e-3, rtol=2e-3)  # stored in float16


def test_all_processes_follow_what_the_first_finds(folder):
    done = start(*places(folder, "two"), *TWO, launcher=TORCHRUN)
    assert done.returncode == 0
    assert done.stderr.count("is complete; nothing to do") == 1


@pytest.mark.slow
@pytest.mark.parametrize("processes", [TWO, []], ids=["two", "one"])
def test_a_killed_run_goes_on_with_as_many_processes_or_another_number(folder, tmp_path, processes):
    settings = [*places(tmp_path, "run"), "checkpoint.every_n_steps=1"]
    run = tmp_path / "run" / "t" / "en" / "none" / "seed_42"
    first = subprocess.Popen(command(*settings, *TWO), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while not (run / "checkpoints" / "last.ckpt").is_file():
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert not (run / "manifest.json").is_file()
    done = start(*settings, *processes)
    assert done.returncode == 0, done.stderr[-3000:]
    assert ("the checkpoint is of 2 processes, now there are 1" in done.stderr) == (not processes)
    undisturbed = folder / "two" / "t" / "en" / "none" / "seed_42"
    for table in ("transfer", "impact"):
        one, two = (pd.read_parquet(path / f"{table}.parquet") for path in (run, undisturbed))
        pd.testing.assert_frame_equal(one, two, atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_a_refused_run_does_not_stop_a_sweep_and_is_named_once(tmp_path):
    done = start(
        *places(tmp_path, "sweep"), *TWO, "hydra.mode=MULTIRUN", "source_language=xx,en,de", "trainer.max_epochs=1"
    )
    assert done.returncode == 1
    assert done.stderr.count("error: ") == done.stderr.count("failed: ") == 1
    assert "no language 'xx'" in done.stderr
    assert len(list((tmp_path / "sweep").rglob("manifest.json"))) == 2


@pytest.mark.slow
def test_a_process_without_any_of_a_languages_words_takes_part(tmp_path):
    write_pud(tmp_path, ["en", "pl"])
    words = ["data=ud", f"data.root={tmp_path}", "source_language=en", "probe.pooling=word", "data.probe_limit=1"]
    settings = [
        *words,
        "model=tiny_bert",
        "study=t",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=1",
        "data.batch_size=8",
    ]
    for name, processes in (("one", []), ("two", TWO)):
        command = [sys.executable, str(ROOT / "train.py"), *settings, *places(tmp_path, name), *processes]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (pd.read_parquet(tmp_path / name / "t/en/none/seed_42/transfer.parquet") for name in ("one", "two"))
    assert one["n_examples"].tolist() == two["n_examples"].tolist()


@pytest.mark.slow
def test_a_table_under_two_names_trains_in_two_processes(tmp_path):
    """A parameter without gradient would stop them."""
    done = start(*places(tmp_path, "two"), *TWO, "model.name_or_path=umt5", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.gpu
def test_fsdp_measures_what_one_process_does(tmp_path):
    """On as many GPUs as there are, one at least; parameters are sharded over them."""
    for name, trainer in (("one", []), ("fsdp", ["trainer=fsdp"])):
        done = start(*places(tmp_path, name), *trainer, "trainer.accelerator=gpu")
        assert done.returncode == 0, done.stderr[-3000:]
    one, fsdp = (pd.read_parquet(tmp_path / name / "t/en/none/seed_42/impact.parquet") for name in ("one", "fsdp"))
    pd.testing.assert_frame_equal(fsdp, one, atol=1e-3, rtol=1e-2)
