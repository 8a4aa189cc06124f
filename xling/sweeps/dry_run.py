"""Prints what a sweep would do: its runs, which of them are done, and what the rest will cost. Nothing is trained or written."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from xling.errors import XlingError
from xling.machine.plain_text import printable
from xling.machine.run_precision import resolve_precision
from xling.runs.directory import MANIFEST_FILE, RunDirectory
from xling.runs.planned_runs import RunKey, run_key, study_folder
from xling.runs.status import RunStatus, read_status
from xling.settings import RunSettings
from xling.storage.atomic import read_json
from xling.sweeps.cost import CPU_RATE, GPU_RATE, TOKENS
from xling.sweeps.estimate import (
    estimate_checkpoint,
    estimate_representations,
    estimate_seconds,
    estimate_shared,
    flop_rate,
    free_bytes,
)
from xling.sweeps.finished import as_recorded
from xling.sweeps.memory import TrainingMemory, estimate_memory
from xling.sweeps.status_table import phrase_counts, phrase_duration, run_table


def print_dry_run(wanted: Sequence[RunSettings]) -> None:
    """Print the runs that `wanted` ask for, by study, and the estimates for what is not done."""
    console = Console(soft_wrap=True)
    studies: dict[Path, dict[RunKey, RunSettings]] = {}
    for settings in wanted:
        studies.setdefault(study_folder(settings), {})[run_key(settings)] = settings
    for folder, runs in studies.items():
        states = {key: planned_state(folder, key, settings) for key, settings in runs.items()}
        console.print(run_table(f"{folder} (dry run)", list(states.values())))
        for key, state in states.items():
            if state.reason:
                console.print(printable(f"{state.state}  {key.folder}: {state.reason}"), markup=False)
        console.print(phrase_counts(list(states.values())))
        left = [runs[key] for key, state in states.items() if state.state not in ("done", "running", "refused")]
        for sentence in [phrase_hours(folder, left), *phrase_memory(left), *phrase_disk(left)]:
            console.print(sentence, markup=False, highlight=False)
    n_runs = sum(len(runs) for runs in studies.values())
    if n_runs < len(wanted):
        console.print(f"{len(wanted) - n_runs} of {len(wanted)} jobs ask for a run that another one asks for too")


def planned_state(folder: Path, key: RunKey, settings: RunSettings) -> RunStatus:
    """Find the state of a planned run: ``to do`` where nothing is there, ``refused`` where its folder holds another run."""
    path = folder / key.folder
    try:
        RunDirectory(path).check_settings(as_recorded(path, settings))
    except XlingError as error:
        return RunStatus(*key, "refused", reason=str(error))
    status = read_status(folder, key)
    return replace(status, state="to do") if status.state == "missing" else status


def measured_seconds(folder: Path) -> dict[str, list[float]]:
    """Read the seconds of the study's finished runs, by strategy; a resumed run counts with its training over all starts."""
    seconds: dict[str, list[float]] = {}
    for path in folder.glob(f"*/*/seed_*/{MANIFEST_FILE}"):
        manifest = read_json(path)
        seconds.setdefault(manifest["strategy"], []).append(max(manifest["seconds"], manifest["train_seconds"]))
    return seconds


def phrase_hours(folder: Path, left: Sequence[RunSettings]) -> str:
    """Say how long the runs that are left will take, one after another, and what the estimate rests on."""
    if not left:
        return "Time: nothing is left to do"
    measured = measured_seconds(folder)
    if measured:
        every = [seconds for runs in measured.values() for seconds in runs]
        each = [statistics.mean(measured.get(run_key(settings).strategy, every)) for settings in left]
        basis = f"the mean of {len(every)} finished runs of this study, per strategy where it has any"
    else:
        estimates = [estimate_seconds(settings) for settings in left]
        each = [seconds for seconds in estimates if seconds is not None]
        basis = _phrase_rule(left[0])
    unknown = len(left) - len(each)
    if unknown:
        return f"Time: unknown for {unknown} of {len(left)} runs: encoder or data are not on this machine"
    return f"Time: about {phrase_duration(sum(each))} for {len(left)} runs, one after another; by {basis}"


def _phrase_rule(settings: RunSettings) -> str:
    rate = flop_rate(settings.trainer.accelerator)
    source = "assumed, not measured" if rate == GPU_RATE else f"{CPU_RATE:.0e} a core, measured with e5_small"
    return (
        f"rule of thumb: 2 operations a weight and token forward, up to 4 backward, {TOKENS} tokens an example, "
        f"{rate:.0e} operations a second ({source}); a factor of 3 either way on an idle machine, more for tiny models"
    )


def phrase_memory(left: Sequence[RunSettings]) -> list[str]:
    """Say how much memory the largest of the runs that are left will need in training, and what it consists of."""
    if not left:
        return []
    distinct = {str((s.model, s.freeze, s.data.batch_size, s.data.max_length, s.trainer)): s for s in left}
    found = [(_memory_of(settings), settings) for settings in distinct.values()]
    known = [(memory, settings) for memory, settings in found if memory is not None]
    if not known:
        return ["Memory: unknown: the encoder's configuration is not on this machine"]
    memory, settings = max(known, key=lambda pair: pair[0].total)
    precision, is_gpu = _where(settings)
    parts = ", ".join(f"{_gigabytes(size)} of {name}" for name, size in vars(memory).items())
    return [
        f"Memory: an estimate, not measured: about {_gigabytes(memory.total)} in training on a "
        f"{'GPU' if is_gpu else 'processor'} in {precision}: {parts} ({settings.data.batch_size} examples a step, "
        f"{settings.data.max_length} tokens the longest; beside "
        "it what torch and the device need)"
    ]


def _memory_of(settings: RunSettings) -> TrainingMemory | None:
    precision, is_gpu = _where(settings)
    return estimate_memory(settings, precision, is_gpu=is_gpu)


def _where(settings: RunSettings) -> tuple[str, bool]:
    """Find the precision that is set or that this machine would choose, and whether training is on a GPU."""
    trainer = settings.trainer
    is_gpu = trainer.accelerator in ("gpu", "cuda") or (trainer.accelerator == "auto" and torch.cuda.is_available())
    if str(trainer.precision) in ("auto", "16-mixed", "16") and is_gpu and not torch.cuda.is_available():
        return "16-mixed" if str(trainer.precision) != "auto" else "bf16-mixed", True  # planned for another machine
    return resolve_precision(trainer.precision, trainer.accelerator), is_gpu


def _all_known(sizes: Iterable[int | None]) -> list[int] | None:
    known = []
    for size in sizes:
        if size is None:
            return None
        known.append(size)
    return known


def phrase_disk(left: Sequence[RunSettings]) -> list[str]:
    """Say what the runs that are left will keep on disk, and what is free there."""
    if not left:
        return []
    checkpoints = _all_known(estimate_checkpoint(settings) for settings in left)
    written = _all_known(estimate_representations(settings) for settings in left)
    shared: dict[str, int] = {}
    for settings in left:
        shared |= estimate_shared(settings)
    if checkpoints is None or written is None:
        return ["Disk: unknown: encoder or data are not on this machine"]
    kept = [size * bool(settings.keep_checkpoint) for size, settings in zip(checkpoints, left, strict=True)]
    passing = 2 * max(checkpoints)
    representations = f", {_gigabytes(sum(written))} of representations" if sum(written) else ""
    return [
        f"Disk, runs: {_gigabytes(sum(kept))} of checkpoints{representations}; while a run trains {_gigabytes(passing)} more (a "
        "new checkpoint is written before the old one goes)",
        _phrase_free(left[0].output_dir, sum(kept) + sum(written) + passing),
        f"Disk, cache: {_gigabytes(sum(shared.values()))} at most, shared by all runs: {_phrase_shared(shared)}",
        _phrase_free(left[0].cache_dir, sum(shared.values())),
    ]


def _phrase_shared(shared: Mapping[str, int]) -> str:
    kinds: dict[str, int] = {}
    for name, size in shared.items():
        kind = " ".join(name.split()[:2])
        kinds[kind] = kinds.get(kind, 0) + size
    return ", ".join(f"{_gigabytes(size)} of {kind}" for kind, size in kinds.items())


def _phrase_free(folder: Path, need: int) -> str:
    free = free_bytes(folder)
    verdict = "" if free > need else ": NOT ENOUGH; see keep_checkpoint=false, xling-cache prune, output_dir, cache_dir"
    return f"  free where {folder} is: {_gigabytes(free)}{verdict}"


def _gigabytes(n_bytes: int) -> str:
    """Format a number of bytes as gigabytes.

    >>> _gigabytes(1_234_000_000), _gigabytes(5_600_000)
    ('1.2 GB', '0.006 GB')
    """
    return f"{n_bytes / 1e9:.3f} GB" if n_bytes < 5e7 else f"{n_bytes / 1e9:.1f} GB"
