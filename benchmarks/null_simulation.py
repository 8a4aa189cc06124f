"""Counts how often the tests reject where there is nothing to find, and where there is something (rates: docs/statistics.md).

    python benchmarks/null_simulation.py levels      # p-values of distance against an outcome
    python benchmarks/null_simulation.py measured    # impact against transfer, and mediation
    python benchmarks/null_simulation.py power       # detectable effects, planted and looked for; coverage of intervals

Languages, sources and distances are given and stay where they are, as in a real study: URIEL's distances between the 15 XNLI
languages, and nine sets of sources. What is drawn is the outcome: ``source effect + target effect + noise``, independent and
normal, with three splits of their standard deviations. A test at 5 % should reject in 5 % of the data sets, whatever the
sources and the split.
"""

import argparse
import warnings
from collections.abc import Iterator

import numpy as np

from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.demeaned import two_way_basis
from xling.analysis.inference.inversion import invert_test
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import (
    MIN_ARRANGEMENTS,
    count_arrangements,
    draw_permutations,
    keep_unknown_in_place,
    language_roles,
)
from xling.analysis.inference.power import SimulatedStudies
from xling.analysis.inference.qap import max_t_p, permutation_p
from xling.analysis.questions.mediation import mediate
from xling.analysis.questions.mediation_paths import Cells, demean_cells
from xling.data.sources.xnli import XNLI_LANGUAGES
from xling.distances import KINDS, compute_distances

N = len(XNLI_LANGUAGES)
LEVEL = 0.05
DESIGNS = {
    "15 x 15": " ".join(XNLI_LANGUAGES),
    "15 x 15, 21 cells missing": " ".join(XNLI_LANGUAGES),
    "ar bg de el en es fr hi": "ar bg de el en es fr hi",
    "en fr de es ru": "en fr de es ru",
    "ar bg de el": "ar bg de el",
    "en ru sw zh": "en ru sw zh",
    "en ru sw": "en ru sw",
    "en zh": "en zh",
    "en": "en",
}
SPLITS = {"1, 1, 1": (1.0, 1.0, 1.0), "2, .5, .5": (2.0, 0.5, 0.5), ".3, 1, .5": (0.3, 1.0, 0.5)}
"""Standard deviations of source effects, target effects and noise."""


def observed_cells(design: str) -> tuple[np.ndarray, np.ndarray]:
    """List the pairs S != T of a design."""
    observed = ~np.eye(N, dtype=bool) & np.isin(XNLI_LANGUAGES, DESIGNS[design].split())[:, None]
    if "missing" in design:
        at = np.argwhere(observed)
        observed[tuple(at[np.random.default_rng(0).choice(len(at), 21, replace=False)].T)] = False
    return np.nonzero(observed)


def draw_outcomes(
    n: int, cells: tuple[np.ndarray, np.ndarray], split: str, seed: int, source_effects: float = 1.0
) -> np.ndarray:
    """Draw outcomes with language effects, ``[n, n_cells]``; those of sources times `source_effects`."""
    generator = np.random.default_rng(seed)
    of_source, of_target, noise = SPLITS[split]
    of_source *= source_effects
    effects = generator.normal(size=(2, n, N))
    parts = of_source * effects[0][:, cells[0]] + of_target * effects[1][:, cells[1]]
    return parts + noise * generator.normal(size=(n, len(cells[0])))


def forms(cells: tuple[np.ndarray, np.ndarray]) -> dict[str, dict]:
    """List the forms of a correlation."""
    several = len(np.unique(cells[0])) > 1
    demeaned = {"demeaned": {"design": two_way_basis(*cells), "follows_labels": True}} if several else {}
    return {"raw": {}, "ranks": {"ranked": True}} | demeaned


def levels(args: argparse.Namespace, distances: dict[str, np.ndarray]) -> Iterator[list]:
    """Compute the rates of p <= .05, per design and split: the extremes over distances, and the family of all distances."""
    yield ["sources", "sd of source, target, noise", "raw", "ranks", "demeaned", "raw, family", "demeaned, family"]
    for i, design in enumerate(DESIGNS):
        cells = observed_cells(design)
        permutations = draw_permutations(language_roles(*cells, N), args.draws, args.seed)
        for j, split in enumerate(SPLITS):
            outcomes = draw_outcomes(args.datasets, cells, split, args.seed + 100 * i + j)
            row = {name: "–" for name in ("raw", "ranks", "demeaned", "raw, family", "demeaned, family")}
            for name, form in forms(cells).items():
                tested = [_test(matrix, outcomes, cells, permutations, form) for matrix in distances.values()]
                tested = [(seen, null) for seen, null in tested if np.isfinite(seen).any()]
                rates = [_rate(permutation_p(seen, null, permutations.exact)) for seen, null in tested]
                row[name] = f"{min(rates):.3f} to {max(rates):.3f}"
                if name != "ranks":
                    row[f"{name}, family"] = f"{_family_rate(tested, permutations.exact):.3f}"
            yield [design, split, *row.values()]


def _test(matrix, outcomes, cells, permutations, form) -> tuple[np.ndarray, np.ndarray]:
    options = {key: value for key, value in form.items() if key != "follows_labels"}
    seen = correlate(matrix[cells][None], outcomes, **options)[0]
    return seen, null_correlations(matrix, outcomes, cells, permutations, **form)


def _rate(p_values: np.ndarray) -> float:
    return float((p_values <= LEVEL).mean())


def _family_rate(tested: list, exact: bool) -> float:
    """Count how often the smallest family-wise p-value is <= .05."""
    seen, null = np.stack([s for s, _ in tested], axis=1), np.stack([n for _, n in tested], axis=2)
    smallest = [np.nanmin(max_t_p(seen[d], null[:, d], exact)) for d in range(len(seen))]
    return _rate(np.array(smallest))


def measured(args: argparse.Namespace, distances: dict[str, np.ndarray]) -> Iterator[list]:
    """Compute the rates for two measured quantities: unrelated impact and transfer; and impact that carries nothing of distance."""
    yield [
        "sources",
        "sd of source, target, noise",
        "impact, raw",
        "impact, demeaned",
        "indirect, raw",
        "indirect, demeaned",
    ]
    for i, design in enumerate(DESIGNS):
        cells = observed_cells(design)
        if "missing" in design:
            continue
        permutations = draw_permutations(language_roles(*cells, N), args.draws, args.seed)
        for j, split in enumerate(SPLITS):
            n = args.datasets // 4
            impacts, outcomes = (draw_outcomes(n, cells, split, args.seed + 100 * i + j + k) for k in (10, 50))
            row = dict.fromkeys(("impact, raw", "impact, demeaned", "indirect, raw", "indirect, demeaned"), "–")
            for name, form in forms(cells).items():
                if name != "ranks":
                    row[f"impact, {name}"] = f"{_measured_rate(impacts, outcomes, cells, permutations, form):.3f}"
            for name, rate in _indirect_rates(distances["syntactic"], impacts, outcomes, cells, args).items():
                row[f"indirect, {name}"] = f"{rate:.3f}"
            yield [design, split, *row.values()]


def _measured_rate(impacts, outcomes, cells, permutations, form) -> float:
    p_values = []
    for impact, outcome in zip(impacts, outcomes, strict=True):
        matrix = np.full((N, N), np.nan)
        matrix[cells] = impact
        seen, null = _test(matrix, outcome[None], cells, permutations, form)
        p_values.append(permutation_p(seen, null, permutations.exact)[0])
    return _rate(np.array(p_values))


def _indirect_rates(distance, impacts, outcomes, cells, args) -> dict[str, float]:
    """Distance moves impact by half a standard deviation; impact moves nothing."""
    x = distance[cells]
    p_values = {"raw": [], "demeaned": []}
    n = len(impacts) // 2
    for impact, outcome in zip(impacts[:n], outcomes[:n], strict=True):
        moved = impact - 1.0 * impact.std() * (x - x.mean()) / x.std()
        sources, targets = cells
        given = Cells(sources, targets, moved[None], outcome)
        for name, form in (("raw", (distance, given)), ("demeaned", demean_cells(distance, given))):
            if form is not None:
                matrix, pairs = form
                p_values[name].append(mediate(matrix, pairs, args.draws // 2, 2, args.seed)[0]["p_qap_indirect"])
    return {name: _rate(np.array(found)) for name, found in p_values.items() if found}


def power(args: argparse.Namespace, distances: dict[str, np.ndarray]) -> Iterator[list]:
    """Simulate effects of the size that is announced as detectable, and how often they are found; coverage of the interval."""
    yield ["sources", "distance", "detectable r", "found", "coverage of 95 %", "family-wise", "found family-wise"]
    for i, design in enumerate(DESIGNS):
        cells = observed_cells(design)
        roles = language_roles(*cells, N)
        permutations = draw_permutations(roles, args.draws, args.seed)
        form = forms(cells).get("demeaned", {})
        noise = draw_outcomes(args.datasets // 2, cells, "1, 1, 1", args.seed + i)
        critical = _critical_value(distances, noise[0], cells, permutations, form)
        for kind in ("genetic", "geographic", "syntactic"):
            matrix = distances[kind]
            if count_arrangements(keep_unknown_in_place(permutations, matrix, cells).groups) < MIN_ARRANGEMENTS:
                continue
            studies = SimulatedStudies(matrix, cells, roles, bool(form), args.seed)
            row = [design, kind]
            for limit in (0.0, critical):
                rho = studies.detectable(limit)
                row += [f"{rho:.2f}", *_find_planted(matrix, noise, cells, permutations, form, rho, limit)]
            yield row[:-1]


def _critical_value(distances, outcome, cells, permutations, form) -> float:
    nulls = [_test(matrix, outcome[None], cells, permutations, form)[1][:, 0] for matrix in distances.values()]
    largest = np.nanmax(np.abs(nulls), axis=0)
    return float(np.quantile(largest, 0.95))


def _find_planted(matrix, noise, cells, permutations, form, rho, limit) -> list[str]:
    if not np.isfinite(rho):
        return ["–", "–"]
    x = matrix[cells]
    known = np.isfinite(x)
    columns = np.asarray(form.get("design", np.ones((len(x), 1))))[known]
    left = x[known] - columns @ np.linalg.lstsq(columns, x[known], rcond=None)[0]
    spare = known.sum() - np.linalg.matrix_rank(columns)
    slope = rho / np.sqrt(1 - rho**2) * np.sqrt(spare) / np.linalg.norm(left)
    noise = noise if form else noise - noise.mean(axis=1, keepdims=True)
    sd = 1.0 if form else noise.std(axis=1, ddof=1, keepdims=True).mean()
    outcomes = np.where(known, noise + slope * sd * np.where(known, x, 0.0), np.nan)
    seen, null = _test(matrix, np.vstack([outcomes, np.where(known, x, np.nan)]), cells, permutations, form)
    seen, null, own = seen[:-1], null[:, :-1], null[:, -1:]
    p_values = permutation_p(seen, null, permutations.exact)
    low, high = invert_test(seen, null, own, permutations.exact)
    y_left = outcomes[:, known] - (columns @ np.linalg.lstsq(columns, outcomes[:, known].T, rcond=None)[0]).T
    true = slope * sd * np.linalg.norm(left) / np.linalg.norm(y_left, axis=1)  # the slope in the units of r
    true = np.clip(true, -1, 1)  # as the interval
    found = ((p_values <= LEVEL) & (np.abs(seen) >= limit)).mean()
    return [f"{found:.2f}", f"{((low <= true) & (true <= high)).mean():.3f}"]


def main() -> None:
    """Print the rates as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("levels", "measured", "power"))
    parser.add_argument("--datasets", type=int, default=2_000)
    parser.add_argument("--draws", type=int, default=999)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # macrolanguages: any distances will do
        found = compute_distances(KINDS, XNLI_LANGUAGES, "individual").values
    distances = {kind: frame.to_numpy() for kind, frame in found.items()}
    print(f"{args.datasets} data sets, {args.draws} permutations, seed {args.seed}; share with p <= {LEVEL}:\n")
    for i, row in enumerate({"levels": levels, "measured": measured, "power": power}[args.what](args, distances)):
        print(f"| {' | '.join(row)} |", flush=True)
        if i == 0:
            print("|---" * len(row) + "|")


if __name__ == "__main__":
    main()
