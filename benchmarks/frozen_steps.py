"""Times steps with the bottom k of L blocks frozen, against the arithmetic floor and Lightning's BackboneFinetuning.

Every way takes a step in turn, and ratios are taken between steps that follow each other: within a minute a shared machine's
speed changes by more than what is to be shown. Dropout is on in frozen blocks, as by default; a cached prefix has none.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import Tensor, nn

from benchmarks.material import as_a_run, classifier_of, encoder_of
from benchmarks.measure import timed
from xling.freezing import freeze_layers, plan_freezing
from xling.models.fast.prefix import blocks_up_to
from xling.models.fast.prefixed_examples import PrefixStates
from xling.models.fast.used_rows import UsedRowsEmbedding

BATCH, LENGTH, WARM_UP = 32, 48, 2
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KS = (3, 6, 9)
PIECES = range(5, 1000)
WAYS = ("k = 0", "frozen", "embeddings train", "cached", "BackboneFinetuning")


def batch_of(encoder: nn.Module) -> dict[str, Tensor]:
    """Make a batch of random pieces, all of one length: nothing but the depth of the backward pass differs."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(PIECES.start, PIECES.stop, (BATCH, LENGTH), generator=generator)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "label": torch.randint(0, 3, (BATCH,), generator=generator),
        "example_id": torch.arange(BATCH),
    }


def step_of(module: pl.LightningModule, load: Callable[[], dict[str, Tensor]], precision: str) -> Callable[[], None]:
    """Make one training step: the batch, forward, backward, clipping, AdamW over what trains."""
    module = module.to(DEVICE)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=5e-5, weight_decay=0.0, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        batch = {name: value.to(DEVICE) for name, value in load().items()}
        with torch.autocast(DEVICE, torch.bfloat16, enabled=precision == "bf16-mixed", cache_enabled=False):
            total, count = module.loss(batch)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()

    return step


def prepared(name: str, cache_dir: Path, k: int, way: str, precision: str, folder: Path) -> Callable[[], None]:
    """Prepare the step of one way, embeddings (but for one way) and `k` blocks frozen; `folder` is for stored prefixes."""
    module = as_a_run(classifier_of(encoder_of(name, cache_dir), languages=["en"]))
    encoder, batch = module.encoder, batch_of(module.encoder)
    load = partial(dict, batch)
    if way == "BackboneFinetuning":
        BackboneFinetuning.freeze(nn.ModuleList([encoder.embeddings, *encoder.encoder.layer[:k]]))
    elif way == "embeddings train":  # those that occur, as in a run
        freeze_layers(module, plan_freezing("bottom_k", k=k, embeddings=False))
        encoder.embeddings.word_embeddings = UsedRowsEmbedding(encoder.embeddings.word_embeddings, PIECES)
    else:
        freeze_layers(module, plan_freezing("embeddings") if way == "k = 0" else plan_freezing("bottom_k", k=k))
    if way == "cached":
        module.prefix_layer = k
        load = partial(with_prefix, batch, stored_prefix(encoder, batch, k, folder))
    return step_of(module.train(), load, precision)


def stored_prefix(encoder: nn.Module, batch: dict[str, Tensor], k: int, folder: Path) -> PrefixStates:
    """Store the output of the lowest `k` blocks for every example in a file."""
    with torch.no_grad(), blocks_up_to(encoder.eval(), k):
        output = encoder(batch["input_ids"], batch["attention_mask"])[0]
    states = PrefixStates(folder / f"{k}.f32", [LENGTH] * BATCH, output.shape[-1], is_new=True)
    for index, hidden_states in enumerate(output):
        states.put(index, hidden_states.numpy())
    return states


def with_prefix(batch: dict[str, Tensor], states: PrefixStates) -> dict[str, Tensor]:
    """Give the batch with its stored states, read and checked as in a run."""
    return batch | {"prefix": torch.stack(states.rows(range(BATCH)))}


def bench(name: str, cache_dir: Path, rounds: int, precision: str) -> str:
    """Measure the rows of the table: every way once per round and k."""
    n_layers = encoder_of(name, cache_dir).config.num_hidden_layers
    rows = []
    for k in KS:
        with tempfile.TemporaryDirectory() as folder:
            steps = {way: prepared(name, cache_dir, k, way, precision, Path(folder)) for way in WAYS}
            rows.append(_row(name, k, n_layers, seconds_of(steps, rounds)))
        print(rows[-1], flush=True)
    return "\n".join(rows)


def seconds_of(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Time every step in turn."""
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    for turn in range(WARM_UP + rounds):
        for way, step in steps.items():
            with timed() as taken:
                step()
            if turn >= WARM_UP:
                seconds[way].append(taken.value)
    return seconds


def _row(name: str, k: int, n_layers: int, seconds: dict[str, list[float]]) -> str:
    share = {
        way: median([one / other for one, other in zip(seconds[way], seconds["k = 0"], strict=True)]) for way in WAYS
    }
    left = (n_layers - k) / n_layers
    floor, cached_floor = 1 / 3 + 2 / 3 * left, left
    return (
        f"| {name} | {k} | {median(seconds['k = 0']):.3f} | {share['frozen']:.3f} | {floor:.3f} | "
        f"{share['frozen'] / floor - 1:+.1%} | {share['embeddings train']:.3f} | {share['cached']:.3f} | {cached_floor:.3f} | "
        f"{share['cached'] / cached_floor - 1:+.1%} | {share['BackboneFinetuning']:.3f} |"
    )


HEADER = (
    "| encoder | k | step at k = 0, s | x (k = 0) | floor 1/3 + 2/3 (L-k)/L | above it | embeddings train x (k = 0) "
    "| cached prefix x (k = 0) | floor (L-k)/L | above it | BackboneFinetuning x (k = 0) |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)
