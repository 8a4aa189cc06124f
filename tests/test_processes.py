"""What the processes of a run say when they cannot start, or one of them fails. (With two processes: test_ddp.py.)"""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hydra.types import RunMode

from xling.errors import MissingFileError, XlingValueError
from xling.machine.processes import (
    entered_on_rank_zero,
    is_rank_zero,
    joined_processes,
    n_processes,
    on_every_rank,
    on_rank_zero,
)
from xling.probing.base_store import BaseStore
from xling.settings import TrainerSettings
from xling.training.base_capture import check_base

PLACES = TrainerSettings(accelerator="cpu")


def test_one_process_is_the_first_and_only_one():
    with joined_processes(PLACES):
        assert (is_rank_zero(), n_processes()) == (True, 1)
        assert on_rank_zero(lambda: 3) == on_every_rank(lambda: 3) == 3
    assert not torch.distributed.is_initialized()


def test_the_connection_is_taken_apart_before_python_ends():
    code = (
        "import atexit, torch\n"
        "atexit.register(lambda: print('connected at the end:', torch.distributed.is_initialized()))\n"  # runs last
        "from xling.machine.processes import joined_processes\n"
        "from xling.settings import TrainerSettings\n"
        "for _ in range(2):\n"  # a sweep has several runs in one process
        "    with joined_processes(TrainerSettings(accelerator='cpu', strategy='ddp', devices=1)):\n"
        "        print('connected:', torch.distributed.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["connected: True", "connected: True", "connected at the end: False"]


def test_fsdp_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with (
        pytest.raises(XlingValueError, match=r"this machine has none; use trainer=ddp"),
        joined_processes(replace(PLACES, strategy={"_target_": "pytorch_lightning.strategies.FSDPStrategy"})),
    ):
        pass


def test_an_unknown_strategy_is_refused():
    with (
        pytest.raises(XlingValueError, match=r"do not go together.*dpp"),
        joined_processes(replace(PLACES, strategy="dpp")),
    ):
        pass


def test_torchrun_with_a_trainer_for_one_process_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(XlingValueError, match=r"started 4 processes.*add trainer=ddp"),
        joined_processes(PLACES),
    ):
        pass


def test_torchrun_with_another_number_of_processes_is_refused(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    message = r"does not match the world size \(4\).*Set trainer.devices"
    with pytest.raises(XlingValueError, match=message), joined_processes(replace(PLACES, strategy="ddp", devices=2)):
        pass


def test_a_launchers_job_cannot_start_processes(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    job = SimpleNamespace(
        mode=RunMode.MULTIRUN,
        launcher=SimpleNamespace(_target_="hydra_plugins.JoblibLauncher"),
        runtime=SimpleNamespace(choices={"launcher": "joblib"}),
    )
    hydra = SimpleNamespace(initialized=lambda: True, get=lambda: job)
    monkeypatch.setattr("xling.machine.processes.HydraConfig", hydra)
    message = r"launcher=joblib: the job cannot start them; use launcher=basic"
    with pytest.raises(XlingValueError, match=message), joined_processes(replace(PLACES, strategy="ddp", devices=2)):
        pass


def test_a_disk_that_is_not_shared_is_named(tmp_path):
    datamodule, monitor = SimpleNamespace(target_languages=["de"]), SimpleNamespace(base=BaseStore(tmp_path))
    with pytest.raises(MissingFileError, match=r"base representations of de .* on a disk that all nodes share"):
        check_base(monitor, datamodule)


def test_a_manager_is_entered_and_left_once():
    calls = []

    class Manager:
        def __enter__(self):
            calls.append("in")

        def __exit__(self, *_):
            calls.append("out")

    with entered_on_rank_zero(Manager()):
        calls.append("body")
    assert calls == ["in", "body", "out"]
