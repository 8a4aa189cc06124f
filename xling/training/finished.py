"""Builds a finished run again from what its directory records, to measure its model once more without training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from xling.data.datamodule import TransferDataModule
from xling.errors import MissingFileError, XlingValueError
from xling.freezing.lora import merge_adapters
from xling.models.encoders import content_hash, load_encoder
from xling.runs.directory import CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, RunDirectory, read_settings_to_build
from xling.settings import RunSettings
from xling.storage.atomic import read_json
from xling.tasks.transfer_module import TransferModule
from xling.training.checkpoints import load_checkpoint
from xling.training.parts import build_data, build_module, make_task


@dataclass(frozen=True)
class FinishedRun:
    """A run's parts as they were before training, and its fine-tuned weights.

    Attributes:
        settings: settings of the run.
        datamodule: data module that has the probe sets.
        module: encoder with the weights from before training, under a newly made head.
        finetuned: state dict of the checkpoint, adapters merged into the weights.
        path: directory of the run.
        model: recorded facts about the encoder before training, see :func:`xling.models.encoders.describe_encoder`.
    """

    settings: RunSettings
    datamodule: TransferDataModule
    module: TransferModule
    finetuned: Mapping[str, Tensor]
    path: Path
    model: Mapping[str, Any]


def load_run(path: Path) -> FinishedRun:
    """Build the parts of a run again from what its directory records.

    Args:
        path: run directory that holds a checkpoint.

    Raises:
        MissingFileError: there is no run at `path`, or its checkpoint was not kept.
        CorruptArtefactError: the checkpoint cannot be read.
        XlingValueError: the base model or a probe set has changed since the run.
    """
    settings = _settings_of(path)
    finetuned = load_checkpoint(RunDirectory(path).checkpoint)["state_dict"]
    encoder, model = _base_encoder(settings, path)
    datamodule = build_data(settings)
    data = read_json(path / DATA_FILE)
    for language, fingerprint in datamodule.probe_fingerprints.items():
        _check_same(f"the probe set of {language}", data[f"probe.{language}"]["fingerprint"], fingerprint, path)
    module = build_module(settings, datamodule.task, encoder)
    return FinishedRun(settings, datamodule, module, _without_adapters(module, finetuned, settings), path, model)


def load_finetuned(path: Path) -> tuple[RunSettings, TransferModule]:
    """Build a run's module with its fine-tuned weights, adapters merged into them.

    The data are read only where the task's labels are those of the training examples.

    Args:
        path: run directory that holds a checkpoint.

    Raises:
        MissingFileError: there is no run at `path`, or its checkpoint was not kept.
        CorruptArtefactError: the checkpoint cannot be read.
        XlingValueError: the base model has changed since the run.
    """
    settings = _settings_of(path)
    finetuned = load_checkpoint(RunDirectory(path).checkpoint)["state_dict"]
    encoder, _ = _base_encoder(settings, path)
    task = make_task(settings.data.task)
    knows_labels = getattr(task, "labels", ()) is not None
    module = build_module(settings, task if knows_labels else build_data(settings).task, encoder)
    module.load_state_dict(_without_adapters(module, finetuned, settings))
    return settings, module


def _settings_of(path: Path) -> RunSettings:
    if not (path / CONFIG_FILE).is_file():
        raise MissingFileError(
            f"expected a run directory with {CONFIG_FILE} at {path}, found none; name a seed_* folder"
        )
    return read_settings_to_build(path)


def _base_encoder(settings: RunSettings, path: Path) -> tuple[nn.Module, Mapping[str, Any]]:
    """Load the encoder as it was before training, and the recorded facts about it."""
    encoder = load_encoder(settings.model, settings.cache_dir)
    model = read_json(path / ENVIRONMENT_FILE)["model"]
    _check_same(f"the base model {settings.model.name_or_path}", model["content_hash"], content_hash(encoder), path)
    return encoder, model


def _without_adapters(module: nn.Module, state: Mapping[str, Tensor], settings: RunSettings) -> Mapping[str, Tensor]:
    plan = settings.freeze
    return merge_adapters(module, state, plan.options, settings.model.layers) if plan.adapts else state


def _check_same(what: str, recorded: str, found: str, path: Path) -> None:
    if found != recorded:
        raise XlingValueError(
            f"{what} has changed since {path} was trained: its hash was {recorded[:12]}, now it is {found[:12]}; "
            "bring back the files or version it was trained with, or train again"
        )
