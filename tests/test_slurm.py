"""Real jobs on a real Slurm: a sweep through submitit and a job of plain sbatch, killed, requeued and warned of their end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from slurm_cluster import Cluster, missing_programs, slurm_cluster

from xling.commands.train import train
from xling.runs.directory import RunDirectory

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(missing_programs()), reason=f"Slurm or munge is not installed: {missing_programs()}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="this Slurm's daemons run as root"),
]
TRAIN = Path(__file__).parents[1] / "train.py"
SETTINGS = [
    "model=tiny_bert",
    "data.languages=[en,de,sw]",
    "data.source.n_premises={train: 30, probe: 12}",
    "data.batch_size=16",
    "trainer.max_epochs=12",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "optimizer.learning_rate=1e-3",
    "checkpoint.every_n_steps=4",
]
SWEEP = ["launcher=slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1",
         "hydra.launcher.mem_gb=2"]  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    with slurm_cluster() as running:
        yield running


@pytest.fixture
def undisturbed(make_config, tmp_path):
    """Tables, as bytes, of the same run in this process."""

    def run(source_language: str, seed: int) -> dict[str, bytes]:
        settings = [*SETTINGS, f"source_language={source_language}", f"seed={seed}", f"output_dir={tmp_path}/alone"]
        return tables(train(make_config(*settings, "checkpoint.every_n_steps=null")).path)

    return run


def tables(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob("*.parquet")}


def differing(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Names of the tables that are not byte for byte the same, or not in both."""
    return [name for name in sorted(found.keys() | expected.keys()) if found.get(name) != expected.get(name)]


def run_path(folder: Path, source_language: str, seed: int) -> Path:
    return RunDirectory.of(folder / "runs", "test", source_language, "none", seed).path


@contextmanager
def running_sweep(cluster: Cluster, folder: Path, cache_dir: Path, *sweep: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, TRAIN, "-m", *SWEEP, *SETTINGS, "study=test", f"cache_dir={cache_dir}", *sweep]
    with (folder / "sweep.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=cluster.environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_checkpoint(path: Path, seconds: float = 1200) -> None:
    """Wait until the run has something to go on from."""
    for _ in range(int(seconds / 0.05)):
        if list(path.glob("checkpoints/*.ckpt")):
            return
        time.sleep(0.05)
    log = path / "run.log"
    raise TimeoutError(f"{path} has no checkpoint\n{log.read_text() if log.is_file() else 'and no log'}")


def send(number: signal.Signals, *variables: str) -> None:
    """Signal the Python process with these variables in its environment.

    Slurm sends the same with ``scancel --signal``, which repeats itself when the job is requeued at once.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended since
            command = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            if command[0] == sys.executable.encode() and set(variables) <= set(environment):
                found.append(int(folder.name))
    (pid,) = found
    os.kill(pid, number)


def task(index: int) -> tuple[str, ...]:
    """Variables of a task of the sweep's array."""
    return "SLURM_ARRAY_JOB_ID=1", f"SLURM_ARRAY_TASK_ID={index}", "SUBMITIT_EXECUTOR=slurm"


def test_a_sweep_ends_as_if_nothing_had_happened_to_its_jobs(cluster, tmp_path, cache_dir, undisturbed):
    runs = {"1_0": ("en", 1), "1_1": ("en", 2), "1_2": ("de", 1), "1_3": ("de", 2)}
    with running_sweep(cluster, tmp_path, cache_dir, "source_language=en,de", "seed=1,2") as sweep:
        wait_for_checkpoint(run_path(tmp_path, "en", 1))
        send(signal.SIGKILL, *task(0))  # as the kernel does when memory is short
        wait_for_checkpoint(run_path(tmp_path, "en", 2))
        send(signal.SIGUSR2, *task(1))  # as Slurm does before the time limit
        cluster.wait_for("1_0", ("FAILED",))
        cluster.call("scontrol", "requeue", "1_0")
        wait_for_checkpoint(run_path(tmp_path, "de", 1))
        cluster.call("scontrol", "requeue", "1_2")  # as a preemption does
        assert sweep.wait(timeout=1500) == 0, (tmp_path / "sweep.log").read_text()
    assert {job: cluster.restarts(job) for job in runs} == {"1_0": 1, "1_1": 1, "1_2": 1, "1_3": 0}
    for source_language, seed, name in (("en", 2, "SIGUSR2"), ("de", 1, "SIGTERM")):
        assert f"stopped by {name}" in (run_path(tmp_path, source_language, seed) / "run.log").read_text()
    for source_language, seed in runs.values():
        path = run_path(tmp_path, source_language, seed)
        RunDirectory(path).read_manifest()
        assert differing(tables(path), undisturbed(source_language, seed)) == [], (source_language, seed)


def test_a_job_of_plain_sbatch_is_requeued_once_and_goes_on(cluster, tmp_path, cache_dir, undisturbed):
    command = [sys.executable, TRAIN, *SETTINGS, "study=test", f"cache_dir={cache_dir}", "source_language=sw", "seed=3"]
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\nsrun {shlex.join(map(str, command))}\n")
    job = cluster.call(
        "sbatch", "--parsable", f"--chdir={tmp_path}", "--ntasks=1", "--ntasks-per-node=1", "--mem=2G", "--requeue",
        "--signal=USR1@120", "--open-mode=append", f"--output={tmp_path}/job.log", str(script),
    )  # fmt: skip
    path = run_path(tmp_path, "sw", 3)
    wait_for_checkpoint(path)
    send(signal.SIGUSR1, f"SLURM_JOB_ID={job}", "SLURM_PROCID=0")  # as Slurm does before the time limit
    cluster.wait_for(job, ("PENDING",))
    assert cluster.wait_for(job, ("COMPLETED", "FAILED"), 600) == "COMPLETED", (tmp_path / "job.log").read_text()
    assert cluster.restarts(job) == 1
    assert "stopped by SIGUSR1" in (path / "run.log").read_text()
    assert differing(tables(path), undisturbed("sw", 3)) == []
