"""Measures wall time and extra resident memory of a call."""

import ctypes
import gc
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch


@dataclass(frozen=True)
class Measured:
    """What one call took, or several calls of the same function.

    Attributes:
        seconds: wall time of each call.
        megabytes: the most memory above what was resident before, in MiB; None on other systems than Linux.
    """

    seconds: list[float]
    megabytes: float | None

    def __str__(self) -> str:
        spread = f" ({min(self.seconds):.2f} to {max(self.seconds):.2f})" if len(self.seconds) > 1 else ""
        return f"{median(self.seconds):.2f}{spread} | {'—' if self.megabytes is None else f'{self.megabytes:.0f}'}"


def measured(call: Callable[[], Any]) -> tuple[Any, Measured]:
    """Call a function, and give what it returned and what it took."""
    before = _reset_peak()
    start = time.perf_counter()
    value = call()
    seconds = time.perf_counter() - start
    return value, Measured([seconds], None if before is None else _status("VmHWM") - before)


@dataclass
class Seconds:
    """What a block took, in seconds; NaN while it runs.

    Attributes:
        value: wall time.
        cpu: time that processors worked for this process.
    """

    value: float = float("nan")
    cpu: float = float("nan")


@contextmanager
def timed() -> Iterator[Seconds]:
    """Measure the seconds of a block, work queued on a GPU included."""
    seconds, on_gpu = Seconds(), torch.cuda.is_available()
    if on_gpu:
        torch.cuda.synchronize()
    start, start_cpu = time.perf_counter(), time.process_time()
    yield seconds
    if on_gpu:
        torch.cuda.synchronize()
    seconds.value, seconds.cpu = time.perf_counter() - start, time.process_time() - start_cpu


@dataclass
class Peak:
    """The most memory above what was in use before, in MiB; None where it cannot be measured."""

    megabytes: float | None = None


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the peak memory of a block: of the GPU where there is one, else of the process."""
    peak, on_gpu = Peak(), torch.cuda.is_available()
    before = torch.cuda.memory_allocated() / 2**20 if on_gpu else _reset_peak()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    yield peak
    if on_gpu:
        peak.megabytes = torch.cuda.max_memory_allocated() / 2**20 - before
    elif before is not None:
        peak.megabytes = _status("VmHWM") - before


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Return freed memory to the system at once, so that resident memory is what the program still holds.

    This is slower, so that a block within it must not be timed. It works with glibc alone; elsewhere it does nothing.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    mmap_threshold, trim_threshold = -3, -1  # numbers of these parameters in mallopt(3)
    default = 128 * 1024
    library.mallopt(mmap_threshold, 32 * 1024)
    library.mallopt(trim_threshold, 0)
    try:
        yield
    finally:
        library.mallopt(mmap_threshold, default)
        library.mallopt(trim_threshold, default)


def interleaved(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Measured]:
    """Measure each call once per round, after one round to warm up, so that a slow minute of the machine meets all calls alike."""
    by_call: dict[str, list[Measured]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            by_call[name].append(measured(call)[1])
    return {name: together(runs[1:]) for name, runs in by_call.items()}


def together(runs: list[Measured]) -> Measured:
    """Put what several calls of the same function took into one: the seconds of each, and the largest peak of memory."""
    peaks = [run.megabytes for run in runs if run.megabytes is not None]
    return Measured([run.seconds[0] for run in runs], max(peaks, default=None))


def _reset_peak() -> float | None:
    """Return freed memory to the system, reset the peak, and give the MiB that are resident now; None if not on Linux."""
    if platform.system() != "Linux":
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> float:
    """Read a line of this process's status, such as VmRSS (resident now) or VmHWM (its peak), in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
