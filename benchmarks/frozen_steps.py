"""Step time with the bottom k of L blocks frozen, against the arithmetic floor and Lightning's BackboneFinetuning."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import Tensor, nn

from benchmarks.material import classifier_of, encoder_of, quiet_trainer
from benchmarks.measure import timed
from xling.freezing import freeze_layers, plan_freezing
from xling.models.prefix import blocks_up_to

BATCH, LENGTH, STEPS, WARM_UP = 32, 48, 5, 1
KS = (0, 3, 6, 9)


def batch_of(encoder: nn.Module) -> dict[str, Tensor]:
    """Random pieces, all of one length: nothing but the depth of the backward pass differs."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 1000, (BATCH, LENGTH), generator=generator)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "label": torch.randint(0, 3, (BATCH,), generator=generator),
        "example_id": torch.arange(BATCH),
    }


class Steps(pl.Callback):
    """Seconds of every training step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_start(self, *_, **__) -> None:
        self.timer = timed()
        self.value = self.timer.__enter__()

    def on_train_batch_end(self, *_, **__) -> None:
        self.timer.__exit__(None, None, None)
        self.seconds.append(self.value.value)


def step_seconds(module: pl.LightningModule, batch: dict[str, Tensor], callbacks: list[pl.Callback]) -> float:
    """Median seconds of a step under Lightning."""
    steps = Steps()
    with tempfile.TemporaryDirectory() as folder:
        trainer = quiet_trainer([steps, *callbacks], folder, max_steps=STEPS + WARM_UP)
        trainer.fit(module, torch.utils.data.DataLoader([batch] * (STEPS + WARM_UP), batch_size=None))
    return median(steps.seconds[WARM_UP:])


def frozen(name: str, cache_dir: Path, k: int, cached: bool) -> tuple[pl.LightningModule, dict[str, Any]]:
    """A module with the embeddings and `k` blocks frozen, dropout off in them, and its batch."""
    module = classifier_of(encoder_of(name, cache_dir), languages=["en"])
    plan = plan_freezing("bottom_k", k=k, dropout="off") if k else plan_freezing("embeddings", dropout="off")
    freeze_layers(module, plan)
    batch = batch_of(module.encoder)
    if cached:
        with torch.no_grad(), blocks_up_to(module.encoder.eval(), k):
            batch["prefix"] = module.encoder(batch["input_ids"], batch["attention_mask"])[0]
        module.prefix_layer = k
    return module.train(), batch


class Backbone(BackboneFinetuning):
    """BackboneFinetuning over the embeddings and the lowest k blocks."""

    def __init__(self, k: int) -> None:
        super().__init__(unfreeze_backbone_at_epoch=1000)
        self.k = k

    def setup(self, trainer, pl_module, stage) -> None:
        encoder = pl_module.encoder
        object.__setattr__(pl_module, "backbone", nn.ModuleList([encoder.embeddings, *encoder.encoder.layer[: self.k]]))
        super().setup(trainer, pl_module, stage)


def bench(name: str, cache_dir: Path, rounds: int) -> str:
    """Rows of the table, every way once per round."""
    ways: dict[tuple[int, str], list[float]] = {}
    n_layers = encoder_of(name, cache_dir).config.num_hidden_layers
    for _ in range(rounds):
        for k in KS:
            for way in ("frozen", "cached", "BackboneFinetuning"):
                module, batch = frozen(name, cache_dir, 0 if way == "BackboneFinetuning" else k, way == "cached")
                if way == "BackboneFinetuning":
                    module.requires_grad_(True)
                callbacks = [Backbone(k)] if way == "BackboneFinetuning" else []
                ways.setdefault((k, way), []).append(step_seconds(module, batch, callbacks))
    return "\n".join(_row(name, k, n_layers, ways) for k in KS)


def _row(name: str, k: int, n_layers: int, ways: dict[tuple[int, str], list[float]]) -> str:
    whole = ways[0, "frozen"]
    share = {
        way: median([one / other for one, other in zip(ways[k, way], whole, strict=True)])
        for way in ("frozen", "cached", "BackboneFinetuning")
    }
    left = (n_layers - k) / n_layers
    floor, cached_floor = 1 / 3 + 2 / 3 * left, left
    return (
        f"| {name} | {k} | {median(ways[k, 'frozen']):.3f} | {share['frozen']:.3f} | {floor:.3f} | "
        f"{share['frozen'] / floor - 1:+.1%} | {share['cached']:.3f} | {cached_floor:.3f} | "
        f"{share['cached'] / cached_floor - 1:+.1%} | {share['BackboneFinetuning']:.3f} |"
    )


HEADER = (
    "| encoder | k | step, s | x (k = 0) | floor 1/3 + 2/3 (L-k)/L | above it | cached prefix x (k = 0) | floor (L-k)/L | above it "
    "| BackboneFinetuning x (k = 0) |\n|---|---|---|---|---|---|---|---|---|---|"
)
