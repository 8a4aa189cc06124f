"""Measures time, peak memory and error of linear CKA beside other packages: ``python -m benchmarks.bench_cka``.

Float32 features of 13 layers, n = 5010, d = 768, with ``|mean|^2 / total variance`` of 1, 10 and 1000. The error is the
largest over layers against float64. Peers are used where they are installed (``pip install -e '.[bench-cka]'``); those
that take models get modules that return the stored features. Prints a table and writes it to docs/bench_cka.md.
"""

import argparse
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, multiprocessing

from benchmarks.measure import Measured, interleaved, measured, together
from benchmarks.peers import peers
from xling.metrics import CKA
from xling.similarity import Marginal, linear_cka

LAYERS, N, D, BATCH = 13, 5010, 768, 64
RATIOS = (1, 10, 1000)
FULL_DISPERSION = 0.05  # share of y that is new noise: an impact of a few per cent, as after fine-tuning


def features(ratio: float, n: int = N, d: int = D) -> tuple[Tensor, Tensor]:
    """x and y ``[LAYERS, n, d]`` float32 whose ``|mean|^2`` is `ratio` times their total variance."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.linspace(1, 0.03, d)
    x = torch.randn(LAYERS, n, d, generator=generator).mul_(spectrum)
    y = torch.randn(LAYERS, n, d, generator=generator).mul_(spectrum).mul_(FULL_DISPERSION**0.5).add_(x)
    mean = torch.randn(d, generator=generator)
    mean *= (ratio * spectrum.square().sum()).sqrt() / mean.norm()
    return x.add_(mean), y.add_(mean)


def reference(x: Tensor, y: Tensor, debiased: bool) -> Tensor:
    """Compute CKA of every layer in float64, from centred features and the row sums of Song's estimator."""

    def hsic(a: Tensor, b: Tensor) -> Tensor:
        n, product = len(a), (b.T @ a).square().sum()
        if not debiased:
            return product
        norm_a, norm_b = a.square().sum(-1), b.square().sum(-1)
        rows_a, rows_b = a @ a.sum(0) - norm_a, b @ b.sum(0) - norm_b
        middle = rows_a.sum() * rows_b.sum() / ((n - 1) * (n - 2))
        return product - norm_a @ norm_b + middle - 2 / (n - 2) * (rows_a @ rows_b)

    values = []
    for one, other in zip(x, y, strict=True):
        a, b = (rows.double() - rows.double().mean(0) for rows in (one, other))
        values.append(hsic(a, b) / (hsic(a, a) * hsic(b, b)).sqrt())
    return torch.stack(values)


def plain(x: Tensor, y: Tensor) -> Tensor:
    """Compute CKA as most studies do: one layer at a time, three d x d products of centred float32 features (biased)."""
    values = []
    for one, other in zip(x, y, strict=True):
        a, b = one - one.mean(0), other - other.mean(0)
        values.append((b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm()))
    return torch.stack(values)


def streamed(x: Tensor, y: Tensor, base: Marginal, debiased: bool) -> Tensor:
    """Compute CKA by the metric, updated in batches of 64 as in a validation pass."""
    metric = CKA(debiased=debiased, base=base)
    for rows in zip(x.split(BATCH, 1), y.split(BATCH, 1), strict=True):
        metric.update(*rows)
    return metric.compute()


def one_shot(x: Tensor, y: Tensor, base: Marginal, debiased: bool) -> Tensor:
    """Compute CKA by the function, all rows at once."""
    return linear_cka(x, y, debiased=debiased, base=base)


def _rank(rank: int, folder: str, n: int, d: int) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    values = {}
    for ratio in RATIOS:
        x, y = features(ratio, n, d)
        half = slice(0, n // 3) if rank == 0 else slice(n // 3, n)
        for debiased in (False, True):
            metric = CKA(debiased=debiased)
            for rows in zip(x[:, half].split(BATCH, 1), y[:, half].split(BATCH, 1), strict=True):
                metric.update(*rows)
            values[ratio, debiased] = metric.compute()
    if rank == 0:
        torch.save(values, f"{folder}/values.pt")
    torch.distributed.destroy_process_group()


def two_processes(n: int, d: int) -> dict:
    """Compute CKA at every mean, each of two gloo processes seeing an uneven share of the rows in batches of 64."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_rank, (folder, n, d), nprocs=2)
        return torch.load(f"{folder}/values.pt")


def largest_error(value: Tensor, truth: Tensor) -> str:
    """Find the largest absolute error over layers, as the table prints it."""
    return f"{float((value.double() - truth).abs().max()):.0e}"


def bench(n: int, d: int, rounds: int) -> str:
    """Run everything and phrase the table."""
    x, y = features(RATIOS[0], n, d)
    base = Marginal.of(x)
    runs = interleaved({name: (lambda run=run: run(x, y, base)) for name, (_, run) in OURS.items()}, rounds)
    print("\n".join(f"{name}: {run} MB" for name, run in runs.items()), file=sys.stderr, flush=True)
    others, shared = peers(LAYERS, BATCH), two_processes(n, d)
    errors = {name: [] for name in [*OURS, *PARALLEL, *others]}
    calls: dict[str, list[Measured]] = {name: [] for name in others}
    for ratio in RATIOS:
        x, y = features(ratio, n, d)
        base = Marginal.of(x)
        truth = {debiased: reference(x, y, debiased) for debiased in (False, True)}
        for name, (debiased, run) in OURS.items():
            errors[name].append(largest_error(run(x, y, base), truth[debiased]))
        for name, debiased in PARALLEL.items():
            errors[name].append(largest_error(shared[ratio, debiased], truth[debiased]))
        for name, (debiased, run) in others.items():
            value, call = measured(lambda run=run, x=x, y=y: run(x, y))
            errors[name].append(largest_error(value, truth[debiased]))
            calls[name].append(call)
            print(f"{name} at {ratio}: {call} MB, error {errors[name][-1]}", file=sys.stderr, flush=True)
    runs |= {name: together(of_peer) for name, of_peer in calls.items()}
    return table(runs, errors, n, d) + targets(runs)


OURS = {
    "plain feature-space function": (False, lambda x, y, base: plain(x, y)),
    "xling, one shot, biased": (False, lambda x, y, base: one_shot(x, y, base, False)),
    "xling, one shot, debiased": (True, lambda x, y, base: one_shot(x, y, base, True)),
    "xling, batches of 64, biased": (False, lambda x, y, base: streamed(x, y, base, False)),
    "xling, batches of 64, debiased": (True, lambda x, y, base: streamed(x, y, base, True)),
}
"""Timed in turns: (whether debiased, function of x, y and the sums of the base)."""

PARALLEL = {"xling, 2 processes, biased": False, "xling, 2 processes, debiased": True}
"""Measured for their error alone."""


def table(runs: dict[str, Measured], errors: dict[str, list[str]], n: int, d: int) -> str:
    """Write the Markdown table, one row per function."""
    lines = [
        f"n = {n}, d = {d}, {LAYERS} layers, float32, {torch.get_num_threads()} threads, {platform.machine()}, "
        f"torch {torch.__version__}; sums of the base given to xling; time: median (fastest to slowest);"
        " error: largest over layers against float64, at each |mean|^2 / total variance",
        "",
        "| | time, s | extra memory, MB | " + " | ".join(f"error at {ratio}" for ratio in RATIOS) + " |",
        "|---|---|---|" + "---|" * len(RATIOS),
    ]
    for name, found in errors.items():
        cost = f"{runs[name]}" if name in runs else "— | —"
        lines.append(f"| {name} | {cost} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def targets(runs: dict[str, Measured]) -> str:
    """Measure the ratios that the project promises, round by round so that a busy machine slows both sides."""
    against = runs["plain feature-space function"].seconds
    lines = [""]
    for name in ("xling, one shot, debiased", "xling, batches of 64, debiased"):
        shares = [ours / plain for ours, plain in zip(runs[name].seconds, against, strict=True)]
        lines.append(f"- {name}: {median(shares):.2f} x the plain function ({min(shares):.2f} to {max(shares):.2f})")
        for peer in (peer for peer in runs if peer.startswith("pytorch-cka")):
            faster = median(runs[peer].seconds) / median(runs[name].seconds)
            lines.append(f"- {name}: {faster:.1f} x faster than {peer}'s all-pairs call")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--d", type=int, default=D)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--output", type=Path, default=Path("docs/bench_cka.md"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", module="torch_cka|tqdm")
    text = bench(options.n, options.d, options.rounds)
    print(text)
    options.output.write_text("# Linear CKA, measured\n\n`make bench-cka` writes this file.\n\n" + text)


if __name__ == "__main__":
    main()
