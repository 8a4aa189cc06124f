"""The store of base representations under real processes: computed once, and whole whatever dies."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from xling.probing.representations import load_representations
from xling.storage.atomic import TEMPORARY_PREFIX
from xling.storage.cache_marks import is_in_use

pytestmark = pytest.mark.slow
WORKER = Path(__file__).with_name("train_worker.py")


@pytest.fixture
def start(tmp_path):
    """Start a run in a process of its own, once the file ``go`` is there; what still runs at the end is killed."""
    started = []

    def begin(config, name):
        file, log = tmp_path / f"{name}.json", tmp_path / f"{name}.log"
        file.write_text(json.dumps(config.to_plain()))
        with log.open("w") as output:
            command = [sys.executable, WORKER, file, tmp_path / "go"]
            started.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT))
        return started[-1], log

    yield begin
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition, process):
    limit = time.monotonic() + 900  # importing takes minutes on a machine that is busy
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < limit
        time.sleep(0.002)


def base_files(cache):
    return sorted(path for path in (cache / "base").glob("*/*.safetensors"))


def test_four_processes_that_start_together_compute_the_base_once(make_config, tmp_path, start):
    config = make_config(f"cache_dir={tmp_path}/cache", "trainer.max_epochs=1", "data.source.n_premises.probe=60")
    runs = [start(config.changed(seed=seed), f"run{seed}") for seed in range(4)]
    for process, log in runs:
        wait_for(lambda log=log: "ready" in log.read_text(), process)
    (tmp_path / "go").touch()
    assert [process.wait(900) for process, _ in runs] == [0, 0, 0, 0]
    computed = sum(log.read_text().count("computing them once") for _, log in runs)
    assert computed == 1
    assert len(base_files(tmp_path / "cache")) == 3  # one per target language
    floors = [json.loads(path.read_text())["noise_floor"] for path in tmp_path.glob("test/en/none/*/manifest.json")]
    assert len(floors) == 4
    assert max(floors) == 0.0  # the same base, bit by bit, for those who waited


@pytest.mark.parametrize("moment", ["the lock is taken", "the first target is stored"])
def test_a_process_killed_while_it_computes_the_base_leaves_nothing_broken(make_config, tmp_path, start, moment):
    cache = tmp_path / "cache"
    config = make_config(f"cache_dir={cache}", "trainer.max_epochs=1", "data.source.n_premises.probe=150")
    (tmp_path / "go").touch()
    killed, log = start(config, "killed")
    first_sign = "*/about.json" if moment == "the lock is taken" else "*/*.safetensors"
    wait_for(lambda: any((cache / "base").glob(first_sign)), killed)
    killed.kill()  # -9
    killed.wait()
    assert len(base_files(cache)) < 3, "killed too late to show anything"
    (folder,) = (path for path in (cache / "base").iterdir() if path.is_dir() and "." not in path.name)
    assert not is_in_use(folder)
    for path in base_files(cache):
        load_representations(path)  # whole, by its checksum
    again, log = start(config, "again")
    assert again.wait(900) == 0, log.read_text()
    assert "computing them once" in log.read_text()
    undisturbed, _ = start(config.changed(cache_dir=tmp_path / "other", output_dir=tmp_path / "alone"), "alone")
    assert undisturbed.wait(900) == 0
    tables = [pd.read_parquet(root / "test/en/none/seed_42/impact.parquet") for root in (tmp_path, tmp_path / "alone")]
    pd.testing.assert_frame_equal(*tables)
    assert all(path.name.startswith(TEMPORARY_PREFIX) for path in folder.iterdir() if path.is_dir())
