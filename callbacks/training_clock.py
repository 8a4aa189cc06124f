"""Measures how long training itself takes, without validation."""

import collections
import time
from typing import Any

import pytorch_lightning as pl
import torch

Moment = float | torch.cuda.Event


class TrainingClock(pl.Callback):
    """Adds up the seconds from each training batch's start to its end, on a GPU by the GPU's clock.

    Waiting for data and validating are not counted, so that freezing strategies can be compared. A resumed fit goes on counting.
    Logs and writes nothing. Training never waits for the clock; only reading :attr:`seconds` waits for the GPU.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._started: Moment | None = None
        self._steps: collections.deque[tuple[Moment, Moment]] = collections.deque()
        self._is_resumed = False

    @property
    def seconds(self) -> float:
        """Seconds so far; waits for what is queued on a GPU."""
        self._add_up(is_patient=True)
        return self._seconds

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the clock to 0, unless the fit is resumed."""
        if not self._is_resumed:
            self._seconds = 0.0
        self._is_resumed, self._started = False, None
        self._steps.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note when the batch starts."""
        self._started = _now(pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the time since the batch started."""
        if self._started is not None:
            self._steps.append((self._started, _now(pl_module.device)))
            self._started = None
            self._add_up(is_patient=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds measured so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the seconds of the interrupted fit."""
        self._seconds, self._is_resumed = state_dict["seconds"], True

    def _add_up(self, is_patient: bool) -> None:
        """Add the seconds of the steps that the device has finished; if `is_patient`, wait for all of them."""
        while self._steps and (is_patient or _is_past(self._steps[0][1])):
            self._seconds += _between(*self._steps.popleft())


def _now(device: torch.device) -> Moment:
    """Note the present moment. On a GPU it is an event behind the work queued so far, since the CPU runs several steps ahead."""
    if device.type != "cuda":
        return time.monotonic()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _is_past(moment: Moment) -> bool:
    return moment.query() if isinstance(moment, torch.cuda.Event) else True


def _between(start: Moment, end: Moment) -> float:
    if isinstance(start, float) and isinstance(end, float):
        return end - start
    assert isinstance(start, torch.cuda.Event)
    assert isinstance(end, torch.cuda.Event)
    end.synchronize()
    return start.elapsed_time(end) / 1000
