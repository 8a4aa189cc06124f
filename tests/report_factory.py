"""A made-up study with known properties, for the tests of figures and report. None of its numbers were measured."""

import numpy as np
import pandas as pd

from xling.analysis.inputs.measurements import Measurements, Resampling, Settings
from xling.analysis.pipeline import analyse
from xling.analysis.schema import (
    ANALYSES,
    IMPACT_VS_DISTANCE,
    IMPACT_VS_TRANSFER,
    KINDS,
    TRANSFER_VS_DISTANCE,
    Analysis,
)
from xling.data.sources.xnli import XNLI_LANGUAGES

INDO_EUROPEAN = {"bg", "de", "el", "en", "es", "fr", "hi", "ru", "ur"}


def make_distances(languages: tuple[str, ...], rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Symmetric tables in 0..1; genetic is 1.0 for many pairs, Urdu has no phonology."""
    places = {kind: rng.random((len(languages), 3)) for kind in KINDS}
    tables = {}
    for kind, at in places.items():
        table = pd.DataFrame(np.linalg.norm(at[:, None] - at[None], axis=-1) / np.sqrt(3), languages, languages)
        if kind == "genetic":
            table = (0.5 + table / 2).where(
                [[a in INDO_EUROPEAN and b in INDO_EUROPEAN for b in languages] for a in languages], 1.0
            )
            for name in languages:
                table.loc[name, name] = 0.0
        if kind == "phonological" and "ur" in languages:
            table.loc["ur", :] = table.loc[:, "ur"] = np.nan
        tables[kind] = table
    return tables


def make_pairs(sources, targets, n_layers=13, n_seeds=2, strategies=("none",), missing=(), seed=0) -> pd.DataFrame:
    """Impact falls and the transfer gap grows with syntactic distance; layer 0 has no impact (constant under cls)."""
    rng = np.random.default_rng(seed)
    distances = make_distances(tuple(targets), rng)
    rows = []
    for strategy in strategies:
        for source in sources:
            for target in targets:
                if (source, target) in missing:
                    continue
                far = {kind: float(table.loc[source, target]) for kind, table in distances.items()}
                coverage = {f"{kind}_coverage": 0.0 if np.isnan(d) else 0.8 for kind, d in far.items()}
                score = 0.72 - 0.25 * far["syntactic"] + 0.02 * rng.standard_normal()
                depth = np.linspace(0, 1, n_layers)
                impact = 0.35 * depth**2 * (1 - 0.5 * far["syntactic"]) + 0.01 * rng.standard_normal(n_layers)
                impact[0] = np.nan
                for layer in [*range(n_layers), None]:
                    value = impact[layer] if layer is not None else float(np.nanmean(impact))
                    rows.append(
                        {
                            "source_language": source,
                            "target_language": target,
                            "strategy": strategy,
                            "layer": layer,
                            "layer_label": "mean" if layer is None else f"{layer:02d}",
                            "n_seeds": n_seeds,
                            "impact": value,
                            "impact_biased": value * 0.9,
                            "impact_sd": 0.01 if n_seeds > 1 else np.nan,
                            "impact_low": np.nan,
                            "impact_high": np.nan,
                            "metric": "accuracy",
                            "score": score,
                            "score_sd": 0.006 if n_seeds > 1 else np.nan,
                            "score_in_language": 0.72,
                            "transfer_gap": 0.72 - score,
                            "score_relative": score / 0.72,
                            "rank_within_source": 1.0,
                            "is_in_language": source == target,
                            "n_examples": 2490,
                            **far,
                            **coverage,
                        }
                    )
    return pd.DataFrame(rows).astype({"layer": "Int64"})


def make_tests(pairs: pd.DataFrame, null: bool = False, seed: int = 1) -> pd.DataFrame:
    """Make rows of ``correlations`` with real coefficients and made-up p-values, of which none is small under `null`."""
    rng = np.random.default_rng(seed)
    pairs = pairs[(pairs["strategy"] == pairs["strategy"].iloc[0]) & ~pairs["is_in_language"]]
    rows = []
    for analysis in ANALYSES:
        labels = pairs["layer_label"].unique() if analysis != TRANSFER_VS_DISTANCE else [""]
        for predictor in KINDS if analysis != IMPACT_VS_TRANSFER else ("impact",):
            for label in labels:
                own = pairs[pairs["layer_label"] == (label or "mean")]
                y = "impact" if analysis == IMPACT_VS_DISTANCE else "score"
                rows.append(_make_test(own.dropna(subset=[predictor, y]), analysis, predictor, y, label, null, rng))
    return pd.DataFrame(rows).astype({"layer": "Int64"})


def _make_test(own, analysis, predictor, y, label, null, rng) -> dict:
    r = own[predictor].corr(own[y]) if len(own) > 2 else np.nan
    rho = own[predictor].corr(own[y], method="spearman") if len(own) > 2 else np.nan
    p = np.nan if np.isnan(r) else 0.2 + 0.7 * rng.random() if null else float(np.exp(-14 * abs(r)))
    low, high = (np.nan, np.nan) if np.isnan(r) else (np.fmax(r - 0.2, -1), np.fmin(r + 0.2, 1))
    tested = {"ci_low": low, "ci_high": high, "p_max_t": min(p * 5, 1), "p_bh": min(p * 2, 1), "p_qap": p}
    per_kind = {f"{name}_{kind}": value for kind in ("pearson", "demeaned") for name, value in tested.items()}
    return {
        "analysis": analysis,
        "predictor": predictor,
        "layer": int(label) if label.isdigit() else None,
        "layer_label": label,
        "n_pairs": len(own),
        "n_sources": own["source_language"].nunique(),
        "n_targets": own["target_language"].nunique(),
        "main": "demeaned",
        "r": r,
        **tested,
        "detectable_r": 0.3,
        "detectable_family_wise": 0.4,
        "is_small": bool(low > -0.3 and high < 0.3),
        "loo_low": r - 0.05,
        "loo_high": r + 0.05,
        "carried_by": "",
        "pearson_r": r,
        "spearman_rho": rho,
        "demeaned_r": r,
        **per_kind,
        "p_pearson": p / 10,
        "p_spearman": p / 9,
        "p_qap_spearman": p,
        "partial_r": r * 0.7,
        "p_qap_partial": p,
        "controls": "same_script,same_family",
        "n_permuted": 15,
        "n_pairs_permuted": len(own),
        "n_permutations": 10_000,
        "exact": False,
        "reason": "" if len(own) > 2 else "impact is NaN: the layer is constant under cls pooling",
    }


def make_paper_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``correlations_paper``: the same coefficients with stars from the naive p-values."""
    columns = ["analysis", "predictor", "layer", "layer_label", "n_pairs", "pearson_r", "p_pearson", "spearman_rho"]
    paper = tests[[*columns, "p_spearman", "reason"]].copy()
    for kind in ("pearson", "spearman"):
        p = paper[f"p_{kind}"]
        paper[f"{kind}_stars"] = np.select([p <= 0.01, p <= 0.05], ["**", "*"], "")
    return paper


def make_analysis(sources=("en", "ru", "sw", "zh"), targets=XNLI_LANGUAGES, null=False, **options) -> Analysis:
    """A study of 4 sources x 15 targets x 13 layers, two cells missing, unless told otherwise."""
    missing = options.setdefault("missing", (("sw", "th"), ("zh", "ur")))
    pairs = make_pairs(sources, targets, **options)
    tests = make_tests(pairs, null)
    facts = {
        "sources": list(sources),
        "targets": list(targets),
        "seeds": [1, 2][: options.get("n_seeds", 2)],
        "strategies": sorted(pairs["strategy"].unique()),
        "strategy": "none",
        "kinds": list(KINDS),
        "layers": list(range(13)),
        "permutations": 10_000,
        "bootstraps": 2_000,
        "seed": 0,
        "mode": "default",
        "distances": "repaired",
        "controls": ["same_script", "same_family"],
        "missing_cells": list(missing),
        "skipped": [("made_up-sw-none-2", "no manifest: the run did not finish")],
        "versions": {"xling": "0.1.0", "torch": "2.13.0"},
    }
    warnings = ["Made-up data: no run was measured.", "phonological: 14 pairs have no value (ur has no phonology)."]
    tables = {"pairs": pairs, "correlations": tests, "correlations_paper": make_paper_tests(tests)}
    return Analysis(tables, warnings, facts)


def make_measurements(sources, targets, n_layers=13, seeds=(1, 2), strategies=("none",), seed=0) -> Measurements:
    """Raw tables as runs leave them; every strategy but `none` costs each score .01 and freezes layers 1 and 2."""
    pairs = make_pairs(sources, targets, n_layers=n_layers, seed=seed)
    kinds = [name for kind in KINDS for name in (kind, f"{kind}_coverage")]
    cells = pairs[pairs["layer_label"] == "mean"]
    transfer, impact = [], []
    for strategy in strategies:
        for run_seed in seeds:
            rng = np.random.default_rng([run_seed, len(strategy)])
            keys = {"study": "made_up", "strategy": strategy, "seed": run_seed, "epoch": 1, "step": 100}
            loss = 0.0 if strategy == "none" else 0.01
            noise = 0.003 * rng.standard_normal(len(cells))
            columns = ["source_language", "target_language", "is_in_language", "metric", "score", "n_examples"]
            transfer.append(cells[columns].assign(score=cells["score"] - loss + noise, **keys))
            layers = pairs[pairs["layer"].notna()]
            columns = ["source_language", "target_language", "is_in_language", "layer", "n_examples", "impact"]
            frozen = layers["layer"].isin([1, 2]) if strategy != "none" else False
            reason = np.where(layers["layer"] == 0, "constant under cls pooling", "")
            table = layers[columns].assign(is_frozen=frozen, reason=reason, **keys)
            impact.append(table.assign(impact_biased=0.9 * table["impact"]))
    together = pd.concat(transfer, ignore_index=True)
    runs = together[["study", "source_language", "strategy", "seed"]].drop_duplicates()
    runs["train_seconds"] = np.where(runs["strategy"] == "none", 100.0, 90.0) + runs["seed"]
    distances = make_distance_table(targets, seed)[["source_language", "target_language", *kinds]]
    return Measurements(together, distances, pd.concat(impact, ignore_index=True), runs=runs, distances_name="repaired")


def make_distance_table(languages, seed=0) -> pd.DataFrame:
    """All ordered pairs with every distance and its coverage, the same as :func:`make_pairs` uses."""
    tables = make_distances(tuple(languages), np.random.default_rng(seed))
    table = pd.DataFrame([(a, b) for a in languages for b in languages], columns=["source_language", "target_language"])
    for kind, distances in tables.items():
        table[kind] = distances.to_numpy().ravel()
        table[f"{kind}_coverage"] = np.where(table[kind].isna(), 0, 40 + 10 * KINDS.index(kind))
    return table


def analyse_made_up(**options) -> Analysis:
    """Run the real analysis over :func:`make_measurements`, with few draws."""
    options = {"sources": ("en", "ru", "sw", "zh"), "targets": XNLI_LANGUAGES} | options
    return analyse(make_measurements(**options), Settings(resampling=Resampling(199, 100, 0)))
