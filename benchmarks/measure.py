"""Wall time and extra resident memory of a call."""

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
    """Several calls: seconds of each, and the most memory above what was resident before, in MB (None off Linux)."""

    seconds: list[float]
    megabytes: float | None

    def __str__(self) -> str:
        spread = f" ({min(self.seconds):.2f} to {max(self.seconds):.2f})" if len(self.seconds) > 1 else ""
        return f"{median(self.seconds):.2f}{spread} | {'—' if self.megabytes is None else f'{self.megabytes:.0f}'}"


def measured(call: Callable[[], Any]) -> tuple[Any, Measured]:
    """What one call returned, and what it took."""
    before = _reset_peak()
    start = time.perf_counter()
    value = call()
    seconds = time.perf_counter() - start
    return value, Measured([seconds], None if before is None else _status("VmHWM") - before)


@dataclass
class Seconds:
    """Wall time of a block, and the time that the processors worked on it for this process."""

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
    """The most memory above what was resident before, in MB; None where it cannot be measured."""

    megabytes: float | None = None


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the peak of a block: of the GPU where there is one, else of the process."""
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
    """Give every freed block back at once, so that what is resident is what lives; slower, so not to be timed. With glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    map_above, trim_above, usual = -3, -1, 128 * 1024  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3)
    library.mallopt(map_above, 32 * 1024)
    library.mallopt(trim_above, 0)
    try:
        yield
    finally:
        library.mallopt(map_above, usual)
        library.mallopt(trim_above, usual)


def interleaved(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Measured]:
    """Every call once per round, after one round to warm up: a slow minute of the machine meets all of them."""
    found: dict[str, list[Measured]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            found[name].append(measured(call)[1])
    return {name: together(runs[1:]) for name, runs in found.items()}


def together(runs: list[Measured]) -> Measured:
    """Several calls of the same function."""
    peaks = [run.megabytes for run in runs if run.megabytes is not None]
    return Measured([run.seconds[0] for run in runs], max(peaks, default=None))


def _reset_peak() -> float | None:
    """Give freed memory back and forget the peak so far; MB resident now."""
    if platform.system() != "Linux":
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
