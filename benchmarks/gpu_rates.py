"""Measures what a device multiplies, and how near the CKA of all layers comes to that: ``python -m benchmarks.gpu_rates``."""

import argparse
import json
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from benchmarks.measure import peak_memory, timed
from xling.metrics import CKA
from xling.similarity import linear_cka

LAYERS = 13
ROUNDS = 5


def seconds_of(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Time the median of some calls after one to warm up."""
    call()
    found = []
    for _ in range(rounds):
        with timed() as taken:
            call()
        found.append(taken.value)
    return median(found)


def product_rate(device: str, size: int, dtype: torch.dtype, tf32: bool = False) -> float:
    """Measure the operations per second of one square matrix product."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        a, b = (torch.randn(size, size, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
        return 2 * size**3 / seconds_of(lambda: a @ b)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def plain(x: Tensor, y: Tensor) -> Tensor:
    """Compute biased linear CKA as one would write it (Kornblith et al. 2019, equation 4)."""
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())


def streamed(x: Tensor, y: Tensor, batch: int) -> list[float]:
    """Update the metric of every layer over batches, as the callback feeds it."""
    metrics = [CKA().to(x.device) for _ in x]
    for one, other in zip(x.split(batch, dim=1), y.split(batch, dim=1), strict=True):
        for metric, a, b in zip(metrics, one, other, strict=True):
            metric.update(a, b)
    return [float(metric.compute()) for metric in metrics]


def cka(device: str, n: int, d: int) -> dict[str, float]:
    """Measure seconds and memory of the CKA of all layers in three ways, and what fraction of the float32 rate each reaches."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(LAYERS, n, d, generator=generator).to(device)
    y = (x.cpu() + torch.randn(LAYERS, n, d, generator=generator)).to(device)
    ways = {
        "plain": lambda: [float(plain(a, b)) for a, b in zip(x, y, strict=True)],
        "one_shot": lambda: [float(linear_cka(a, b, debiased=True)) for a, b in zip(x, y, strict=True)],
        "streamed_64": lambda: streamed(x, y, 64),
    }
    rate = product_rate(device, min(4096, 4 * d), torch.float32)
    operations = LAYERS * 3 * 2 * n * d * d
    found: dict[str, float] = {}
    for name, way in ways.items():
        found[f"{name}_s"] = seconds_of(way, 3)
        found[f"{name}_share_of_float32_rate"] = operations / found[f"{name}_s"] / rate
        with peak_memory() as memory:
            way()
        found[f"{name}_mb"] = memory.megabytes or float("nan")
    return found


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--examples", type=int, default=5010)
    parser.add_argument("--size", type=int, default=8192, help="of the square matrices that are multiplied")
    options = parser.parse_args()
    rates = {
        "float32": product_rate(options.device, options.size, torch.float32),
        "tf32": product_rate(options.device, options.size, torch.float32, tf32=True),
        "bfloat16": product_rate(options.device, options.size, torch.bfloat16),
    }
    similarity = {f"width_{d}": cka(options.device, options.examples, d) for d in (384, 768)}
    print(json.dumps({"operations_per_second": rates, "cka_of_13_layers": similarity}))


if __name__ == "__main__":
    main()
