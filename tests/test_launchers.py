"""Launchers as config groups: they compose beside everything else, and what a job does comes back from its process."""

import os
import signal
import subprocess
import sys
import warnings

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from xling.errors import UnreachableError
from xling.machine import launchers
from xling.machine.launchers import check_launcher, claim_gpu, is_installed, local_jobs, visible_gpus
from xling.machine.requeue import find_requeue, requeue_job, slurm_plugins
from xling.sweeps import failures

PLUGINS = {
    "joblib": "hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "slurm": "hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "ray": "hydra_ray_launcher.ray_launcher.RayLauncher",
}


def has_plugin(launcher):
    return is_installed(PLUGINS[launcher].split(".")[0])


def launcher_of(*overrides):
    with initialize_config_module("xling.conf", version_base="1.3"):
        config = compose("train", ["model=tiny_bert", "study=x", *overrides], return_hydra_config=True)
    return OmegaConf.to_container(config.hydra.launcher, resolve=True)


@pytest.mark.parametrize("launcher", PLUGINS)
@pytest.mark.parametrize("experiment", ["demo", "paper"])
def test_a_launcher_composes_beside_any_experiment(launcher, experiment):
    if not has_plugin(launcher):
        pytest.skip(f"the extra {launcher} is not installed")
    chosen = launcher_of(f"launcher={launcher}", f"experiment={experiment}")
    assert chosen["_target_"] == f"hydra_plugins.{PLUGINS[launcher]}"


def test_without_a_choice_runs_follow_each_other_in_this_process():
    assert launcher_of()["_target_"].endswith("BasicLauncher")


def test_slurm_takes_nodes_and_processes_from_the_trainer():
    if not has_plugin("slurm"):
        pytest.skip("the extra slurm is not installed")
    chosen = launcher_of("launcher=slurm", "trainer.devices=4", "trainer.num_nodes=2", "hydra.launcher.timeout_min=9")
    assert [chosen[key] for key in ("nodes", "tasks_per_node", "gpus_per_node", "timeout_min")] == [2, 4, 4, 9]


@pytest.mark.parametrize("launcher", PLUGINS)
def test_a_missing_plugin_is_one_sentence_with_its_extra(launcher, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnreachableError, match=rf"not installed; pip install 'xling\[{launcher}\]'"):
        check_launcher(["-m", f"launcher={launcher}"])


def test_slurm_without_sbatch_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableError, match="type the command on the cluster's login node"):
        check_launcher(["-m", "launcher=slurm"])


def test_other_arguments_need_no_plugin(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_launcher(["-m", "launcher=basic", "source_language=en", "experiment=demo"])


@pytest.mark.parametrize(
    ("gpus", "cores", "expected"), [(0, 1, 1), (0, 2, 2), (0, 4, 2), (0, 32, 8), (1, 32, 1), (8, 4, 8)]
)
def test_jobs_are_one_a_gpu_or_one_per_four_cores(gpus, cores, expected, monkeypatch):
    monkeypatch.setattr(launchers, "visible_gpus", lambda: ["x"] * gpus)
    monkeypatch.setattr(launchers, "_n_cores", lambda: cores)
    assert local_jobs() == expected


@pytest.mark.parametrize(
    ("variable", "count", "expected"),
    [(None, 3, ["0", "1", "2"]), ("2,5", 2, ["2", "5"]), ("", 0, []), ("GPU-ab, GPU-cd", 2, ["GPU-ab", "GPU-cd"])],
)
def test_gpus_keep_the_names_they_were_given(variable, count, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == expected


def test_every_process_has_a_gpu_of_its_own_and_a_dead_ones_is_free_again(tmp_path, monkeypatch):
    monkeypatch.setattr(launchers, "_claim", None)
    hold = (
        "import sys; from pathlib import Path; from xling.machine.launchers import claim_gpu\n"
        "print(claim_gpu(Path(sys.argv[1]), ['4', '7']), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "4\n"
        assert claim_gpu(tmp_path, ["4", "7"]) == "7"
        launchers._claim.release()
        other.kill()
    assert claim_gpu(tmp_path, ["4", "7"]) == "4"
    assert claim_gpu(tmp_path, ["4"]) == "4"  # more processes than GPUs share
    launchers._claim.release()


def test_a_failed_job_leaves_a_note_and_taking_it_removes_it(tmp_path, monkeypatch):
    from hydra.core.utils import JobReturn, JobStatus

    monkeypatch.setattr(failures, "_folder", None)
    sweep = {"sweep": {"dir": str(tmp_path)}, "overrides": {"task": ["model=tiny", "a={x: 1}", "seed=1,2"]}}
    report = failures.FailureReport()
    report.on_multirun_start(OmegaConf.create({"hydra": sweep}))
    for job, status in ((0, JobStatus.COMPLETED), (1, JobStatus.FAILED)):
        done = JobReturn(overrides=["model=tiny", "a={x:1}", f"seed={job + 1}"], status=status)
        done.return_value = failures.JobFailed("the loss became nan")
        report.on_job_end(OmegaConf.create({"hydra": {"job": {"num": job}}}), done)
    assert failures.take_failures() == [("seed=2", "the loss became nan")]
    assert failures.take_failures() == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def outside_slurm(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_nothing_is_requeued_outside_slurm(outside_slurm):
    assert find_requeue().signals == ()
    find_requeue().after("SIGTERM")
    assert slurm_plugins() == []


def test_under_submitit_its_own_handler_requeues(outside_slurm):
    received = []
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: received.append(signum))
    try:
        outside_slurm.setenv("SUBMITIT_EXECUTOR", "slurm")
        requeue = find_requeue()
        requeue.after("SIGTERM")
        assert received == []
        requeue.after("SIGUSR2")
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (requeue.signals, received) == (("SIGUSR2",), [signal.SIGUSR2])


def in_slurm(monkeypatch, tmp_path, script):
    for name, value in {"JOB_ID": "13", "NTASKS": "1", "JOB_NAME": "run", "NTASKS_PER_NODE": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_in_a_slurm_job_the_project_requeues_and_lightning_does_not(outside_slurm, tmp_path):
    in_slurm(outside_slurm, tmp_path, f'echo "$@" >> {tmp_path}/calls')
    requeue = find_requeue()
    assert requeue.signals == ("SIGUSR1",)
    requeue.after("SIGUSR1")
    outside_slurm.setenv("SLURM_PROCID", "1")
    requeue.after("SIGUSR1")  # another process of the same run
    assert (tmp_path / "calls").read_text() == "requeue 13\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [plugin.auto_requeue for plugin in slurm_plugins()] == [False]


def test_torchrun_inside_a_slurm_job_is_torchruns(outside_slurm, tmp_path):
    in_slurm(outside_slurm, tmp_path, "")
    outside_slurm.setenv("TORCHELASTIC_RUN_ID", "1")
    assert slurm_plugins() == []


def test_a_refusal_of_slurm_is_passed_on(outside_slurm, tmp_path):
    in_slurm(outside_slurm, tmp_path, "echo 'Requested operation is presently disabled' >&2; exit 1")
    with pytest.raises(UnreachableError, match="presently disabled.*submit it again"):
        requeue_job()


@pytest.mark.slow
def test_joblib_runs_side_by_side_with_their_own_threads_and_reports_failures(tmp_path):
    small = ["data.languages=[en,de]", "data.source.n_premises={train: 20, probe: 8}", "trainer.max_epochs=1"]
    root = os.path.dirname(os.path.dirname(__file__))
    command = [
        sys.executable,
        f"{root}/train.py",
        "-m",
        "launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "model=tiny_bert",
    ]
    arguments = [*small, "study=s", f"cache_dir={tmp_path}/cache", "source_language=xx,en,de"]
    done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "failed: source_language=xx: mini_nli has no language 'xx'" in done.stderr
    assert "1 run(s) failed" in done.stderr
    assert len(list(tmp_path.rglob("manifest.json"))) == 2
    assert not list(tmp_path.rglob(".failures*"))
