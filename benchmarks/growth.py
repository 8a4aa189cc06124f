"""Measures how costs grow with examples, languages, layers and width: CKA by itself, the epoch-end pass and a training step."""

import copy
import tempfile
from pathlib import Path
from statistics import median

import torch
from transformers import AutoModel, BertConfig

from benchmarks.frozen_steps import DEVICE, step_of
from benchmarks.material import as_a_run, classifier_of, data_of, tokenizer
from benchmarks.measure import interleaved, timed
from benchmarks.probe_pass import validate
from xling.callbacks import ImpactMonitor
from xling.freezing import freeze_layers, plan_freezing
from xling.metrics import CKA
from xling.probing.base_store import BaseStore
from xling.similarity import Marginal

OF_CKA = {"examples": 1000, "languages": 2, "layers": 4, "width": 384}
OF_A_RUN = {"examples": 32, "languages": 2, "layers": 4, "width": 192}
FACTORS = (1, 2, 4)
BATCH = 64


def cka_over(examples: int, languages: int, layers: int, width: int) -> None:
    """Compute CKA of every language and layer, on made-up rows."""
    rows = torch.randn(layers, BATCH, width, generator=torch.Generator().manual_seed(0))
    for _ in range(languages):
        base = Marginal.of(rows.repeat(1, examples // BATCH, 1))
        metric = CKA(debiased=True, base=base)
        for _ in range(examples // BATCH):
            metric.update(rows, rows + 1e-3)
        metric.compute()


class Run:
    """A random encoder of `layers` blocks and `width`, and `examples` probe pairs in each of `languages`."""

    def __init__(self, root: Path | None, cache_dir: Path, precision: str, folder: Path, **size: int) -> None:
        layers, width = size["layers"], size["width"]
        shape = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
        config = BertConfig(vocab_size=len(tokenizer(cache_dir)), num_attention_heads=width // 64, **shape)
        self.module = as_a_run(classifier_of(AutoModel.from_config(config, add_pooling_layer=False)))
        self.data = copy.copy(data_of(root, cache_dir, 32, size["examples"]))
        self.data.probes = dict(list(self.data.probes.items())[: size["languages"]])
        self.base = BaseStore(folder, self.data.probe_fingerprints)
        monitor = ImpactMonitor(base=self.base)
        with monitor.capturing():
            self.validate([monitor])
        freeze_layers(self.module, plan_freezing("embeddings"))
        batch = next(iter(self.data.train_dataloader()))
        inputs = {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}
        self.step = step_of(self.module, lambda: inputs, precision)

    def validate(self, callbacks: list) -> float:
        """Time one pass over the probe sets, on the processor or the GPU that Lightning finds."""
        return validate(self.module, self.data, callbacks).value

    def measure(self) -> tuple[float, float, float]:
        """Measure the seconds of a training step, of the pass for logits alone, and of the pass with impact."""
        self.module.train().to(DEVICE)  # a pass leaves it on the processor
        with timed() as step:
            self.step()
        return step.value, self.validate([]), self.validate([ImpactMonitor(base=self.base)])


def bench(rounds: int) -> str:
    """Measure the rows of the first table: one size doubled and doubled again at a time."""
    rows = []
    for grown, sizes in _sizes(OF_CKA):
        found = interleaved({str(size[grown]): (lambda size=size: cka_over(**size)) for size in sizes}, rounds)
        cells = " | ".join(f"{size}: {run}" for size, run in found.items())
        rows.append(f"| {grown} | {cells} |")
    return "\n".join(rows)


def bench_runs(root: Path | None, cache_dir: Path, precision: str, rounds: int) -> str:
    """Measure the rows of the second table."""
    rows = []
    for grown, sizes in _sizes(OF_A_RUN):
        cells = []
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                run = Run(root, cache_dir, precision, Path(folder), **size)
                steps, alone, impact = zip(*[run.measure() for _ in range(rounds + 1)][1:], strict=True)
            ratio = median(one / other for one, other in zip(impact, alone, strict=True))
            cells.append(f"{size[grown]}: {median(steps):.3f} | {median(alone):.2f} | {ratio:.2f}")
        rows.append(f"| {grown} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return "\n".join(rows)


def _sizes(start: dict[str, int]) -> list[tuple[str, list[dict[str, int]]]]:
    return [(grown, [start | {grown: value * factor} for factor in FACTORS]) for grown, value in start.items()]


def _phrase(start: dict[str, int]) -> str:
    return ", ".join(f"{value:,} {name}" for name, value in start.items())


HEADER = (
    f"Seconds (and extra memory, MB) of CKA alone, the sums over the base included, from {_phrase(OF_CKA)} on.\n\n"
    "| grown | at the start: s | MB | doubled: s | MB | fourfold: s | MB |\n|---|---|---|---|---|---|---|"
)
HEADER_OF_RUNS = (
    f"A random BERT, from {_phrase(OF_A_RUN)} on: seconds of a training step over 32 pairs (embeddings frozen), of the pass "
    "at an epoch's end for logits alone, and how many times that the pass takes with impact at all layers.\n\n"
    "| grown | at the start: step, s | pass, s | with impact, x | doubled: step, s | pass, s | with impact, x "
    "| fourfold: step, s | pass, s | with impact, x |\n|---|---|---|---|---|---|---|---|---|---|"
)
