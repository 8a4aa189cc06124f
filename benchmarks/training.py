"""Training examples/s and peak memory beside transformers' Trainer: same model, batch, precision, data and optimiser.

A user would run transformers' run_xnli.py, which pads to 128, or its Trainer with dynamic padding and length grouping.
"""

import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments
from xling.callbacks import TrainUsedRows

from benchmarks.material import as_a_run, classifier_of, data_of, encoder_of, quiet_trainer, tokenizer
from benchmarks.measure import peak_memory, timed
from xling.freezing import freeze_layers, plan_freezing

WARM_UP = 2
"""Steps that are not counted: memory grows in them, and code is compiled."""


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        rate: examples/s, without the first steps.
        megabytes: peak above what was resident before.
        losses: of every step.
    """

    rate: float
    megabytes: float | None
    losses: list[float]


class Classifier(nn.Module):
    """The project's encoder and head as transformers' Trainer calls a model."""

    def __init__(self, module: pl.LightningModule) -> None:
        super().__init__()
        self.encoder, self.head = module.encoder, module.head

    def forward(self, input_ids, attention_mask, labels):
        logits = self.head(self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0], attention_mask)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Stopwatch:
    """When every step ended, and its loss."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.counts: list[int] = []
        self.losses: list[float] = []

    def step(self, n_examples: int, loss: float) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        self.counts.append(n_examples)
        self.losses.append(loss)

    def epoch(self, megabytes: float | None) -> Epoch:
        seconds = self.ends[-1] - self.ends[WARM_UP - 1]
        return Epoch(sum(self.counts[WARM_UP:]) / seconds, megabytes, self.losses)


class WatchTrainer(TrainerCallback):
    """Stops the time of transformers' Trainer; the loss is written by :class:`Watched`."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch, self.last = watch, (0, 0.0)

    def on_step_end(self, *_, **__) -> None:
        self.watch.step(*self.last)


class Watched(Trainer):
    """Trainer that tells its callback each step's examples and loss."""

    watcher: WatchTrainer

    def training_step(self, model, inputs, *rest):
        loss = super().training_step(model, inputs, *rest)
        self.watcher.last = (len(inputs["labels"]), float(loss))
        return loss


class WatchLightning(pl.Callback):
    """Stops the time of Lightning's trainer."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.watch.step(len(batch["example_id"]), float(outputs["loss"]))


def run_transformers(module: pl.LightningModule, data, batch_size: int, precision: str, grouped: bool) -> Epoch:
    """transformers' Trainer: padded to 128 as in run_xnli.py, or dynamic padding and grouping by length."""
    pieces = tokenizer(data.cache_dir)
    rows = [{"input_ids": row["input_ids"], "labels": row["label"]} for row in data.train.rows]
    collate = DataCollatorWithPadding(pieces) if grouped else DataCollatorWithPadding(pieces, "max_length", 128)
    watch = Stopwatch()
    watcher = WatchTrainer(watch)
    with tempfile.TemporaryDirectory() as folder, peak_memory() as memory:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=batch_size,
            num_train_epochs=1,
            train_sampling_strategy="group_by_length" if grouped else "random",
            bf16=precision == "bf16-mixed",
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            logging_strategy="no",
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = Watched(Classifier(module), arguments, collate, rows, callbacks=[watcher])
        trainer.watcher = watcher
        trainer.train()
    return watch.epoch(memory.megabytes)


def run_ours(module: pl.LightningModule, data, batch_size: int, precision: str) -> Epoch:
    """The project's data module, module and callback under Lightning."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, peak_memory() as memory:
        settings = {"max_epochs": 1, "precision": precision, "gradient_clip_val": 1.0, "limit_val_batches": 0}
        callbacks = [WatchLightning(watch), TrainUsedRows(lambda: data.train.pieces)]
        quiet_trainer(callbacks, folder, **settings).fit(module, data)
    return watch.epoch(memory.megabytes)


CONTESTANTS = {
    "transformers Trainer, padded to 128 (run_xnli.py)": lambda *a: run_transformers(*a, grouped=False),
    "transformers Trainer, dynamic padding, grouped by length": lambda *a: run_transformers(*a, grouped=True),
    "xling": run_ours,
    "xling, packed": run_ours,
    "xling, compiled": run_ours,
}


def bench(name: str, root: Path | None, cache_dir: Path, options: dict[str, Any]) -> str:
    """Every contestant once per round, each from the same weights; rows of the table."""
    data = data_of(root, cache_dir, options["n_train"], 30, batch_size=options["batch_size"])
    found: dict[str, list[Epoch]] = {contestant: [] for contestant in CONTESTANTS}
    rates = []
    for _ in range(options["rounds"]):
        rates.append(matrix_rate(options["precision"]))
        for contestant, run in CONTESTANTS.items():
            pl.seed_everything(1, verbose=False)
            module = classifier_of(encoder_of(name, cache_dir), packed=contestant.endswith("packed"))
            if contestant.startswith("xling"):
                as_a_run(module)
            if contestant.endswith("compiled"):
                module.encoder.compile(dynamic=True)
            freeze_layers(module, plan_freezing(options["freeze"]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[contestant].append(run(module, data, options["batch_size"], options["precision"]))
            print(f"{name}: {contestant}: {found[contestant][-1].rate:.1f} examples/s", flush=True)
    share = operations_per_example(name, data, cache_dir) / median(rates)
    return "\n".join(_row(name, contestant, epochs, found, share) for contestant, epochs in found.items())


def matrix_rate(precision: str) -> float:
    """Operations/s of one large matrix product in the precision that training computes in."""
    dtype = torch.float32 if precision == "32-true" else torch.bfloat16
    one, other = (
        torch.randn(4096, 4096, device="cuda" if torch.cuda.is_available() else "cpu").to(dtype) for _ in range(2)
    )
    seconds = []
    for _ in range(4):
        with timed() as taken:
            one @ other
        seconds.append(taken.value)
    return 2 * 4096**3 / median(seconds[1:])


def operations_per_example(name: str, data, cache_dir: Path) -> float:
    """6 for every weight of the blocks and real token: forward, and twice that backward; attention's own products left out."""
    blocks = sum(weight.numel() for weight in encoder_of(name, cache_dir).encoder.parameters())
    return 6 * blocks * float(data.train.lengths.mean())


def _row(name: str, contestant: str, epochs: list[Epoch], found: dict[str, list[Epoch]], share: float) -> str:
    rates = [epoch.rate for epoch in epochs]
    against = [
        median([a.rate / b.rate for a, b in zip(epochs, found[other], strict=True)]) for other in list(CONTESTANTS)[:2]
    ]
    quarter = mean(loss for epoch in epochs for loss in epoch.losses[-(len(epoch.losses) // 4) :])
    memory = max((epoch.megabytes for epoch in epochs if epoch.megabytes is not None), default=float("nan"))
    spread = f"{median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"
    ratios = f"{against[0]:.2f} | {against[1]:.2f} | {median(rates) * share:.0%}"
    return f"| {name} | {contestant} | {spread} | {ratios} | {memory:.0f} | {quarter:.3f} |"


HEADER = (
    "| encoder | training | examples/s | x padded | x grouped | share of the matrix rate | peak memory, MB "
    "| mean loss of the last quarter |\n|---|---|---|---|---|---|---|---|"
)
