"""Counts how often the freezing verdicts name a direction where freezing changes nothing (docs/freezing.md has the rates).

    python benchmarks/freezing_levels.py

Equally good strategies over a population of sources, seeds, examples and random sets; what is drawn of each differs. A verdict
names a direction where its 95 % interval excludes 0, which it should in 5 % of the studies.
"""

import argparse
import itertools

import numpy as np
import pandas as pd

from xling.analysis.questions.item_variance import t_interval
from xling.analysis.questions.random_sets import judge_among_sets

N_GROUPS, N_TARGETS = 150, 14
DESIGNS = ((1, 3), (3, 3), (5, 3), (15, 3))
"""Sources, seeds."""


def draw_contributions(rng: np.random.Generator, n_sources: int, n_seeds: int, sd: dict[str, float]) -> pd.DataFrame:
    """Draw differences in accuracy of two equally good strategies, per run and group of examples; a row sums to a run's."""
    of_source = np.repeat(rng.normal(size=n_sources), n_seeds)[:, None] * sd["source"]
    of_seed = rng.normal(size=(n_sources * n_seeds, 1)) * sd["seed"]
    of_group = rng.normal(size=N_GROUPS) * sd["items"]  # alike in all languages and runs
    noise = rng.normal(size=(n_sources * n_seeds, N_GROUPS)) * sd["noise"]
    index = pd.MultiIndex.from_product(
        [["s"], range(n_sources), range(n_seeds)], names=["study", "source_language", "seed"]
    )
    return pd.DataFrame((of_source + of_seed + of_group + noise) / N_GROUPS, index)


def excludes_0(interval) -> bool:
    """Say whether a verdict would name a direction."""
    return interval.low > 0 or interval.high < 0


def main() -> None:
    """Print the rates as Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2_000)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    splits = {
        "seeds alone": {"source": 0.0, "seed": 0.01, "items": 0.0, "noise": 0.3},
        "and sources": {"source": 0.01, "seed": 0.01, "items": 0.0, "noise": 0.3},
        "and examples (5 % disagree)": {"source": 0.01, "seed": 0.01, "items": 0.22, "noise": 0.3},
        "and examples (15 % disagree)": {"source": 0.01, "seed": 0.01, "items": 0.39, "noise": 0.3},
    }
    print("| what varies | sources x seeds | runs as independent | interval without predictions | with predictions |")
    print("|---|---|---|---|---|")
    for (name, sd), (n_sources, n_seeds) in itertools.product(splits.items(), DESIGNS):
        rates = np.zeros(3)
        for _ in range(args.studies):
            parts = draw_contributions(rng, n_sources, n_seeds, sd)
            runs = parts.sum(axis=1)
            as_seeds = runs.set_axis(pd.MultiIndex.from_product([["s"], [0], range(len(runs))], names=runs.index.names))
            rates += [excludes_0(t_interval(values)) for values in (as_seeds, runs, parts)]
        print(
            f"| {name} | {n_sources} x {n_seeds} | {' | '.join(f'{r:.3f}' for r in rates / args.studies)} |", flush=True
        )
    print("\n| random sets | sources x seeds | against their mean, taken for fixed | among the sets, interval | rank |")
    print("|---|---|---|---|---|")
    for n_sets, (n_sources, n_seeds) in itertools.product((3, 5, 19), DESIGNS):
        rates = np.zeros(3)
        for _ in range(args.studies):
            of_set = 0.01 * rng.normal(size=n_sets + 1)
            runs = of_set[:, None] + 0.01 * rng.normal(size=(n_sets + 1, n_sources * n_seeds))
            judged = judge_among_sets(runs[0].mean() - runs[1:].mean(axis=1))
            index = pd.MultiIndex.from_product(
                [["s"], [0], range(runs.shape[1])], names=["study", "source_language", "seed"]
            )
            fixed = t_interval(pd.Series(runs[0] - runs[1:].mean(axis=0), index))
            rates += [excludes_0(fixed), excludes_0(judged), judged.p_rank <= 0.05]
        figures = " | ".join(f"{r:.3f}" for r in rates / args.studies)
        print(f"| {n_sets} | {n_sources} x {n_seeds} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
