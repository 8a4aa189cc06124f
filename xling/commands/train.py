"""The command ``xling-train`` (and ``python train.py``), which makes one run: compose, check, fine-tune, measure, record."""

import gc
import logging
import time
import warnings
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from xling.callbacks.stop_on_signal import Preempted, StopOnSignal
from xling.commands import start
from xling.machine.logs import log_to_file
from xling.machine.processes import (
    entered_on_rank_zero,
    is_rank_zero,
    joined_processes,
    on_every_rank,
    on_rank_zero,
    rank,
)
from xling.machine.requeue import Requeue, find_requeue
from xling.machine.resources import explaining_resources
from xling.runs.directory import LOG_FILE, RunDirectory
from xling.runs.planned_runs import identity_of, study_folder
from xling.runs.state import recording_failure
from xling.settings import RunSettings
from xling.sweeps.expand import plain_settings
from xling.sweeps.headline import phrase_place, phrase_rest, phrase_sizes, phrase_start
from xling.training.base_capture import capture_base
from xling.training.frozen_prefix import start_after_frozen_layers
from xling.training.parts import Parts, build_parts, resolve_settings
from xling.training.trainer import build_trainer
from xling.training.validations import check_validated

log = logging.getLogger(__name__)

_SEEDS_APART = 1_000_003
"""Distance between the seeds of a run's processes, so large that none of them is the seed of another run."""


@explaining_resources()
def train(settings: RunSettings) -> RunDirectory:
    """Fine-tune on one source language and measure impact and accuracy on every target.

    A run that is complete is not repeated; one that was interrupted after a checkpoint goes on from it.

    Args:
        settings: see ``conf/train.yaml``.

    Returns:
        The run's directory, complete.

    Raises:
        XlingError: a setting, file or directory does not fit; the message names the remedy.
        Preempted: a signal asked to stop, and the run can go on from its checkpoint.
    """
    with joined_processes(settings.trainer):
        run = _run(settings)
    gc.collect()  # module, trainer and callbacks refer to each other; a sweep in one process would pile them up
    return run


def _run(settings: RunSettings) -> RunDirectory:
    settings = on_rank_zero(lambda: resolve_settings(settings))
    identity = identity_of(settings)
    run = RunDirectory.of(settings.output_dir, **identity)
    on_rank_zero(lambda: run.check_settings(settings))
    requeue = find_requeue()
    stop = StopOnSignal([*settings.checkpoint.stop_on, *requeue.signals])
    if not _is_done(run):
        with entered_on_rank_zero(run.lock()), entered_on_rank_zero(log_to_file(run.path / LOG_FILE)), stop.listening():
            _fit_once(settings, identity, run, stop, requeue)
    return run


def _is_done(run: RunDirectory) -> bool:
    is_complete = on_rank_zero(lambda: run.is_complete)
    if is_complete:
        on_rank_zero(run.read_manifest)  # a file that has changed since speaks up
        log.info("%s is complete; nothing to do", run.path)
    return is_complete


def _fit_once(
    settings: RunSettings, identity: dict[str, Any], run: RunDirectory, stop: StopOnSignal, requeue: Requeue
) -> None:
    """Fit unless another process has completed the run in the meantime; a failure leaves a record."""
    if _is_done(run):
        return
    try:
        with entered_on_rank_zero(recording_failure(run.path, LOG_FILE)), explaining_resources():
            _fit(settings, identity, run, stop)
        stop.check("after this run was complete")  # the sweep does not begin the next
    except Preempted as preempted:
        log.warning("%s", preempted.message)
        if is_rank_zero():
            requeue.after(stop.received)
        raise


def _say(text: str) -> None:
    if text and is_rank_zero():
        log.info("%s", text)


def _fit(settings: RunSettings, identity: dict[str, Any], run: RunDirectory, stop: StopOnSignal) -> None:
    log.info("%s: %s", phrase_start(settings), run.path)
    study = study_folder(settings)
    on_rank_zero(lambda: _say(phrase_place(study, settings)))
    started = time.monotonic()
    pl.seed_everything(settings.seed, verbose=False)
    # bad settings and bad data speak up before anything is recorded
    parts = on_every_rank(lambda: build_parts(settings, identity, run))
    _say(phrase_sizes(parts.data_facts(), parts.facts["model"]))
    on_rank_zero(lambda: _record_inputs(settings, parts, run))
    _capture_base(settings, parts, stop)
    # a run's weights must not depend on who captured the base; processes drop out different units
    pl.seed_everything((settings.seed + _SEEDS_APART * rank()) % 2**32, verbose=False)
    _train(settings, parts, run, stop)
    seconds = round(time.monotonic() - started, 1)
    on_rank_zero(lambda: _record_results(settings, identity, parts, run, seconds))
    _report(parts, identity, seconds)
    on_rank_zero(lambda: _say(phrase_rest(study, settings)))


def _record_inputs(settings: RunSettings, parts: Parts, run: RunDirectory) -> None:
    changed = run.record_inputs(settings, parts.facts, parts.data_facts())
    if changed:
        log.warning(
            "going on with other versions or another machine than before, which may change digits: %s (recorded in "
            "environment.json)",
            "; ".join(map(str, changed)),
        )


def _record_results(
    settings: RunSettings, identity: dict[str, Any], parts: Parts, run: RunDirectory, seconds: float
) -> None:
    check_validated(len(parts.recorder.transfer), parts.module.global_step)
    parts.recorder.write()
    run.complete(identity | parts.summary() | {"seconds": seconds, "train_seconds": round(parts.clock.seconds, 1)})
    if not settings.keep_checkpoint:
        run.remove_checkpoints()  # after the manifest: a kill in between must not cost the whole run


def _train(settings: RunSettings, parts: Parts, run: RunDirectory, stop: StopOnSignal) -> None:
    """Fit the module, from the run's checkpoint on where it has one."""
    is_resumed = on_rank_zero(run.checkpoint.is_file)
    if is_resumed:
        log.info("going on from %s", run.checkpoint)
    trainer = build_trainer(settings, [stop, *parts.callbacks], run.path, is_resumed=is_resumed)
    if settings.cache_frozen:
        on_every_rank(lambda: start_after_frozen_layers(settings, parts, trainer))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # our data module sees to it
        trainer.fit(parts.module, parts.datamodule, ckpt_path=run.checkpoint if is_resumed else None, weights_only=True)


def _capture_base(settings: RunSettings, parts: Parts, stop: StopOnSignal) -> None:
    for monitor in (parts.monitor, *parts.other_poolings):
        capture_base(settings, parts.module, parts.datamodule, monitor, [stop])


def _report(parts: Parts, identity: dict[str, Any], seconds: float) -> None:
    transfer = {row["target_language"]: row["score"] for row in parts.recorder.transfer}  # the last one of each counts
    scores = "  ".join(
        f"{language} {score:.3f}" for language, score in sorted(transfer.items(), key=lambda item: -item[1])
    )
    log.info("%s: %s  %s", identity["source_language"], parts.module.transfer_metric, scores)
    log.info(
        "impact before the first step: at most %.1e (noise floor); done in %.0f s", parts.monitor.noise_floor(), seconds
    )


def train_config(config: DictConfig) -> RunDirectory:
    """Fine-tune as a composed configuration (``conf/train.yaml``) asks for; see :func:`train`."""
    return train(RunSettings.from_plain(plain_settings(config)))


def main() -> None:
    """Run the command."""
    start.train()


if __name__ == "__main__":
    main()
