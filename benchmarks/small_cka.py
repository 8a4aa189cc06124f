"""Measures CKA as users of the metrics alone call it: times of a plain function, at few rows and many; one layer, no base.

``python -m benchmarks.small_cka``; ratios of CPU seconds, round by round, in one process.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from xling.metrics import CKA
from xling.similarity import linear_cka


def plain(x: Tensor, y: Tensor) -> Tensor:
    """Compute CKA as most studies do: centred float32 features, three products of the smaller kind, biased."""
    x, y = x - x.mean(0), y - y.mean(0)
    if len(x) < x.shape[1]:
        a, b = x @ x.T, y @ y.T
        return (a * b).sum() / (a.norm() * b.norm())
    return (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


def streamed(x: Tensor, y: Tensor) -> Tensor:
    """Compute CKA by the metric, in one update."""
    metric = CKA(debiased=False)
    metric.update(x, y)
    return metric.compute()


OURS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear_cka, biased": lambda x, y: linear_cka(x, y, debiased=False),
    "linear_cka, debiased": lambda x, y: linear_cka(x, y, debiased=True),
    "metric CKA, biased": streamed,
}


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Measure the CPU seconds of a call, as the mean of several calls."""
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def ratios(n: int, d: int, rounds: int) -> dict[str, float]:
    """Compute the median ratio to the plain function, by name; ``plain`` itself in milliseconds."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator) + 3
    y = x + 0.3 * torch.randn(n, d, generator=generator)
    repeats = max(1, int(2e8 / (n * d * min(n, d))))
    found: dict[str, list[float]] = {name: [] for name in ("plain", *OURS)}
    for _ in range(rounds + 1):
        base = seconds(lambda: plain(x, y), repeats)
        found["plain"].append(1000 * base)
        for name, call in OURS.items():
            found[name].append(seconds(lambda call=call: call(x, y), repeats) / base)
    return {name: median(values[1:]) for name, values in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 300, 1000, 5000])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 768, 4096])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"| n | d | plain, ms | {' | '.join(f'{name}, x' for name in OURS)} |\n|{'---|' * (3 + len(OURS))}")
    for n in options.rows:
        for d in options.widths:
            found = ratios(n, d, options.rounds)
            print(f"| {n:,} | {d:,} | {' | '.join(f'{value:.2f}' for value in found.values())} |", flush=True)


if __name__ == "__main__":
    main()
