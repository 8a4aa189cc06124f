"""Simulates runs for the tests of the analysis: tables as a study leaves them, with planted effects on request."""

import numpy as np
import pandas as pd

from xling.analysis.inputs.measurements import Measurements

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw")
KINDS = ("genetic", "syntactic", "phonological")


def make_distances(languages=LANGUAGES, kinds=KINDS, seed=0) -> pd.DataFrame:
    """Euclidean distances in a random square per kind, 0 on the diagonal, in the layout of xling.distances."""
    rng = np.random.default_rng(seed)
    n = len(languages)
    table = pd.DataFrame({"source_language": np.repeat(languages, n), "target_language": np.tile(languages, n)})
    for kind in kinds:
        places = rng.random((n, 2))
        table[kind] = np.linalg.norm(places[:, None] - places[None], axis=-1).ravel()
    return table.assign(**{f"{kind}_coverage": 10.0 for kind in kinds})


def make_runs(
    distances: pd.DataFrame,
    sources=LANGUAGES,
    n_layers=4,
    planted: dict[tuple[str, int], float] | None = None,
    seeds=(1,),
    strategies=("none",),
    transfer_slope=0.0,
    seed=1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Transfer and impact of complete runs, one validation each.

    Args:
        distances: distances from :func:`make_distances`.
        sources: languages fine-tuned on.
        n_layers: number of encoder blocks; layer 0 has no impact.
        planted: (kind, layer) -> slope of impact on that distance.
        seeds: seeds of the runs; each source and strategy has a run per seed.
        strategies: freezing strategies of the runs.
        transfer_slope: slope of the score on the syntactic distance.
        seed: seed of the noise.
    """
    rng = np.random.default_rng(seed)
    between = distances[distances["source_language"].isin(sources)]
    transfer, impact = [], []
    for strategy in strategies:
        for run_seed in seeds:
            for row in between.to_dict("records"):
                keys = {
                    "study": "simulated",
                    "source_language": row["source_language"],
                    "target_language": row["target_language"],
                    "strategy": strategy,
                    "seed": run_seed,
                    "epoch": 1,
                    "step": 10,
                    "is_in_language": row["source_language"] == row["target_language"],
                }
                score = 0.7 + transfer_slope * row.get("syntactic", 0.0) + 0.02 * rng.normal()
                transfer.append(keys | {"metric": "accuracy", "score": score, "n_examples": 600})
                for layer in range(n_layers + 1):
                    effect = sum(b * row[kind] for (kind, at), b in (planted or {}).items() if at == layer)
                    value = np.nan if layer == 0 else 0.3 + effect + 0.02 * rng.normal()
                    measured = {"impact": value, "impact_biased": 0.9 * value, "n_examples": 600, "is_frozen": False}
                    reason = "constant" if layer == 0 else ""
                    impact.append(keys | measured | {"layer": layer, "reason": reason})
    return pd.DataFrame(transfer), pd.DataFrame(impact)


def make_measurements(distances: pd.DataFrame | None = None, **options) -> Measurements:
    """Make everything that an analysis reads; `options` are those of :func:`make_runs`."""
    distances = make_distances() if distances is None else distances
    transfer, impact = make_runs(distances, **options)
    return Measurements(transfer, distances, impact, distances_name="simulated")


def make_alignment(seeds=(1, 2), sources=("en", "sw"), lost=0.2, reason="") -> pd.DataFrame:
    """Make the table of alignment: .9 everywhere before training; after it `lost` less per layer, and .01 more per further seed."""
    rows = []
    for source in sources:
        for seed in seeds:
            for target in {"en", "sw", "de"} - {source}:
                for layer in range(3):
                    for step in (0, 5, 10):
                        after = 0.9 - lost * layer * (step / 10) + 0.01 * (seed - 1) * (step > 0)
                        rows.append({
                            "study": "s", "source_language": source, "target_language": target, "strategy": "none",
                            "seed": seed, "epoch": step / 10, "step": step, "is_in_language": False, "layer": layer,
                            "n_examples": 30, "reason": reason, "cka_debiased": np.nan if reason else after,
                        })  # fmt: skip
    return pd.DataFrame(rows)
