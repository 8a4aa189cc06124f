"""How often do QAP and naive pooled p-values reject where there is nothing to find? (docs/statistics.md has the rates)

    python benchmarks/null_simulation.py            # about half a minute on one core

Each of 2,000 data sets has an outcome for the observed cells S != T that has nothing to do with distance:
``source effect + target effect + noise``, independent and normal, a third of the variance each. The distances are
URIEL's between the 15 XNLI languages, handed out to the languages at random (so any of them may be the sources).
Language effects make pairs that share a language alike, in outcome and distance both; a test at 5 % that minds this
rejects in 4 to 6 % of the data sets.
"""

import argparse
import itertools
import warnings

import numpy as np

from xling.analysis.inference.correlations import correlate, naive_tests
from xling.analysis.inference.mixed_models import two_way_design
from xling.analysis.inference.qap import draw_permutations, null_correlations, permutation_p
from xling.data.sources.xnli import XNLI_LANGUAGES
from xling.distances import compute_distances

N = len(XNLI_LANGUAGES)
KINDS = ("genetic", "geographic", "syntactic")
LEVEL = 0.05


def simulate(n_datasets: int, sources: np.ndarray, targets: np.ndarray, seed: int) -> np.ndarray:
    """Draw outcomes with language effects, ``[n_datasets, n_cells]``."""
    generator = np.random.default_rng(seed)
    of_source, of_target = generator.normal(size=(2, n_datasets, N))
    return of_source[:, sources] + of_target[:, targets] + generator.normal(size=(n_datasets, len(sources)))


def rejection_rates(
    distance: np.ndarray,
    outcomes: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray],
    args: argparse.Namespace,
    seed: int,
) -> dict[str, float]:
    """Test every data set in every way and count the p-values up to `LEVEL`."""
    labels = np.tile(np.arange(N), (len(outcomes), 1))
    if not args.in_place:
        labels = np.random.default_rng(seed).permuted(labels, axis=1)
    predictors = distance[labels[:, cells[0]], labels[:, cells[1]]]  # [n_datasets, n_cells]
    naive = [naive_tests(x, y) for x, y in zip(predictors, outcomes, strict=True)]
    rates = {f"naive {name}": np.mean([t[f"p_{name}"] <= LEVEL for t in naive]) for name in ("pearson", "spearman")}
    # permuting a permuted matrix gives the same null as permuting the matrix: one set of draws serves all data sets
    permutations = draw_permutations(N, args.draws, seed + 1)
    for name, design, ranked in (
        ("QAP pearson", None, False),
        ("QAP spearman", None, True),
        ("QAP demeaned", two_way_design(*cells), False),
    ):
        pairs = zip(predictors, outcomes, strict=True)
        observed = np.array([correlate(x[None], y[None], design, ranked).item() for x, y in pairs])
        null = null_correlations(distance, outcomes, cells, permutations, design, ranked)
        rates[name] = np.mean(permutation_p(observed, null, permutations.exact) <= LEVEL)
    return rates


def main() -> None:
    """Print the rejection rates as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=2_000)
    parser.add_argument("--draws", type=int, default=1_999)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-place", action="store_true", help="leave the distances with their languages")
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # macrolanguage codes: here any distances will do
        distances = compute_distances(KINDS, XNLI_LANGUAGES).values
    print(f"{args.datasets} data sets, {args.draws} permutations, seed {args.seed}; share rejected at p <= {LEVEL}:\n")
    for i, (n_sources, kind) in enumerate(itertools.product((N, 4), KINDS)):
        cells = np.nonzero(~np.eye(N, dtype=bool)[:n_sources])
        seed = args.seed + 1_000 * i
        outcomes = simulate(args.datasets, *cells, seed)
        rates = rejection_rates(distances[kind].to_numpy(), outcomes, cells, args, seed + 1)
        if i == 0:
            print(f"| cells | distance | {' | '.join(rates)} |\n|---|---|{'---|' * len(rates)}")
        print(f"| {n_sources} x {N} | {kind} | {' | '.join(f'{rate:.3f}' for rate in rates.values())} |")


if __name__ == "__main__":
    main()
