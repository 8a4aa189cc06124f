"""What the epoch-end pass over 15 languages costs: logits alone, with impact, and as it is done by hand."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor
from xling.callbacks import ImpactMonitor
from xling.callbacks.base import BaseStore

from benchmarks.material import classifier_of, data_of, encoder_of, quiet_trainer
from benchmarks.measure import Measured, peak_memory, timed, together
from xling.pooling import masked_mean


class ByHand(pl.Callback):
    """``output_hidden_states=True``, masked means of every layer kept for a comparison later."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.kept: list[list[Tensor]] = []
        pl_module.encode = lambda batch: self.encode(pl_module.encoder, batch)

    def encode(self, encoder, batch) -> Tensor:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        output = encoder(**inputs, output_hidden_states=True)
        self.kept.append([masked_mean(layer, batch["attention_mask"]) for layer in output.hidden_states])
        return output[0]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module.encode


def bench(name: str, root: Path | None, cache_dir: Path, n_probe: int, rounds: int) -> str:
    """Rows of the table: seconds, ratio to logits alone, memory and its ratio to the way by hand."""
    data = data_of(root, cache_dir, 30, n_probe)
    module = classifier_of(encoder_of(name, cache_dir))
    with tempfile.TemporaryDirectory() as folder:
        base = BaseStore(Path(folder), data.probe_fingerprints)
        validate(module, data, [ImpactMonitor(base=base)])  # stores the base
        with torch.no_grad():
            for parameter in module.encoder.parameters():
                parameter.mul_(1.01)
        passes: dict[str, Callable[[], list[pl.Callback]]] = {
            "logits alone": lambda: [],
            "logits and impact (13 layers, CKA)": lambda: [ImpactMonitor(base=base)],
            "the same with jackknife intervals": lambda: [ImpactMonitor(base=base, uncertainty=["jackknife"])],
            "output_hidden_states=True, masked means": lambda: [ByHand()],
        }
        found: dict[str, list[Measured]] = {way: [] for way in passes}
        for _ in range(rounds):
            for way, callbacks in passes.items():
                found[way].append(measure(module, data, callbacks()))
                print(f"{name}: {way}: {found[way][-1]}", flush=True)
    return "\n".join(_row(name, way, found) for way in found)


def measure(module: pl.LightningModule, data, callbacks: list[pl.Callback]) -> Measured:
    """Time and memory of one validation of all languages."""
    with peak_memory() as memory, timed() as seconds:
        validate(module, data, callbacks)
    return Measured([seconds.value], memory.megabytes)


def validate(module: pl.LightningModule, data, callbacks: list[pl.Callback]) -> None:
    """One validation pass."""
    quiet_trainer(callbacks).validate(module, data, verbose=False)


def _row(name: str, way: str, found: dict[str, list[Measured]]) -> str:
    ways = list(found)
    runs, alone, by_hand = (together(found[key]) for key in (way, ways[0], ways[-1]))
    ratios = sorted(one / other for one, other in zip(runs.seconds, alone.seconds, strict=True))
    ratio = f"{ratios[len(ratios) // 2]:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    memory = "— | — | —"
    if runs.megabytes is not None:
        beyond, beyond_by_hand = runs.megabytes - alone.megabytes, by_hand.megabytes - alone.megabytes
        memory = f"{runs.megabytes:.0f} | {beyond:.0f} | {beyond / beyond_by_hand:.2f}"
    return f"| {name} | {way} | {sorted(runs.seconds)[len(runs.seconds) // 2]:.1f} | {ratio} | {memory} |"


HEADER = (
    "| encoder | epoch-end pass over 15 languages | seconds | x logits alone | peak memory, MB | beyond logits alone | "
    "x by hand |\n|---|---|---|---|---|---|---|"
)
