"""Counts how often a claim gets each verdict where it is false, where it is true, and where the effect is as large as announced.

    python benchmarks/claim_levels.py --studies 200

Simulated are studies of 15 x 15 languages and 12 layers with URIEL's distances as they stand. Score and impact are ``source effect
+ target effect + noise`` (normal, standard deviations 1, 1, 1); the noise of neighbouring layers correlates with .8. `null` plants
nothing. `detectable` plants, in score, an effect of genetic distance as large as the analysis announces to find in 80 % of
studies; `true` plants the paper's claims at r = .5 of the noise. Every study goes through the tests that a report makes.
"""

import argparse
from collections import Counter

import numpy as np
import pandas as pd

from xling.analysis.claims import Claim, judge_claims, read_claims
from xling.analysis.inference.demeaned import remove_effects
from xling.analysis.inputs.measurements import Measurements, Resampling
from xling.analysis.inputs.measures import one_measure
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.tables import infer_correlations
from xling.data.sources.xnli import XNLI_LANGUAGES
from xling.distances import KINDS, compute_distances

N_LAYERS = 12
ONE_TEST = Claim(
    "one_test", "Transfer falls with genetic distance.", "transfer_vs_distance", ("genetic",), direction="negative"
)
LANGUAGES = list(XNLI_LANGUAGES)


class Studies:
    """Draws studies; effects are planted in the noise, which keeps its variance."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.distances = compute_distances(KINDS, LANGUAGES).to_table()
        self.cells = tuple(index.ravel() for index in np.indices((len(LANGUAGES), len(LANGUAGES))))

    def noise(self) -> np.ndarray:
        """Draw one value per pair."""
        return self.rng.normal(size=len(self.cells[0]))

    def layers(self) -> list[np.ndarray]:
        """Draw the noise of all layers."""
        found = [self.noise()]
        for _ in range(N_LAYERS - 1):
            found.append(0.8 * found[-1] + 0.6 * self.noise())
        return found

    def plant(self, noise: np.ndarray, kinds: dict[str, float]) -> np.ndarray:
        """Add distances, freed of language effects between different languages, so that each correlates by its value."""
        between = self.cells[0] != self.cells[1]
        part = np.zeros(len(noise))
        for kind, rho in kinds.items():
            x = np.nan_to_num(self.distances[kind].to_numpy(float))
            free = np.zeros(len(noise))
            free[between] = remove_effects(x[between][None], *(side[between] for side in self.cells))[0]
            part += rho / np.sqrt(1 - rho**2) * free / free[between].std()
        return noise + part

    def measured(self, score: np.ndarray, impact: list[np.ndarray]) -> Measurements:
        """Make the tables that runs with these values leave."""
        source, target = (np.array(LANGUAGES)[side] for side in self.cells)
        keys = pd.DataFrame(
            {"study": "simulated", "source_language": source, "target_language": target, "strategy": "none"}
        )
        keys = keys.assign(seed=1, epoch=1, step=10, is_in_language=source == target)
        transfer = keys.assign(metric="accuracy", score=self._with_effects(score), n_examples=450, reason="")
        layers = [
            keys.assign(
                layer=i,
                is_frozen=False,
                measure="cka_grouped",
                n_examples=450,
                n_groups=150,
                impact=self._with_effects(y),
                reason="",
            )
            for i, y in enumerate(impact, start=1)
        ]
        return Measurements(transfer, self.distances, pd.concat(layers, ignore_index=True))

    def _with_effects(self, noise: np.ndarray) -> np.ndarray:
        of_source, of_target = self.rng.normal(size=(2, len(LANGUAGES)))
        return 0.5 + 0.02 * (of_source[self.cells[0]] + of_target[self.cells[1]] + noise)


def judge(measured: Measurements, claims: tuple[Claim, ...], draws: int) -> pd.DataFrame:
    """Give the verdicts on one study."""
    pairs = compute_pairs(measured.transfer, one_measure(measured.impact, "cka_grouped"), measured.distances)
    return judge_claims(claims, infer_correlations(measured, pairs, list(KINDS), Resampling(draws, 0, 0)))


def main() -> None:
    """Print how often each claim got each verdict, per scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--draws", type=int, default=499, help="permutations of a test")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    studies, claims = Studies(options.seed), (*read_claims("paper"), ONE_TEST)
    first = judge(studies.measured(studies.noise(), studies.layers()), claims, 1_999)
    announced = float(first.set_index("claim").loc[ONE_TEST.name, "detectable"])
    three = {"syntactic": -0.5, "geographic": -0.5, "genetic": -0.5}
    scenarios = {
        "null": lambda: (studies.noise(), studies.layers()),
        "detectable": lambda: (studies.plant(studies.noise(), {"genetic": -announced}), studies.layers()),
        "true": lambda: _true(studies, three),
    }
    print(f"announced for one test: r = {announced:.2f}\n")
    print("| planted | claim | supported | contradicted | not shown |\n|---|---|---|---|---|")
    for name, draw in scenarios.items():
        counts: dict[str, Counter] = {claim.name: Counter() for claim in claims}
        for _ in range(options.studies):
            for row in judge(studies.measured(*draw()), claims, options.draws).to_dict("records"):
                counts[row["claim"]][row["verdict"]] += 1
        for claim, found in counts.items():
            shares = [
                f"{found[verdict] / options.studies:.3f}" for verdict in ("supported", "contradicted", "not shown")
            ]
            print(f"| {name} | {claim} | {' | '.join(shares)} |", flush=True)


def _true(studies: Studies, kinds: dict[str, float]) -> tuple[np.ndarray, list[np.ndarray]]:
    impact = [studies.plant(layer, {"genetic": -0.5}) for layer in studies.layers()]
    return studies.plant(studies.noise(), kinds) + 0.6 * impact[-1], impact


if __name__ == "__main__":
    main()
