"""Writes a checkpoint from which a run goes on as if it had never stopped."""

import logging
import math
import time
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import pytorch_lightning as pl

from xling.callbacks._agree import agree
from xling.callbacks.stop_on_signal import StopOnSignal
from xling.errors import XlingValueError
from xling.machine.distributed import gather_objects
from xling.machine.lightning import callbacks_of, is_fast_dev_run
from xling.machine.randomness import get_random_state, set_random_state

log = logging.getLogger(__name__)

_RANDOM = "random_states"
_LOGGERS = "loggers"
_CHECK_EVERY = 10  # steps between two agreements of several processes: each costs them a synchronisation


class RunCheckpoint(pl.Callback):
    """Keeps one checkpoint, from which weights, tables and logs come out bit for bit as in an undisturbed run.

    Lightning's own checkpoints hold no random state, and Lightning skips a validation before or in which it was stopped. This
    checkpoint is written only where nothing is half done: before a batch (after whole optimiser steps, with all that they
    log written out), before a validation, which then is run again from its start, and when training has ended. The counters
    that Lightning stores of its loops are set back to that point. The data module has its loader go on at the right batch, by
    its ``state_dict``.

    Where the trainer has a :class:`~xling.callbacks.StopOnSignal` whose signal has come, this callback writes the checkpoint and
    stops the run.

    Runs on ``on_train_start``, ``on_train_batch_start``, ``on_validation_start`` and ``on_train_end``; must be the last
    of the callbacks that draw random numbers or keep a state. Draws none, logs nothing, writes `path` (model and
    optimiser, three times the trained parameters) and flushes the loggers.

    Args:
        path: file of the checkpoint; None: ``last.ckpt`` in the trainer's ``default_root_dir``.
        every_seconds: seconds after which a new checkpoint is written, by a clock that does not jump; None: time plays no role.
        every_n_steps: optimiser steps after which a new checkpoint is written; None: steps play no role. The checkpoint at the
            end of training is always written.

    Raises:
        XlingValueError: an interval is not positive.
    """

    def __init__(
        self, path: Path | str | None = None, every_seconds: float | None = 300.0, every_n_steps: int | None = None
    ) -> None:
        if any(interval is not None and interval <= 0 for interval in (every_seconds, every_n_steps)):
            raise XlingValueError(
                f"checkpoints need a positive interval, found every_seconds={every_seconds}, every_n_steps={every_n_steps}; "
                "raise it (a large one writes the last checkpoint only)"
            )
        self.path = None if path is None else Path(path)
        self.every_seconds = math.inf if every_seconds is None else every_seconds
        self.every_n_steps = every_n_steps
        self._saved_at, self._saved_step = time.monotonic(), 0
        self._has_validated = self._is_validating = False
        self._random_states: list[dict[str, Any]] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to count seconds and steps since the last checkpoint."""
        self._saved_at, self._saved_step, self._has_validated = time.monotonic(), trainer.global_step, False

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint of the steps before this batch, if it is time."""
        self._restore_random_state(trainer)
        if self.can_save(trainer):
            self._save_or_stop(trainer, check_every=_CHECK_EVERY)
        self._has_validated = False

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a checkpoint from which this validation is run again, if it is time."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._restore_random_state(trainer)
        self._is_validating = True
        self._save_or_stop(trainer)
        self._is_validating, self._has_validated = False, True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the last checkpoint."""
        self.save(trainer)

    def can_save(self, trainer: pl.Trainer) -> bool:
        """Whether a run could be resumed exactly from the point before this batch.

        It could not within accumulated gradients, before the first batch of an epoch, or right after a validation in mid-epoch.
        The checkpoint before the validation, or the one a batch later, serves instead.
        """
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        return done > 0 and done % trainer.accumulate_grad_batches == 0 and not self._has_validated

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint now (all processes must call this)."""
        if is_fast_dev_run(trainer):
            return
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.path or Path(trainer.default_root_dir) / "last.ckpt")
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add every process's random state, and set the loops back to the point before the batch or validation."""
        checkpoint[_RANDOM] = gather_objects(get_random_state(trainer.strategy.root_device))
        checkpoint[_LOGGERS] = [logger.state_dict() if _has_state(logger) else {} for logger in trainer.loggers]
        _set_back(checkpoint["loops"]["fit_loop"], before_validation=self._is_validating)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set the logs back, and keep the random state until training has reached the point at which it was saved."""
        self._random_states = checkpoint.get(_RANDOM)
        for logger, state in zip(trainer.loggers, checkpoint.get(_LOGGERS, []), strict=False):
            if state and _has_state(logger):
                logger.load_state_dict(state)

    def _save_or_stop(self, trainer: pl.Trainer, check_every: int = 1) -> None:
        stop = next(iter(callbacks_of(trainer, StopOnSignal)), None)
        must_stop = stop is not None and stop.is_requested(trainer, check_every)
        if must_stop or self._is_due(trainer, check_every):
            self.save(trainer)
        if stop is not None and must_stop:
            stop.check(f"at step {trainer.global_step}, checkpoint written")

    def _is_due(self, trainer: pl.Trainer, check_every: int) -> bool:
        steps = trainer.global_step - self._saved_step
        if self.every_n_steps is not None and steps >= self.every_n_steps:
            return True
        return steps > 0 and agree(trainer, time.monotonic() - self._saved_at >= self.every_seconds, check_every)

    def _restore_random_state(self, trainer: pl.Trainer) -> None:
        states, self._random_states = self._random_states, None
        if states is None:
            return
        if len(states) != trainer.world_size:
            log.warning(
                "the checkpoint is of %d processes, now there are %d: the run goes on, but not bit for bit as it would have",
                len(states),
                trainer.world_size,
            )
        set_random_state(states[trainer.global_rank % len(states)], trainer.strategy.root_device)


class _Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def _has_state(logger: Any) -> TypeGuard[_Stateful]:
    return hasattr(logger, "state_dict") and hasattr(logger, "load_state_dict")


def _set_back(loops: dict[str, Any], before_validation: bool) -> None:
    """Let Lightning's counters say what is true at the point of the checkpoint: nothing begun and not completed.

    Before a batch it has counted that batch as ready. Before a validation its counters look like those after one, which
    it would skip on resuming; one validation batch begun and not processed is what makes it run the validation (from its
    first batch: the current counters are 0).
    """
    training = loops["epoch_loop.batch_progress"]
    if training["total"]["ready"] > training["total"]["completed"]:
        for counts in (training["total"], training["current"]):
            counts["ready"] = counts["completed"]
        training["is_last_batch"] = False
    if before_validation:
        total = loops["epoch_loop.val_loop.batch_progress"]["total"]
        total["ready"] = total["started"] = total["completed"] + 1
