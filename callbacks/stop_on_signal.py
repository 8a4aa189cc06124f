"""Stops a run in an orderly way when the machine is about to be taken away."""

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from xling.callbacks._agree import agree
from xling.errors import check_known

log = logging.getLogger(__name__)

EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: start the same command again


class Preempted(SystemExit):
    """The process was asked to stop and has; its exit status is 75. Not an Exception, so that it ends a whole sweep."""

    def __init__(self, message: str) -> None:
        super().__init__(EXIT_PREEMPTED)
        self.message = message


class StopOnSignal(pl.Callback):
    """Stops a run, when a signal comes, at the next point from which it can be resumed.

    Slurm, Kubernetes and spot machines send a signal some time before they take a machine away. In training, the trainer's
    :class:`~xling.callbacks.RunCheckpoint` then writes a checkpoint after whole optimiser steps and stops. In a validation,
    which may take longer than the machine is left, the run stops at the next batch and is resumed from the checkpoint before.

    Lightning's own handler of SIGTERM ends a run within accumulated gradients, saves nothing, and waits for other processes
    inside the handler. This one only notes the signal, and it replaces Lightning's as long as a trainer runs. A job is queued
    again by Slurm or submitit, which look at the exit status, and never by Lightning.

    Runs on ``on_sanity_check_start``, ``on_train_start``, ``on_validation_start`` (the handler) and
    ``on_validation_batch_start``. Draws no random number, logs and writes nothing.

    Args:
        signals: names of signals, e.g. ``SIGTERM`` (the default) or ``SIGUSR1``, which Slurm's ``--signal`` sends.

    Attributes:
        received: name of the signal that came; None as long as none has.

    Raises:
        XlingValueError: there is no signal of a name, or it cannot be caught.
        Preempted: the run has stopped.
    """

    def __init__(self, signals: Sequence[str] = ("SIGTERM",)) -> None:
        known = [name for name in signal.Signals.__members__ if name not in ("SIGKILL", "SIGSTOP")]
        for name in signals:
            check_known("signal that can be caught", name, known)
        self.signals = tuple(signal.Signals[name] for name in signals)
        self.received: str | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note signals as long as the block runs, in a fit or not.

        Python lets only the main thread of a process handle signals; elsewhere this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in self.signals}
        self._install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self, where: str) -> None:
        """Stop now if a signal has come; `where` completes the sentence "stopped by SIGTERM ..."."""
        if self.received is not None:
            raise Preempted(f"stopped by {self.received} {where}; the same command goes on from there")

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's handler."""
        self._install()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's handler."""
        self._install()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's handler."""
        self._install()

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop the run if a signal has come."""
        if self.is_requested(trainer):
            self.check("within a validation, which will be run again")

    def is_requested(self, trainer: pl.Trainer, check_every: int = 1) -> bool:
        """Whether any process has received a signal; see :func:`xling.callbacks._agree.agree`."""
        is_requested = agree(trainer, self.received is not None, check_every)
        if is_requested and self.received is None:
            self.received = "a signal to another process"
        return is_requested

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
