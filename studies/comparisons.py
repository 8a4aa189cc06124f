"""Sets the re-test beside itself and others: estimators, seeds, encoders that cannot transfer, and published matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from studies.variants import Variant, correlate_with_pairs, pair_up
from xling.analysis.inference.demeaned import correlate_demeaned, variance_shares
from xling.analysis.inputs.gather import gather_csv, gather_study
from xling.analysis.inputs.measurements import Measurements
from xling.analysis.inputs.pairs import LANGUAGE_PAIR
from xling.analysis.questions.source_choice import compute_source_choice
from xling.analysis.schema import MEAN_LABEL

HERE = Path(__file__).parent
STUDY = "retest"
CONTROLS = {"e5_small_random": "the same shape, random weights", "minilm_english": "an encoder of English alone"}
CONTROL_SOURCES = ("en", "ru", "sw")
SHOWN_LAYERS = ("01", "04", "08", "12", MEAN_LABEL)
ESTIMATORS = ("cka_grouped", "cka_debiased", "cka_biased")


def compare_estimators(impact: pd.DataFrame) -> list[dict]:
    """Average impact over pairs of different languages at every layer, by each estimator of the same rows."""
    between = impact[~impact["is_in_language"].astype(bool)]
    cells = between.pivot_table(
        index=["layer", "source_language", "target_language"], columns="measure", values="impact", observed=True
    )
    corrections = (cells["cka_grouped"] - cells["cka_debiased"]).groupby("layer").agg(["min", "max"])
    means = cells.groupby("layer")[list(ESTIMATORS)].mean().join(corrections)
    share = (means["cka_grouped"] - means["cka_debiased"]).abs() / means["cka_grouped"].where(
        means["cka_grouped"] >= 0.001
    )
    means["share"] = share
    return [{"layer": layer} | row for layer, row in means.to_dict("index").items()]


def compare_seeds(measured: Measurements, reliability: pd.DataFrame, seeds: Sequence[int]) -> list[dict]:
    """Estimate how much of impact and accuracy is noise between seeds, and how well two seeds agree; empty with one seed."""
    if len(seeds) < 2:
        return []
    by_seed = {seed: pair_up(measured, Variant(f"seed {seed} alone", seeds=(seed,)))[1] for seed in seeds}
    rows = []
    for row in reliability.dropna(subset="reliability").to_dict("records"):
        is_score = row["outcome"] == "score"
        if is_score or row["layer_label"] in SHOWN_LAYERS:
            label = MEAN_LABEL if is_score else row["layer_label"]
            rows.append(row | {"agreement": agreement_of_seeds(by_seed, "score" if is_score else "impact", label)})
    return rows


def agreement_of_seeds(by_seed: Mapping[int, pd.DataFrame], column: str, label: str) -> float:
    """Average the correlation of two seeds over pairs S != T, source and target effects removed; NaN with one seed."""
    if len(by_seed) < 2:
        return np.nan
    values = pd.DataFrame(
        {
            seed: pairs[(pairs["layer_label"] == label) & ~pairs["is_in_language"]].set_index(LANGUAGE_PAIR)[column]
            for seed, pairs in by_seed.items()
        }
    )
    sources, targets = (values.index.get_level_values(name).factorize()[0] for name in LANGUAGE_PAIR)
    matrix = correlate_demeaned(values.to_numpy().T, values.to_numpy().T, sources, targets)
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def compare_controls(measured: Measurements) -> list[dict]:
    """Compare the encoder that transfers with those that cannot, over the same three sources and one seed."""
    variant = Variant("multilingual-e5-small", seeds=(1,), sources=CONTROL_SOURCES)
    studies = {variant.name: measured}
    for name, words in CONTROLS.items():
        if (HERE / f"{STUDY}_{name}.xling").is_file():
            studies[words] = gather_study(HERE / f"{STUDY}_{name}.xling")
    rows = []
    for name, study in studies.items():
        tests, pairs = correlate_with_pairs(study, replace(variant, name=name))
        last = pairs[pairs["layer"] == pairs["layer"].max()]
        others = last[~last["is_in_language"]]["score"]
        own = last[last["is_in_language"]]["score"]
        figures = {"own": own.mean(), "others": others.mean(), "low": others.min(), "high": others.max()}
        n_negative, n_coefficients = count_negative(tests)
        counts = {"n_negative": n_negative, "n_coefficients": n_coefficients}
        rows.append({"name": name, "tests": tests, "impact": last["impact"].mean()} | figures | counts)
    return rows


def count_negative(tests: pd.DataFrame) -> tuple[int, int]:
    """Count the negative ones among the coefficients of :func:`is_of_four`, and all of them."""
    signs = tests.loc[is_of_four(tests), "r"] < 0
    return int(signs.sum()), len(signs)


def is_of_four(tests: pd.DataFrame) -> pd.Series:
    """Tell which rows are of impact, from layer 1 on, with the distances that say something of every pair."""
    kinds = tests["predictor"].isin(["genetic", "geographic", "syntactic", "featural"])
    return (tests["analysis"] == "impact_vs_distance") & kinds & (tests["layer"] >= 1)


MATRICES = {
    "XLM-R, macro-F1, 15 x 15": "xnli_xlmr_f1_15x15.csv",
    "mT5, macro-F1, 15 x 15": "xnli_mt5_f1_15x15.csv",
    "mBERT from English, 14 targets": "xnli_mbert_english.csv",
}


def public_matrices() -> list[dict]:
    """Analyse published matrices: their correlations with distance, and what choices of a source cost in them."""
    rows = []
    for name, file in MATRICES.items():
        measured, _ = gather_csv(HERE / file)
        tests, pairs = correlate_with_pairs(measured, Variant(name))
        rows.append(describe_matrix(name, tests.set_index("predictor"), pairs, compute_source_choice(pairs)))
    return rows


def describe_matrix(name: str, tests: pd.DataFrame, pairs: pd.DataFrame, choices: pd.DataFrame) -> dict:
    """Analyse a matrix of scores: tests by distance, how much is of single pairs, and the regret of choices of a source."""
    cells = pairs[(pairs["layer_label"] == MEAN_LABEL) & ~pairs["is_in_language"].astype(bool)]
    *_, left = variance_shares(cells["score"].to_numpy(), *(cells[side].factorize()[0] for side in LANGUAGE_PAIR))
    fixed = choices[choices["kind"] == "fixed"]
    best = fixed["choice"].iloc[0].removeprefix("always ") if len(fixed) else ""
    regret = choices.set_index("choice")["regret"].to_dict()
    return {"name": name, "tests": tests, "left": left, "best_fixed": best, "regret": regret}
