"""Records as a run of its own what no training made: a finished run's model with other weights, measured.

Its directory holds what a trained run's holds, so that the analysis reads both alike: settings (with the intervention), versions,
data facts, impact, transfer, alignment, predictions and the manifest; no checkpoint. Epoch and step are those of the run whose
weights were changed, and what was measured before training is that run's.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from torch import Tensor

from xling.errors import MissingFileError
from xling.interventions.plan import InterventionPlan
from xling.models.layers import find_layers
from xling.runs.directory import MANIFEST_FILE, RunDirectory
from xling.runs.planned_runs import identity_of
from xling.runs.tables import ALIGNMENT_FILE, IMPACT_FILE, TRANSFER_FILE
from xling.settings import RunSettings
from xling.training.base_capture import capture_base
from xling.training.finished import FinishedRun
from xling.training.observers import build_alignment, build_monitor, why_not_aligned
from xling.training.parts import data_facts
from xling.training.recorder import RunRecorder
from xling.training.trainer import build_trainer

log = logging.getLogger(__name__)

State = Mapping[str, Tensor]
ALONE = {"strategy": "auto", "devices": 1, "num_nodes": 1}
"""Trainer settings of a measurement: one process, however many trained the run."""


def score_state(
    run: FinishedRun, state: State, settings: RunSettings | None = None, callbacks: Sequence[pl.Callback] = ()
) -> dict[str, float]:
    """Measure weights in a run's model on all its targets.

    Args:
        run: finished run, from :func:`xling.training.finished.load_run`; its module holds `state` afterwards.
        state: state dict of the run's module.
        settings: settings of the measurement; None: those of the run.
        callbacks: callbacks that observe the measurement.

    Returns:
        Target language -> the task's transfer metric.
    """
    run.module.load_state_dict(state)
    trainer = build_trainer((settings or run.settings).changed(trainer=ALONE), list(callbacks), run.path)
    trainer.validate(run.module, run.datamodule, verbose=False)
    metric = run.module.transfer_metric
    return {language: measured[metric] for language, measured in run.module.transfer.items()}


def derive_run(
    run: FinishedRun,
    base: State,
    plan: InterventionPlan,
    make_state: Callable[[], State],
    output_dir: Path,
    train_seconds: float | None = None,
) -> RunDirectory:
    """Measure an intervention on trained weights and record it; a record that is complete is not made again.

    Args:
        run: the run whose weights are changed.
        base: state dict of its module before training.
        plan: the intervention, as it is recorded.
        make_state: function that computes the changed weights; it is called only if the record is not complete yet.
        output_dir: the record's folder is ``study/source/strategy/seed_n`` in it.
        train_seconds: seconds of all training that the weights needed; None: those of `run`.

    Returns:
        The record's directory, complete.

    Raises:
        XlingValueError: the folder holds a run of other settings.
    """
    settings = run.settings.changed(
        intervention=plan,
        output_dir=output_dir,
        probe={"predictions": run.settings.probe.predictions or True},
        logger={},
    )
    identity = identity_of(settings)
    directory = RunDirectory.of(output_dir, **identity)
    directory.check_settings(settings)
    if directory.is_complete:
        directory.read_manifest()
        log.info("%s is complete; nothing to do", directory.path)
        return directory
    with directory.lock():
        _record(run, base, settings, identity, directory, make_state, train_seconds)
    return directory


def _record(
    run: FinishedRun,
    base: State,
    settings: RunSettings,
    identity: dict[str, Any],
    directory: RunDirectory,
    make_state: Callable[[], State],
    train_seconds: float | None,
) -> None:
    started = time.monotonic()
    parent = read_parent(run.path)
    transfer = pd.read_parquet(run.path / TRANSFER_FILE)
    last = transfer.loc[transfer["step"].idxmax()]
    monitor = build_monitor(settings, run.datamodule, run.model["content_hash"])
    run.module.load_state_dict(base)
    capture_base(settings.changed(trainer=ALONE), run.module, run.datamodule, monitor)
    why_not = why_not_aligned(settings, run.datamodule)
    alignment = None if why_not else build_alignment(settings, monitor)
    when = {"epoch": float(last["epoch"]), "step": int(last["step"])}
    recorder = RunRecorder(directory, identity, monitor, parent["frozen_layers"], alignment, when)
    observers = [*([alignment] if alignment is not None else []), monitor, recorder]
    facts = {"model": dict(run.model), "precision": settings.trainer.precision}
    directory.record_inputs(settings, facts, data_facts(run.datamodule))
    score_state(run, make_state(), settings, observers)
    _add_before_training(directory, run.path, identity)
    n_layers = find_layers(run.module, settings.model.layers).n_layers
    kept = ("transfer_metric", "n_train", "model", "frozen_layers", "noise_floor", "alignment")
    seconds = parent.get("train_seconds") if train_seconds is None else train_seconds
    facts = {name: parent[name] for name in kept if name in parent} | settings.intervention.facts(n_layers)
    took = round(time.monotonic() - started, 1)
    directory.complete(identity | facts | {"seconds": took, "train_seconds": seconds})


def read_parent(path: Path) -> dict[str, Any]:
    """Read the manifest of the run that something is derived from.

    Raises:
        MissingFileError: the run is not complete.
        CorruptArtefactError: a file of the run has changed since it ended.
    """
    directory = RunDirectory(path)
    if not directory.is_complete:
        raise MissingFileError(f"expected a finished run at {path}, found no {MANIFEST_FILE}; let it end first")
    return directory.read_manifest()


def _add_before_training(directory: RunDirectory, parent: Path, identity: dict[str, Any]) -> None:
    """Put the rows that the parent measured before its first step in front of the record's own.

    Both runs have the same weights before training, so that the record need not measure them again.
    """
    for name in (IMPACT_FILE, TRANSFER_FILE, ALIGNMENT_FILE):
        own, theirs = directory.path / name, parent / name
        if not (own.is_file() and theirs.is_file()):
            continue
        before = pd.read_parquet(theirs).query("step == 0").assign(**identity)
        if len(before):
            directory.write_tables({name: pd.concat([before, pd.read_parquet(own)], ignore_index=True)})
