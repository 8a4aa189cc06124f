"""Measures the level of the estimate from assigned doses, also where a regression over pairs is fooled (docs/interventions.md).

``python benchmarks/cause_levels.py 200`` simulates studies in which impact falls with an assigned dose, by another amount per
source, and a hidden property of each pair raises impact and lowers the score. `effect` is what impact does to the score.
"""

import itertools
import sys

import numpy as np
import pandas as pd

from xling.analysis.questions.cause import estimate_cause

TARGETS = ("en", "ru", "sw", "de", "zh", "th", "hi", "ar", "vi", "tr", "ur", "el", "bg", "es", "fr")


def simulate(
    rng: np.random.Generator,
    n_sources: int,
    effect: float,
    first: float = -0.3,
    confounding: float = 0.1,
    bypass: float = 0.0,
    noise: float = 0.02,
) -> pd.DataFrame:
    """Make one study of 15 targets at doses 0, 0.5 and 1; `bypass` is what the dose does to the score past impact."""
    sources = TARGETS[:n_sources]
    pairs = [(s, t) for s, t in itertools.product(sources, TARGETS) if s != t]
    strength = {s: 1 + 0.3 * rng.normal() for s in sources}
    rows = []
    for source, target in pairs:
        hidden = rng.normal()
        for dose in (0.0, 0.5, 1.0):
            impact = 0.6 + 0.1 * hidden + first * strength[source] * dose + noise * rng.normal()
            score = 0.7 + effect * impact - confounding * hidden + bypass * dose + noise * rng.normal()
            rows.append((source, target, 1, dose, impact, score))
    return pd.DataFrame(rows, columns=["source_language", "target_language", "seed", "dose", "impact", "score"])


CASES = {
    "no effect, confounded": {"effect": 0.0},
    "effect -0.4, confounded": {"effect": -0.4},
    "no effect, weak first stage": {"effect": 0.0, "first": -0.005},
    "no effect, exclusion broken": {"effect": 0.0, "bypass": 0.03},
}


def main(n_studies: int = 1000) -> None:
    """Print the table."""
    print("| case | sources | median effect | intervals that miss it | without an interval | mean naive slope |")
    print("|---|---|---|---|---|---|")
    for (name, case), n_sources in itertools.product(CASES.items(), (3, 15)):
        rng = np.random.default_rng(0)
        found = pd.DataFrame([estimate_cause(simulate(rng, n_sources, **case))[0] for _ in range(n_studies)])
        missed = ~found["effect_low"].le(case["effect"]) | ~found["effect_high"].ge(case["effect"])
        unbounded = np.isinf(found["effect_low"])
        print(
            f"| {name} | {n_sources} | {found['effect'].median():+.3f} | {missed.mean():.3f} | {unbounded.mean():.3f} "
            f"| {found['naive'].mean():+.3f} |"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
