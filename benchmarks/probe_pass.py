"""What the epoch-end pass over 15 languages costs: logits alone, with impact, and as it is done by hand."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytorch_lightning as pl
import torch
from torch import Tensor
from xling.callbacks import ImpactMonitor
from xling.callbacks.base import BaseStore

from benchmarks.material import classifier_of, data_of, encoder_of, quiet_trainer
from benchmarks.measure import nothing_kept, peak_memory, timed
from xling.data.datamodule import TransferDataModule
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
        seconds = {way: [0.0] * rounds for way in passes}
        for turn in range(rounds):
            for language in data.target_languages:  # side by side within each language: the machine's speed drifts
                for way, callbacks in passes.items():
                    with timed() as taken:
                        validate(module, one_language(data, language), callbacks())
                    seconds[way][turn] += taken.value
            print(name, {way: round(values[turn], 1) for way, values in seconds.items()}, flush=True)
        megabytes = {
            way: memory_of(lambda c=callbacks: validate(module, data, c())) for way, callbacks in passes.items()
        }
    return "\n".join(_row(name, way, seconds, megabytes) for way in passes)


def one_language(data: TransferDataModule, language: str) -> TransferDataModule:
    """The same data with one target language."""
    part = copy.copy(data)
    part.probes = {language: data.probes[language]}
    return part


def memory_of(call: Callable[[], None]) -> float | None:
    """Peak of one call, MB above what was resident before."""
    with nothing_kept(), peak_memory() as memory:
        call()
    return memory.megabytes


def validate(module: pl.LightningModule, data, callbacks: list[pl.Callback]) -> None:
    """One validation pass."""
    quiet_trainer(callbacks).validate(module, data, verbose=False)


def _row(name: str, way: str, seconds: dict[str, list[float]], megabytes: dict[str, float | None]) -> str:
    alone, *_, by_hand = seconds
    ratios = sorted(one / other for one, other in zip(seconds[way], seconds[alone], strict=True))
    ratio = f"{median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    memory = "— | — | —"
    if megabytes[way] is not None:
        beyond, beyond_by_hand = (megabytes[each] - megabytes[alone] for each in (way, by_hand))
        memory = f"{megabytes[way]:.0f} | {beyond:.0f} | {beyond / beyond_by_hand:.2f}"
    return f"| {name} | {way} | {median(seconds[way]):.1f} | {ratio} | {memory} |"


HEADER = (
    "| encoder | epoch-end pass over 15 languages | seconds | x logits alone | peak memory, MB | beyond logits alone | "
    "x by hand |\n|---|---|---|---|---|---|---|"
)
