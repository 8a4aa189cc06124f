"""What is relied on in other packages without their promise (xling/machine/private.py), against the installed versions."""

import ast
import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from pytorch_lightning.plugins.environments import ClusterEnvironment

from xling.machine import private
from xling.machine.lightning import (
    TrainingProgress,
    callbacks_of,
    data_module_of,
    is_fast_dev_run,
    training_progress,
)

ROOT = Path(__file__).parents[1]


def test_hydras_sweeper_splits_arguments_into_jobs():
    parameters = inspect.signature(private.BasicSweeper.split_arguments).parameters
    assert list(parameters) == ["overrides", "max_batch_size"]


def test_lightnings_launcher_starts_kills_and_knows_who_creates_processes():
    assert {"launch", "kill"} <= set(dir(private.SubprocessScriptLauncher))
    assert "cluster_environment" in inspect.signature(private.SubprocessScriptLauncher.__init__).parameters
    assert hasattr(ClusterEnvironment, "creates_processes_externally")


@pytest.mark.parametrize("kind", [torch.nn.BatchNorm1d, torch.nn.SyncBatchNorm, torch.nn.InstanceNorm2d])
def test_torchs_running_statistics_have_one_base(kind):
    layer = kind(3, track_running_stats=True)
    assert isinstance(layer, private.NormBase)
    assert {"running_mean", "running_var"} <= dict(layer.named_buffers()).keys()


def test_torchs_spectral_norm_is_a_parametrization():
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 3))
    assert isinstance(layer.parametrizations.weight[0], private.SpectralNorm)


def test_lightnings_trainer_holds_what_its_annotations_leave_out():
    data_module, clock = pl.LightningDataModule(), pl.callbacks.Timer()
    trainer = pl.Trainer(callbacks=[clock], accelerator="cpu", logger=False, enable_checkpointing=False, fast_dev_run=2)
    assert callbacks_of(trainer, pl.callbacks.Timer) == [clock]
    assert clock in callbacks_of(trainer, pl.Callback)
    assert callbacks_of(trainer, pl.callbacks.EarlyStopping) == []
    assert data_module_of(trainer) is None
    trainer.datamodule = data_module
    assert data_module_of(trainer) is data_module
    assert is_fast_dev_run(trainer)
    assert training_progress(trainer) == TrainingProgress(0, 0, 0, 0, False)


def test_modules_save_load_and_move_through_the_methods_that_are_overridden():
    for name in ("_apply", "_save_to_state_dict", "_load_from_state_dict"):
        assert callable(getattr(torch.nn.Module, name))


def test_torchmetrics_keeps_defaults_counts_and_a_cached_result():
    metric = torchmetrics.MeanMetric()
    metric.update(1.0)
    assert {"mean_value", "weight"} <= metric._defaults.keys()
    assert metric._update_count == 1
    metric._computed = None
    assert metric.compute() == 1.0


def test_no_other_module_imports_what_is_private_elsewhere():
    for folder in ("xling", "callbacks"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "private.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("xling"):
                    names = [*node.module.split("."), *(alias.name for alias in node.names)]
                    hidden = [name for name in names if name.startswith("_") and not name.startswith("__")]
                    assert not hidden, f"{path} imports {hidden}; import it from xling.machine.private"
