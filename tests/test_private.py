"""What is relied on in other packages without their promise (xling/machine/private.py), against the installed versions."""

import ast
import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.utils import JobReturn, JobStatus
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.environments import ClusterEnvironment

from xling.machine import lightning, private, private_torch
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
    assert {"launch", "kill"} <= set(dir(lightning.SubprocessScriptLauncher))
    assert "cluster_environment" in inspect.signature(lightning.SubprocessScriptLauncher.__init__).parameters
    assert hasattr(ClusterEnvironment, "creates_processes_externally")


@pytest.mark.parametrize("kind", [torch.nn.BatchNorm1d, torch.nn.SyncBatchNorm, torch.nn.InstanceNorm2d])
def test_torchs_running_statistics_have_one_base(kind):
    layer = kind(3, track_running_stats=True)
    assert isinstance(layer, private_torch.NormBase)
    assert {"running_mean", "running_var"} <= dict(layer.named_buffers()).keys()


def test_torchs_spectral_norm_is_a_parametrization():
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 3))
    assert isinstance(layer.parametrizations.weight[0], private_torch.SpectralNorm)


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


def test_torchs_convolutions_and_pools_have_their_bases():
    nn = torch.nn
    assert all(issubclass(kind, private_torch.ConvNd) for kind in (nn.Conv1d, nn.Conv2d, nn.ConvTranspose3d))
    pools = (nn.MaxPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d)
    assert all(issubclass(kind, private_torch.POOLS) for kind in pools)


def test_torch_lists_a_modules_hooks_and_multiplies_many_tensors_at_once():
    layer, hook = torch.nn.Linear(1, 1), lambda module, inputs: None
    layer.register_forward_pre_hook(hook)
    assert private_torch.forward_pre_hooks(layer) == [hook]
    tensors = [torch.ones(2), torch.full((1, 3), 2.0)]
    private_torch.multiply_in_place(tensors, torch.tensor(3.0))
    assert [tensor.tolist() for tensor in tensors] == [[3.0, 3.0], [[6.0, 6.0, 6.0]]]


def test_hydra_sets_overrides_and_knows_groups_as_it_composes():
    assert list(inspect.signature(ConfigLoaderImpl._apply_overrides_to_config).parameters) == ["overrides", "cfg"]
    assert callable(ConfigRepository.group_exists)
    with pytest.raises(TypeError, match="expected Hydra's ConfigLoaderImpl, got object"):
        private.is_group(object(), "model")


def test_hydra_keeps_the_error_of_a_failed_job():
    error = ValueError("no")
    job = JobReturn(status=JobStatus.FAILED)
    job.return_value = error
    assert private.error_of(job) is error


def test_lightnings_csv_logger_says_how_often_it_writes(tmp_path):
    assert CSVLogger(tmp_path, flush_logs_every_n_steps=7)._flush_logs_every_n_steps == 7


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
    assert metric._is_synced is False


def test_no_other_module_imports_what_is_private_elsewhere():
    for folder in ("xling", "callbacks"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name in ("private.py", "private_torch.py", "lightning.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("xling"):
                    names = [*node.module.split("."), *(alias.name for alias in node.names)]
                    hidden = [name for name in names if name.startswith("_") and not name.startswith("__")]
                    assert not hidden, f"{path} imports {hidden}; gather it in xling.machine.private"
