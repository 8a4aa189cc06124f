"""Counts how often the delete-group jackknife interval covers the true value (docs/similarity.md has the table).

    python benchmarks/grouped_coverage.py           # a few minutes on one core

Rows are ``sqrt(icc) b_a + sqrt(1 - icc) e_i``, b of the group and e of the row, independent and normal with variances
1, 1/2, 1/3, ... per feature; the other side is ``sqrt(1 - impact) x + sqrt(impact) z`` with z drawn like x, which makes the
CKA of the population exactly 1 - impact.
"""

import argparse
import math

import torch

from xling.similarity import jackknife_cka

IMPACTS = (1e-4, 0.01, 0.3, 0.97, 1.0)
ICCS = (0.0, 0.5, 0.8)


def draw_rows(generator: torch.Generator, sizes: torch.Tensor, width: int, icc: float) -> torch.Tensor:
    """Draw rows ``[n, width]`` of groups of these sizes, float64."""
    scale = torch.arange(1, width + 1, dtype=torch.float64).rsqrt()
    shared = torch.randn(len(sizes), width, generator=generator, dtype=torch.float64)
    own = torch.randn(int(sizes.sum()), width, generator=generator, dtype=torch.float64)
    return (math.sqrt(icc) * shared.repeat_interleave(sizes, 0) + math.sqrt(1 - icc) * own) * scale


def draw_pair(generator: torch.Generator, sizes: torch.Tensor, width: int, icc: float, impact: float):
    """Draw two sides whose CKA in the population is 1 - impact."""
    x, z = (draw_rows(generator, sizes, width, icc) for _ in range(2))
    return x, math.sqrt(1 - impact) * x + math.sqrt(impact) * z


def coverage(
    n_datasets: int, sizes: torch.Tensor, width: int, icc: float, impact: float, seed: int
) -> dict[str, float]:
    """Count the fraction of data sets whose 95 % interval holds 1 - impact, by estimator, and means of value and error."""
    generator = torch.Generator().manual_seed(seed)
    groups = torch.arange(len(sizes)).repeat_interleave(sizes)
    hits = {"grouped": 0, "Song": 0}
    values = []
    for _ in range(n_datasets):
        x, y = draw_pair(generator, sizes, width, icc, impact)
        for name in hits:
            found = jackknife_cka(x, y, groups, debiased=True, over_groups=name == "grouped")
            hits[name] += found.interval[0] <= 1 - impact <= found.interval[1]
            if name == "grouped":
                values.append((float(found.value), float(found.standard_error)))
    value, error = torch.tensor(values).unbind(1)
    rates = {name: count / n_datasets for name, count in hits.items()}
    return rates | {"bias": float(value.mean()) - (1 - impact), "sd": float(value.std()), "se": float(error.mean())}


def main() -> None:
    """Print the coverage as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=1_000)
    parser.add_argument("--groups", type=int, default=150)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3], help="rows per group, in turn")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = torch.tensor(args.sizes).repeat(-(-args.groups // len(args.sizes)))[: args.groups]
    print(
        f"{args.datasets} data sets of {args.groups} groups of {args.sizes} rows, {args.width} features, seed {args.seed}\n"
    )
    print("| impact | ICC | coverage, grouped | coverage, Song | bias of CKA, grouped | its sd | mean standard error |")
    print("|---|---|---|---|---|---|---|")
    for impact in IMPACTS:
        for icc in ICCS:
            f = coverage(args.datasets, sizes, args.width, icc, impact, args.seed)
            cells = f"{f['grouped']:.3f} | {f['Song']:.3f} | {f['bias']:.2g} | {f['sd']:.3g} | {f['se']:.3g}"
            print(f"| {impact:g} | {icc:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
