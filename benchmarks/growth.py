"""How the cost of impact grows with examples, languages, layers and width: streamed in batches of 64 against a base."""

import torch

from benchmarks.measure import interleaved
from xling.metrics import CKA
from xling.similarity import Marginal

START = {"examples": 1000, "languages": 2, "layers": 4, "width": 384}
BATCH = 64


def pass_over(examples: int, languages: int, layers: int, width: int) -> None:
    """CKA of every language and layer, on made-up rows."""
    rows = torch.randn(layers, BATCH, width, generator=torch.Generator().manual_seed(0))
    for _ in range(languages):
        base = Marginal.of(rows.repeat(1, examples // BATCH, 1))
        metric = CKA(debiased=True, base=base)
        for _ in range(examples // BATCH):
            metric.update(rows, rows + 1e-3)
        metric.compute()


def bench(rounds: int) -> str:
    """Rows of the table: one size doubled and doubled again at a time."""
    rows = []
    for grown in START:
        sizes = [START | {grown: START[grown] * factor} for factor in (1, 2, 4)]
        found = interleaved({str(size[grown]): (lambda size=size: pass_over(**size)) for size in sizes}, rounds)
        cells = " | ".join(f"{size}: {run}" for size, run in found.items())
        rows.append(f"| {grown} | {cells} |")
    return "\n".join(rows)


HEADER = (
    "Seconds (and extra memory, MB) of CKA alone, the base's self-term included, from "
    + ", ".join(f"{value:,} {name}" for name, value in START.items())
    + " on.\n\n| grown | at the start: s | MB | doubled: s | MB | fourfold: s | MB |\n|---|---|---|---|---|---|---|"
)
