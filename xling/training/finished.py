"""A finished run, built again from what its directory records: to measure its model once more without training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from xling.data.datamodule import TransferDataModule
from xling.errors import MissingFileError, XlingValueError
from xling.freezing.lora import merge_adapters
from xling.models.encoders import content_hash, load_encoder
from xling.runs.directory import CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, RunDirectory, read_settings_to_build
from xling.settings import RunSettings
from xling.storage.atomic import read_json
from xling.tasks.transfer_module import TransferModule
from xling.training.checkpoints import load_checkpoint
from xling.training.parts import build_data, build_module


@dataclass(frozen=True)
class FinishedRun:
    """A run's parts as they were before training, and its fine-tuned weights.

    Attributes:
        settings: the run's.
        datamodule: with the probe sets.
        module: encoder with base weights, under a fresh head.
        finetuned: state dict of the checkpoint, adapters merged into the weights.
        path: its directory.
        model: what its record says of the encoder before training, see :func:`xling.models.encoders.describe_encoder`.
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
        path: run directory with its checkpoint.

    Raises:
        MissingFileError: no run, or its checkpoint was not kept.
        CorruptArtefactError: the checkpoint cannot be read.
        XlingValueError: base model or probe sets are not those of the run.
    """
    if not (path / CONFIG_FILE).is_file():
        raise MissingFileError(
            f"expected a run directory with {CONFIG_FILE} at {path}, found none; name a seed_* folder"
        )
    settings = read_settings_to_build(path)
    finetuned = load_checkpoint(RunDirectory(path).checkpoint)["state_dict"]
    spec = settings.model
    encoder = load_encoder(spec, settings.cache_dir)
    model = read_json(path / ENVIRONMENT_FILE)["model"]
    _check_same(f"the base model {spec.name_or_path}", model["content_hash"], content_hash(encoder), path)
    datamodule = build_data(settings)
    data = read_json(path / DATA_FILE)
    for language, fingerprint in datamodule.probe_fingerprints.items():
        _check_same(f"the probe set of {language}", data[f"probe.{language}"]["fingerprint"], fingerprint, path)
    module, plan = build_module(settings, datamodule, encoder), settings.freeze
    if plan.adapts:
        finetuned = merge_adapters(module, finetuned, plan.options, spec.layers)
    return FinishedRun(settings, datamodule, module, finetuned, path, model)


def _check_same(what: str, recorded: str, found: str, path: Path) -> None:
    if found != recorded:
        raise XlingValueError(
            f"{what} has changed since {path} was trained: its hash was {recorded[:12]}, now it is {found[:12]}; "
            "bring back the files or version it was trained with, or train again"
        )
