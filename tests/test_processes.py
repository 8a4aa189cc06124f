"""What the processes of a run say when they cannot start, or one of them fails. (With two processes: test_ddp.py.)"""

import pytest
import torch

from xling.errors import XlingValueError
from xling.processes import first, is_first, joined_processes, n_processes, only_first, together

PLACES = {"accelerator": "cpu", "devices": 1, "num_nodes": 1}


def test_one_process_is_the_first_and_only_one():
    with joined_processes(PLACES | {"strategy": "auto"}):
        assert (is_first(), n_processes()) == (True, 1)
        assert first(lambda: 3) == together(lambda: 3) == 3
    assert not torch.distributed.is_initialized()


def test_fsdp_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with (
        pytest.raises(XlingValueError, match=r"this machine has none; use trainer=ddp"),
        joined_processes(PLACES | {"strategy": {"_target_": "pytorch_lightning.strategies.FSDPStrategy"}}),
    ):
        pass


def test_an_unknown_strategy_is_refused():
    with (
        pytest.raises(XlingValueError, match=r"do not go together.*dpp"),
        joined_processes(PLACES | {"strategy": "dpp"}),
    ):
        pass


def test_torchrun_with_a_trainer_for_one_process_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(XlingValueError, match=r"started 4 processes.*add trainer=ddp"),
        joined_processes(PLACES | {"strategy": "auto"}),
    ):
        pass


def test_torchrun_with_another_number_of_processes_is_refused(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    message = r"does not match the world size \(4\).*Set trainer.devices"
    with pytest.raises(XlingValueError, match=message), joined_processes(PLACES | {"strategy": "ddp", "devices": 2}):
        pass


def test_a_manager_is_entered_and_left_once():
    calls = []

    class Manager:
        def __enter__(self):
            calls.append("in")

        def __exit__(self, *_):
            calls.append("out")

    with only_first(Manager()):
        calls.append("body")
    assert calls == ["in", "body", "out"]
