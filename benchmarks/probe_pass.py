"""Measures what the epoch-end pass over 15 languages costs: logits alone, with impact, and as it is done by hand.

Of some ways alone, without memory, where the machine is busy:
``python -m benchmarks.speed --only probe --probe-pairs 450 --together 5 --cpu-seconds --ways "logits alone" "impact with all"``.
"""

import copy
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor

from benchmarks.material import as_a_run, classifier_of, data_of, encoder_of, quiet_trainer
from benchmarks.measure import Seconds, nothing_kept, peak_memory, timed
from xling.callbacks import ImpactMonitor, LinearProbes
from xling.models.pooling import masked_mean
from xling.probing.base_store import BaseStore


class ByHand(pl.Callback):
    """Does by hand what ImpactMonitor does: asks for all hidden states and keeps masked means of every layer for later."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.means: list[list[Tensor]] = []  # per batch and layer [batch, hidden]
        pl_module.encode = lambda batch: self.encode(pl_module.encoder, batch)

    def encode(self, encoder, batch) -> Tensor:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        output = encoder(**inputs, output_hidden_states=True)
        self.means.append([masked_mean(layer, batch["attention_mask"]) for layer in output.hidden_states])
        return output[0]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module.encode


class Predictions(pl.Callback):
    """Keeps predictions in the pass and makes the table of them that a run writes."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.keeps_predictions = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.table = pd.concat([pl_module.predictions(language) for language in pl_module.transfer])
        pl_module.keeps_predictions = False


class Passes:
    """An encoder, its probe sets, the base from before its weights changed, and the ways to go over the probe sets.

    Args:
        name: name of the encoder.
        root: folder of XNLI; None: mini_nli is taken instead.
        cache_dir: folder of decoded weights and tokenised data.
        n_probe: number of examples per language.
        folder: folder of the base, which is computed unless it is there.
        n_languages: number of languages, from the first on; None: all.
    """

    def __init__(
        self, name: str, root: Path | None, cache_dir: Path, n_probe: int, folder: Path, n_languages: int | None = None
    ) -> None:
        self.data = data_of(root, cache_dir, 30, n_probe)
        self.languages = list(self.data.target_languages)[:n_languages]
        self.data.probes = {language: self.data.probes[language] for language in self.languages}
        self.module = as_a_run(classifier_of(encoder_of(name, cache_dir)))
        base = BaseStore(folder, self.data.probe_fingerprints, is_keyed_by_weights=True)  # as runs have it
        if not all(base.has(language) for language in self.languages):
            monitor = ImpactMonitor(base=base)
            with monitor.capturing():
                validate(self.module, self.data, [monitor])
        with torch.no_grad():  # in place of training, so that the rows differ from those of the base
            for parameter in self.module.encoder.parameters():
                parameter.mul_(1.01)
        self.callbacks: dict[str, Callable[[], list[pl.Callback]]] = {
            "logits alone": lambda: [],
            "logits and impact (13 layers, CKA)": lambda: [ImpactMonitor(base=base)],
            "the same with jackknife intervals": lambda: [ImpactMonitor(base=base, uncertainty=["jackknife"])],
            "with shares of directions and groups besides": lambda: [
                ImpactMonitor(base=base, uncertainty=["jackknife", "concentration"])
            ],
            "impact, jackknife and linear classifiers": lambda: [
                ImpactMonitor(base=base, uncertainty=["jackknife"]),
                LinearProbes(base=base, labels="label"),
            ],
            "impact, jackknife and Procrustes": lambda: [
                ImpactMonitor(base=base, uncertainty=["jackknife"], similarity=["procrustes"])
            ],
            "impact with all of its warranty, and predictions": lambda: [
                ImpactMonitor(base=base, uncertainty=["jackknife", "concentration"], similarity=["procrustes"]),
                LinearProbes(base=base, labels="label"),
                Predictions(),
            ],
            "output_hidden_states=True, masked means": lambda: [ByHand()],
        }

    def run(self, way: str, languages: Sequence[str] | None = None) -> Seconds:
        """Go once over all languages, or over some, and give the time that this takes."""
        data = self.data
        if languages is not None:
            data = copy.copy(data)
            data.probes = {language: self.data.probes[language] for language in languages}
        return validate(self.module, data, self.callbacks[way]())


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        ways: beginnings of the ways' names; others are compared with the first. Empty: all ways.
        together: number of languages that one way goes over before the next way does; few, because a busy machine's speed drifts.
        languages: number of languages; None: all.
        in_cpu_seconds: whether to state the time of the processors, for a machine that others use; then no memory is measured.
    """

    ways: tuple[str, ...] = ()
    together: int = 1
    languages: int | None = None
    in_cpu_seconds: bool = False


def bench(name: str, root: Path | None, cache_dir: Path, n_probe: int, rounds: int, plan: Plan) -> str:
    """Measure every way in several rounds.

    Returns:
        Rows of a Markdown table under :data:`HEADER`: seconds, ratio to logits alone, memory and its ratio to the way by hand.
    """
    with tempfile.TemporaryDirectory() as folder:
        where = (name, root, cache_dir, n_probe, Path(folder), plan.languages)
        passes = Passes(*where)
        ways = [way for way in passes.callbacks if not plan.ways or way.startswith(plan.ways)]
        seconds = {way: [0.0] * rounds for way in ways}
        for turn in range(rounds):
            for some in batched(passes.languages, plan.together):
                for way in ways:
                    taken = passes.run(way, some)
                    seconds[way][turn] += taken.cpu if plan.in_cpu_seconds else taken.value
                print(name, {way: round(values[turn], 1) for way, values in seconds.items()}, flush=True)
        megabytes: dict[str, float | None] = dict.fromkeys(ways)
        if not plan.in_cpu_seconds:
            # in a process of its own, because in this one the freed blocks are scattered: new ones that do not fit into them add to
            # the memory that is measured
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
                peaks = {way: [fresh.apply(memory_of, (way, *where)) for _ in range(rounds)] for way in ways}
            megabytes = {way: None if None in found else median(found) for way, found in peaks.items()}
    return "\n".join(_row(name, way, seconds, megabytes) for way in seconds)


def batched(languages: list[str], n: int) -> list[list[str]]:
    """Split the languages into lists of n; the last may be shorter."""
    return [languages[start : start + n] for start in range(0, len(languages), n)]


def memory_of(way: str, *where) -> float | None:
    """Measure the peak memory of one pass, in MiB above what was in use before; `where` are the arguments of :class:`Passes`."""
    passes = Passes(*where)
    passes.run(way, passes.languages[:1])
    with nothing_kept(), peak_memory() as memory:
        passes.run(way)
    return memory.megabytes


def validate(module: pl.LightningModule, data, callbacks: list[pl.Callback]) -> Seconds:
    """Time one validation pass from its first hook to its last, which leaves out moving the module to a GPU and back."""
    taken: list[Seconds] = []
    with ExitStack() as clock:
        start = LambdaCallback(on_validation_start=lambda *_: taken.append(clock.enter_context(timed())))
        end = LambdaCallback(on_validation_end=lambda *_: clock.close())
        quiet_trainer([start, *callbacks, end]).validate(module, data, verbose=False)
    return taken[0]


def _row(name: str, way: str, seconds: dict[str, list[float]], megabytes: dict[str, float | None]) -> str:
    """Write one way's row; the first way is the pass with logits alone, the last one that by hand."""
    alone, by_hand = next(iter(seconds)), list(seconds)[-1]
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
