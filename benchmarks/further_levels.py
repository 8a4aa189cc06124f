"""Counts how often the page's other p-values and intervals find something where there is nothing (rates: docs/statistics.md).

    python benchmarks/further_levels.py [--datasets 300] [--only joint,pooled]

What null_simulation.py, claim_levels.py, freezing_levels.py and cause_levels.py leave: controls, permutation within families, joint
models, crossed random effects, the specification curve, agreement and pooling of studies, the choice of a source, and reverting.
Languages and distances are given, as there; outcomes are ``source effect + target effect + noise``.
"""

import argparse
import functools
import itertools
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.null_simulation import LEVEL, SPLITS, draw_outcomes, observed_cells
from xling.analysis.inference.agreement import compare_maps, compare_pairs
from xling.analysis.inference.arrays import PairArrays, in_strata
from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.demeaned import two_way_basis
from xling.analysis.inference.inversion import invert_test
from xling.analysis.inference.joint import infer_joint
from xling.analysis.inference.mixed_models import control_design, fit_mixed_model, remove_controls
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import draw_permutations, keep_unknown_in_place
from xling.analysis.inference.qap import permutation_p
from xling.analysis.inputs.measurements import Resampling
from xling.analysis.questions.meta_analysis import pool_correlations
from xling.analysis.questions.restoration import compute_trend
from xling.analysis.questions.source_choice import compute_source_choice
from xling.analysis.questions.specifications import NEGATED_GAP, specification_curve
from xling.analysis.schema import MEAN_LABEL
from xling.data.sources.xnli import XNLI_LANGUAGES
from xling.distances import KINDS, compute_distances
from xling.distances.controls import controls_table, language_facts

CHOSEN = ("15 x 15", "en fr de es ru", "en ru sw")
DRAWS = 499


@functools.cache
def squares(source: str) -> np.ndarray:
    """Arrange distances of all kinds, ``[n_kinds, n, n]``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = compute_distances(KINDS, XNLI_LANGUAGES, source).values
    return np.stack([values[kind].to_numpy() for kind in KINDS])


@functools.cache
def control_squares() -> np.ndarray:
    """Arrange the controls, same script and same family, ``[2, n, n]``."""
    table = controls_table(XNLI_LANGUAGES)
    wide = [
        table.pivot(index="source_language", columns="target_language", values=name)
        for name in ("same_script", "same_family")
    ]
    return np.stack([own.loc[[*XNLI_LANGUAGES], [*XNLI_LANGUAGES]].to_numpy(float) for own in wide])


def make_arrays(design: str, outcomes: np.ndarray, source: str = "individual", outcome: str = "score") -> PairArrays:
    """Make a design's distances, controls and outcomes."""
    sources, targets = observed_cells(design)
    return PairArrays(
        languages=tuple(XNLI_LANGUAGES),
        sources=sources,
        targets=targets,
        predictors=squares(source),
        outcomes=outcomes,
        controls=control_squares(),
        control_labels=("same_script", "same_family"),
        predictor_labels=tuple((kind, "") for kind in KINDS),
        outcome_labels=tuple((f"{outcome}{i}", "") for i in range(len(outcomes))),
    )


def _permuted(arrays: PairArrays, matrix: np.ndarray, **form) -> tuple[np.ndarray, np.ndarray, bool]:
    permutations = keep_unknown_in_place(draw_permutations(arrays.roles, DRAWS, 0), matrix, arrays.cells)
    options = {name: value for name, value in form.items() if name != "follows_labels"}
    seen = correlate(matrix[arrays.cells][None], arrays.outcomes, **options)[0]
    return seen, null_correlations(matrix, arrays.outcomes, arrays.cells, permutations, **form), permutations.exact


def _demeaned(arrays: PairArrays) -> dict:
    return {"design": two_way_basis(*arrays.cells), "follows_labels": True}


def controlled(design: str, outcomes: np.ndarray) -> list[float]:
    """Compute p of partial correlations, every distance."""
    arrays = make_arrays(design, outcomes)
    of_controls = control_design(arrays.controls, *arrays.cells)
    residuals = [remove_controls(matrix, arrays.controls) for matrix in arrays.predictors]
    return [p for matrix in residuals for p in permutation_p(*_permuted(arrays, matrix, design=of_controls))]


def within_families(design: str, outcomes: np.ndarray) -> list[float]:
    """Compute p of demeaned correlations with languages of one family changing places, every distance."""
    facts = language_facts(XNLI_LANGUAGES)
    arrays = in_strata(make_arrays(design, outcomes), dict(zip(XNLI_LANGUAGES, facts["family"], strict=True)))
    return [p for matrix in arrays.predictors for p in permutation_p(*_permuted(arrays, matrix, **_demeaned(arrays)))]


def joint(design: str, outcomes: np.ndarray) -> dict[str, list[float]]:
    """Compute p of joint models: single, family-wise, and robust to shared languages."""
    found = infer_joint(make_arrays(design, outcomes[:100]), Resampling(DRAWS)).dropna(subset="p_qap")
    return {
        "joint model, p_qap": found["p_qap"].to_list(),
        "joint model, any of the family": found.groupby("outcome")["p_max_t"].min().to_list(),
        "joint model, p_dyadic": found["p_dyadic"].to_list(),
    }


def random_effects(design: str, outcomes: np.ndarray) -> list[float]:
    """Compute the Wald p of crossed random effects, two distances."""
    cells = observed_cells(design)
    return [
        fit_mixed_model(squares("individual")[k][cells], outcome, *cells)["p_value"]
        for outcome in outcomes
        for k in (1, 2)
    ]


def specifications(design: str, outcomes: np.ndarray) -> list[float]:
    """Compute the smallest family-wise p of a curve over two sources, three outcomes and both forms."""
    arrays = make_arrays(design, outcomes[:1])
    two = np.concatenate([squares("individual"), squares("knn")[2:]])
    labels = tuple((str(k), "") for k in range(len(two)))
    found, generator = [], np.random.default_rng(0)
    for score in outcomes[:600]:
        in_language = 5 + generator.normal(size=len(XNLI_LANGUAGES))[arrays.sources]
        ways = {"score": score, "score_relative": (score + 5) / in_language, NEGATED_GAP: score + 5 - in_language}
        stacked = [
            (name, PairArrays(**{**vars(arrays), "predictors": two, "predictor_labels": labels, "outcomes": own[None]}))
            for name, own in ways.items()
        ]
        found.append(min(row["p_max_t"] for row in specification_curve(stacked, Resampling(DRAWS))))
    return found


def agreement(design: str, outcomes: np.ndarray) -> dict[str, list[float]]:
    """Compute p of two unrelated studies' agreement: over pairs, and of their maps of three layers each.

    Maps agree by chance where one study has associations and the other has none, too: there the larger of the two p-values is the
    one that keeps the level, and reaches it.
    """
    cells, pairs, maps, planted = observed_cells(design), [], [], []
    for a, b in zip(outcomes[0::2], outcomes[1::2], strict=False):
        both = np.full((2, len(XNLI_LANGUAGES), len(XNLI_LANGUAGES)), np.nan)
        both[0][cells], both[1][cells] = a, b
        pairs.append(compare_pairs(both[0], both[1], Resampling(DRAWS))["p_value"])
    for some in outcomes[: len(outcomes) // 6 * 6].reshape(-1, 2, 3, len(cells[0])):
        one, other = (make_arrays(design, own, outcome="impact") for own in some)
        maps.append(compare_maps(one, other, Resampling(DRAWS))["p_value"])
        with_effect = make_arrays(design, some[0] + associated(design), outcome="impact")
        planted.append(compare_maps(with_effect, other, Resampling(DRAWS))["p_value"])
    return {
        "agreement of two studies, pairs": pairs,
        "agreement of two studies, maps": maps,
        "agreement of two studies, maps, one with associations": planted,
    }


def associated(design: str) -> np.ndarray:
    """Plant what three layers owe to geographic distance, ``[3, n_cells]``: the more, the higher the layer."""
    return np.outer([1.0, 3.0, 9.0], squares("individual")[1][observed_cells(design)])


def pooled(design: str, outcomes: np.ndarray) -> dict[str, list[float]]:
    """Compute p of demeaned coefficients of geographic distance pooled over two and over three studies."""
    arrays, matrix = make_arrays(design, outcomes), squares("individual")[1]
    x = matrix[arrays.cells]
    with_x = make_arrays(design, np.vstack([outcomes, x]))
    seen, null, exact = _permuted(with_x, matrix, **_demeaned(arrays))
    low, high = invert_test(seen[:-1], null[:, :-1], null[:, -1:], exact)
    own = permutation_p(seen[:-1], null[:, :-1], exact)
    return {
        f"pooled over {n} studies": [
            pool_correlations(*(values[i : i + n] for values in (seen[:-1], low, high, own)))["p_value"]
            for i in range(0, len(outcomes) - n + 1, n)
        ]
        for n in (2, 3)
    }


def source_choice(design: str, outcomes: np.ndarray) -> dict[str, list[float]]:
    """1 or 0: whether what a choice saves against English excludes 0, all sources being equally good."""
    sources, targets = (np.array(XNLI_LANGUAGES)[side] for side in observed_cells(design))
    cells = pd.DataFrame({"source_language": sources, "target_language": targets, "strategy": "none"})
    cells = cells.assign(layer_label=MEAN_LABEL, is_in_language=False, score_in_language=np.nan)
    for kind in ("genetic", "syntactic"):
        cells[kind] = squares("individual")[KINDS.index(kind)][observed_cells(design)]
        cells[f"{kind}_coverage"] = 1.0
    found: dict[str, list[float]] = {"fixed": [], "nearest": [], "learnt": [], "random": []}
    for score in outcomes[:600]:
        table = compute_source_choice(cells.assign(score=score))
        others = table[table["choice"] != "always en"].dropna(subset="saved_low")
        for kind, low, high in others[["kind", "saved_low", "saved_high"]].itertuples(index=False):
            found[kind].append(0.0 if low > 0 or high < 0 else 1.0)
    return {f"saved by another source than English, {kind}": values for kind, values in found.items()}


def reverting(_: str, outcomes: np.ndarray) -> dict[str, list[float]]:
    """Compute p of the trend of change with distance over 14 targets: single, and family-wise over four sets and six distances."""
    targets = [target for target in XNLI_LANGUAGES if target != "en"]
    rows = pd.DataFrame(
        itertools.product(["1", "2", "3", "4"], targets), columns=["restored_layers", "target_language"]
    )
    rows = rows.assign(weight=1.0, is_in_language=False)
    for k, kind in enumerate(KINDS):
        rows[kind] = [
            squares("individual")[k][list(XNLI_LANGUAGES).index("en"), list(XNLI_LANGUAGES).index(t)]
            for t in rows["target_language"]
        ]
    single, family = [], []
    for change in outcomes.ravel()[: len(rows) * (outcomes.size // len(rows))].reshape(-1, len(rows))[:300]:
        table = compute_trend(rows.assign(change=change), KINDS, DRAWS)
        single += table["p_value"].to_list()
        family.append(table["p_max_t"].min())
    return {"reverting, trend with distance": single, "reverting, any of the family": family}


TESTS: dict[str, Callable] = {
    "controlled": controlled,
    "within": within_families,
    "joint": joint,
    "random": random_effects,
    "curve": specifications,
    "agreement": agreement,
    "pooled": pooled,
    "choice": source_choice,
    "reverting": reverting,
}


def main() -> None:
    """Print the rates as a Markdown table, a row per test and design."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=300)
    parser.add_argument("--only", default=",".join(TESTS), help="comma-separated")
    args = parser.parse_args()
    print(f"| test | sources | {' | '.join(SPLITS)} |")
    print("|---" * (len(SPLITS) + 2) + "|")
    for name, design in itertools.product(args.only.split(","), CHOSEN):
        if name == "reverting" and design != CHOSEN[0]:
            continue
        rates: dict[str, list[str]] = {}
        for j, split in enumerate(SPLITS):
            outcomes = draw_outcomes(args.datasets, observed_cells(design), split, 1000 + j)
            if name == "choice":  # without source effects: all sources are equally good
                outcomes = draw_outcomes(args.datasets, observed_cells(design), split, 1000 + j, source_effects=0.0)
            found = TESTS[name](design, outcomes)
            for what, values in (found if isinstance(found, dict) else {TITLES[name]: found}).items():
                known = np.array(values)[np.isfinite(values)]
                rates.setdefault(what, []).append(f"{(known <= LEVEL).mean():.3f}" if len(known) else "–")
        for what, row in rates.items():
            print(f"| {what} | {design} | {' | '.join(row)} |", flush=True)


TITLES = {
    "controlled": "partial correlation (two controls)",
    "within": "demeaned, permuted within families",
    "random": "crossed random effects, Wald",
    "curve": "specification curve, any of the family",
}

if __name__ == "__main__":
    main()
