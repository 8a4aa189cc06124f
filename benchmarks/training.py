"""Measures training examples/s and peak memory beside transformers' Trainer: same model, batch, precision, data and optimiser.

A user would run transformers' run_xnli.py, which pads to 128, or its Trainer with dynamic padding and length grouping.
"""

import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from benchmarks.material import as_a_run, classifier_of, data_of, encoder_of, quiet_trainer, tokenizer
from benchmarks.measure import peak_memory, timed
from xling.callbacks import TrainUsedRows
from xling.data.datamodule import TransferDataModule
from xling.freezing import freeze_layers, plan_freezing, switch_off_dropout

WARM_UP = 2
"""Number of first steps that are not counted, because memory grows and code is compiled in them."""
BATCH_SIZE = 32


@dataclass(frozen=True)
class Settings:
    """What a round of training is like.

    Attributes:
        encoder: name of the encoder.
        root: folder of XNLI.
        cache_dir: folder of decoded weights and tokenised data.
        n_train: number of examples that batches are made of.
        n_steps: number of steps that are counted.
        precision: precision, as Lightning spells it.
        freeze: freezing strategy.
        threads: number of torch's threads.
    """

    encoder: str
    root: Path | None
    cache_dir: Path
    n_train: int
    n_steps: int
    precision: str
    freeze: str
    threads: int

    def data(self, seed: int = 0) -> TransferDataModule:
        """Make the data module with the first `n_train` pairs and 30 probe pairs, in the order that `seed` gives."""
        return data_of(self.root, self.cache_dir, self.n_train, 30, batch_size=BATCH_SIZE, seed=seed)


@dataclass(frozen=True)
class Course:
    """Some steps of training.

    Attributes:
        rate: tokens per second that are not padding, without the first steps.
        padding: share of padding among all tokens, 0..1.
        megabytes: peak memory above what was resident before, in MB.
        losses: loss of every step.
    """

    rate: float
    padding: float
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
    """When every step ended, its tokens and its loss."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.real: list[int] = []
        self.all: list[int] = []
        self.losses: list[float] = []

    def step(self, mask: Tensor, loss: Tensor) -> None:
        """Note that a step over examples with this attention mask has ended."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        self.real.append(int(mask.sum()))
        self.all.append(mask.numel())
        self.losses.append(float(loss))

    def course(self, megabytes: float | None) -> Course:
        """Give the course of all steps."""
        seconds = self.ends[-1] - self.ends[WARM_UP - 1]
        padding = 1 - sum(self.real[WARM_UP:]) / sum(self.all[WARM_UP:])
        return Course(sum(self.real[WARM_UP:]) / seconds, padding, megabytes, self.losses)


class WatchTrainer(TrainerCallback):
    """Stops the time of transformers' Trainer; what the step was is written by :class:`Watched`."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.last: tuple[Tensor, Tensor]

    def on_step_end(self, *_, **__) -> None:
        self.watch.step(*self.last)


class Watched(Trainer):
    """Trainer that tells its callback each step's mask and loss, and takes its batches in random order.

    Grouped by length they come longest first within 50, of which a few steps would see long ones alone.
    """

    watcher: WatchTrainer

    def training_step(self, model, inputs, *rest):
        loss = super().training_step(model, inputs, *rest)
        self.watcher.last = (inputs["attention_mask"], loss.detach())
        return loss

    def _get_train_sampler(self, *arguments) -> list[int]:
        order = torch.tensor(list(super()._get_train_sampler(*arguments)))
        batches = order.split(self.args.train_batch_size)
        generator = torch.Generator().manual_seed(self.args.seed)
        return torch.cat([batches[index] for index in torch.randperm(len(batches), generator=generator)]).tolist()


class WatchLightning(pl.Callback):
    """Stops the time of Lightning's trainer."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.watch.step(batch["attention_mask"], outputs["loss"])


def run_transformers(module: pl.LightningModule, data: TransferDataModule, settings: Settings, grouped: bool) -> Course:
    """Train by transformers' Trainer, padded to 128 as in run_xnli.py, or dynamic padding and grouping by length."""
    pieces = tokenizer(data.cache_dir)
    rows = [{"input_ids": row["input_ids"], "labels": row["label"]} for row in data.train.rows]
    collate = DataCollatorWithPadding(pieces) if grouped else DataCollatorWithPadding(pieces, "max_length", 128)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, peak_memory() as memory:
        material = {"data_collator": collate, "train_dataset": rows}
        trainer = watched(module, watch, settings, folder, grouped=grouped, seed=data.seed, **material)
        trainer.train()
    return watch.course(memory.megabytes)


def watched(
    module: pl.LightningModule, watch: Stopwatch, settings: Settings, folder: str, *, grouped: bool, seed: int, **rest
) -> Watched:
    """Make transformers' Trainer with run_xnli.py's recipe for the project's encoder and head."""
    watcher = WatchTrainer(watch)
    arguments = TrainingArguments(
        folder,
        per_device_train_batch_size=BATCH_SIZE,
        max_steps=WARM_UP + settings.n_steps,
        seed=seed,
        train_sampling_strategy="group_by_length" if grouped else "random",
        bf16=settings.precision == "bf16-mixed",
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = Watched(Classifier(module), arguments, callbacks=[watcher], **rest)
    trainer.watcher = watcher
    return trainer


def run_ours(module: pl.LightningModule, data: TransferDataModule, settings: Settings) -> Course:
    """Train with the project's data module, module and callback under Lightning."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, peak_memory() as memory:
        callbacks = [WatchLightning(watch), TrainUsedRows(lambda: data.train.pieces)]
        lightning(callbacks, folder, settings).fit(module, data)
    return watch.course(memory.megabytes)


def lightning(callbacks: list[pl.Callback], folder: str, settings: Settings) -> pl.Trainer:
    """Make Lightning's trainer as a run has it."""
    steps = {"max_epochs": 1, "max_steps": WARM_UP + settings.n_steps, "limit_val_batches": 0}
    return quiet_trainer(callbacks, folder, precision=settings.precision, gradient_clip_val=1.0, **steps)


CONTESTANTS = {
    "transformers Trainer, padded to 128 (run_xnli.py)": partial(run_transformers, grouped=False),
    "transformers Trainer, dynamic padding, grouped by length": partial(run_transformers, grouped=True),
    "xling": run_ours,
    "xling, packed": run_ours,
    "xling, compiled": run_ours,
}


def has_trainer() -> bool:
    """Whether transformers' Trainer can be made here: it needs accelerate, which the extra `bench` installs."""
    return find_spec("accelerate") is not None


def contestants() -> list[str]:
    """List the contestants that can run here: without accelerate only ours, so that something is measured in any case."""
    if has_trainer():
        return list(CONTESTANTS)
    print("accelerate is not installed (pip install 'xling[bench]'): transformers' Trainer is left out", flush=True)
    return [contestant for contestant in CONTESTANTS if not contestant.startswith("transformers")]


def bench(settings: Settings, rounds: int) -> str:
    """Measure every contestant once per round, from the same weights, each in a process of its own; rows of the table."""
    found: dict[str, list[Course]] = {contestant: [] for contestant in contestants()}
    rates = []
    for seed in range(rounds):
        rates.append(matrix_rate(settings.precision))
        for contestant in found:
            found[contestant].append(in_a_process_of_its_own(course_of, contestant, settings, seed))
            print(f"{settings.encoder}: {contestant}: {found[contestant][-1].rate:.0f} tokens/s", flush=True)
    length = float(settings.data().train.lengths.mean())
    share = operations_per_token(settings) / median(rates)
    return "\n".join(_row(settings.encoder, contestant, found, length, share) for contestant in found)


def in_a_process_of_its_own(call, *arguments) -> Any:
    """Call a function in a process of its own, since freed blocks of what ran before would be in its memory and time."""
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(call, arguments)


def course_of(contestant: str, settings: Settings, seed: int) -> Course:
    """Run one contestant's steps; the seed is that of batches and dropout."""
    torch.set_num_threads(settings.threads)
    module, data = module_of(settings, packed=contestant.endswith("packed")), settings.data(seed)
    if contestant.startswith("xling"):
        as_a_run(module)
    if contestant.endswith("compiled"):
        module.encoder.compile(dynamic=True)
    pl.seed_everything(seed, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CONTESTANTS[contestant](module, data, settings)


def module_of(settings: Settings, **others) -> pl.LightningModule:
    """Make the module, always with the same weights."""
    torch.manual_seed(0)
    module = classifier_of(encoder_of(settings.encoder, settings.cache_dir), **others)
    freeze_layers(module, plan_freezing(settings.freeze))
    return module


def largest_difference(settings: Settings) -> float:
    """Find the largest difference in loss of any step, when both trainers get the project's batches, no dropout and float32."""
    torch.set_num_threads(settings.threads)
    losses = []
    batches = [
        {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        for batch, _ in zip(settings.data().train_dataloader(), range(WARM_UP + settings.n_steps), strict=False)
    ]
    for run in (_given_to_transformers, _given_to_ours):
        module, watch = module_of(settings), Stopwatch()
        switch_off_dropout(module)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(module.train(), batches, watch, settings, folder)
        losses.append(watch.losses)
    return max(abs(one - other) for one, other in zip(*losses, strict=True))


def _given_to_transformers(module, batches: list[dict[str, Tensor]], watch: Stopwatch, settings, folder: str) -> None:
    names = {"input_ids": "input_ids", "attention_mask": "attention_mask", "label": "labels"}
    renamed = [{names[name]: value for name, value in batch.items() if name in names} for batch in batches]
    trainer = watched(module, watch, settings, folder, grouped=False, seed=0)
    trainer.get_train_dataloader = lambda: torch.utils.data.DataLoader(renamed, batch_size=None)
    trainer.train()


def _given_to_ours(module, batches: Iterable[dict[str, Tensor]], watch: Stopwatch, settings, folder: str) -> None:
    as_a_run(module)
    used = torch.cat([batch["input_ids"].flatten() for batch in batches]).unique().tolist()
    callbacks = [WatchLightning(watch), TrainUsedRows(lambda: used)]
    lightning(callbacks, folder, settings).fit(module, torch.utils.data.DataLoader(batches, batch_size=None))


def matrix_rate(precision: str) -> float:
    """Measure the operations per second of one large matrix product in the precision that training computes in."""
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


def operations_per_token(settings: Settings) -> float:
    """Count 6 operations for every weight of the blocks: 2 forward and 4 backward; attention's own products are left out."""
    blocks = encoder_of(settings.encoder, settings.cache_dir).encoder
    return 6 * sum(weight.numel() for weight in blocks.parameters())


def _row(encoder: str, contestant: str, found: dict[str, list[Course]], length: float, share: float) -> str:
    courses = found[contestant]
    rates = [course.rate / length for course in courses]
    against = [
        f"{median([one.rate / other.rate for one, other in zip(courses, found[name], strict=True)]):.2f}"
        if name in found
        else "—"
        for name in list(CONTESTANTS)[:2]
    ]
    spread = f"{median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"
    ratios = f"{against[0]} | {against[1]} | {median(course.rate for course in courses) * share:.0%}"
    padding = 0.0 if contestant.endswith("packed") else mean(course.padding for course in courses)
    peaks = [course.megabytes for course in courses if course.megabytes is not None]
    memory = f"{median(peaks):.0f}" if peaks else "—"
    late = [loss for course in courses for loss in course.losses[len(course.losses) // 2 :]]
    return f"| {encoder} | {contestant} | {spread} | {ratios} | {padding:.0%} | {memory} | {mean(late):.3f} |"


HEADER = (
    "Examples of the mean length/s: tokens that are not padding, by the mean length of the examples that batches are made of.\n\n"
    "| encoder | training | examples/s | x padded | x grouped | share of the matrix rate | padding | peak memory, MB "
    "| mean loss of the later half |\n|---|---|---|---|---|---|---|---|---|"
)
