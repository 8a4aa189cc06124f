"""Estimates how much of the association of distance with transfer impact carries: mediation over pairs S != T.

The total effect of distance on transfer is split into a direct one and an indirect one, by way of impact
(:mod:`xling.analysis.questions.mediation_paths`); ``share = indirect / total``.

These are associations: nothing was randomised, impact and transfer come from the same fine-tuning, and a common cause
of both (pre-training size, say) shows up as an indirect effect. One such cause is the source: one that trains badly moves
little and scores badly. So everything is computed a second time after source and target effects are removed from distance,
impact and outcome, and that is what the report shows wherever several sources allow it. Pairs that share a language are
dependent, so intervals resample languages and p-values permute languages (:mod:`xling.analysis.inference.qap`). The indirect effect
needs both of its paths, so its p-value is the larger of theirs (joint significance, MacKinnon et al. 2002, Psychol. Methods 7).
Permuting distance alone and looking at the product would not do: where distance moves impact but impact carries
nothing, that rejects in about 30 % of simulated data sets at 5 % (see the tests).
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd

from xling.analysis.inference.correlations import missing_patterns
from xling.analysis.inference.intervals import percentile_interval
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import (
    MIN_ARRANGEMENTS,
    Permutations,
    count_arrangements,
    draw_permutations,
    keep_unknown_in_place,
    language_roles,
)
from xling.analysis.inference.qap import permutation_p
from xling.analysis.questions.mediation_paths import (
    MIN_PAIRS,
    Cells,
    Paths,
    compute_paths,
    demean_cells,
    path_b_p,
    resample_paths,
)
from xling.analysis.schema import distance_kinds
from xling.machine.progress import track

MIN_TOTAL = 0.1
"""Below this standardised total effect (a small one, Cohen 1988) a share of it says nothing."""

MIN_SOURCES = 5
"""Below this a bootstrap of languages gives intervals that are far too short (docs/statistics.md)."""

MEDIATION = {
    "strategy": "name of the freezing strategy",
    "outcome": "score, score_relative, transfer_gap or rank_within_source",
    "predictor": "distance kind",
    "layer": "Int64; <NA> for the mean over layers",
    "layer_label": "'00', '01', ... or 'mean'",
    "is_demeaned": "source and target effects are removed from distance, impact and outcome",
    "n_pairs": "ordered pairs S != T with distance, impact and outcome; where is_demeaned, of the largest complete part",
    "n_languages": "languages in these pairs",
    "path_a": "impact ~ distance, in standard deviations",
    "path_b": "outcome ~ impact given distance, in standard deviations",
    "total": "outcome ~ distance, in standard deviations",
    "direct": "outcome ~ distance given impact, in standard deviations",
    "indirect": "path_a * path_b = total - direct, in standard deviations",
    "total_raw": "total in units of the outcome per unit of distance",
    "direct_raw": "direct in these units",
    "indirect_raw": "indirect in these units",
    "indirect_low": f"lower end of the 95 % language-level bootstrap interval of indirect; none below {MIN_SOURCES} sources",
    "indirect_high": "upper end of it",
    "share": "indirect / total; outside 0..1 where direct and indirect effect have opposite signs",
    "share_low": "lower end of its 95 % language-level bootstrap interval",
    "share_high": "upper end of it",
    "p_qap_total": "two-sided permutation p-value of total (QAP)",
    "p_qap_path_a": "the same for path_a; as for total, the labels of the distance matrix are permuted",
    "p_qap_path_b": "the same for path_b, languages permuted in the largest complete part of the design",
    "p_qap_indirect": "the larger of p_qap_path_a and p_qap_path_b",
    "n_permutations": "permutations behind p_qap_total and p_qap_path_a: those that leave distance a slope",
    "exact": "all of these were enumerated",
    "n_pairs_permuted": "pairs of the part behind p_qap_path_b",
    "n_bootstraps": "bootstrap draws in which all regressions exist",
    "reason": "why a number is NaN, else empty",
}
"""Columns of ``mediation``."""


def _share(paths: Paths) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(paths.total == 0, np.nan, paths.indirect / paths.total)


def _reason(n_pairs: int, n_arrangements: int, is_path_b_tested: bool, n_sources: int, total: float) -> str:
    if n_pairs < MIN_PAIRS:
        return f"{n_pairs} pairs with distance, impact and outcome; at least {MIN_PAIRS} are needed"
    if np.isnan(total):
        return "distance, impact or outcome is constant over the pairs, or impact is a function of distance"
    reasons = []
    if n_arrangements < MIN_ARRANGEMENTS:
        reasons.append(
            f"no p-value: fewer than {MIN_ARRANGEMENTS} arrangements of the languages that the design allows"
        )
    elif not is_path_b_tested:
        reasons.append(
            f"no p-value of path_b and indirect: fewer than {MIN_ARRANGEMENTS} arrangements within the complete part"
        )
    if n_sources < MIN_SOURCES:
        reasons.append(f"no interval: {n_sources} sources; at least {MIN_SOURCES} are needed")
    if abs(total) < MIN_TOTAL:
        reasons.append(f"no share: the total effect is near 0 (|standardised| < {MIN_TOTAL})")
    return "; ".join(reasons)


def mediate(matrix: np.ndarray, cells: Cells, n_permutations: int, n_bootstraps: int, seed: int) -> list[dict]:
    """Estimate, resample and permute the effects of one distance for all layers of `cells`.

    Args:
        matrix: float64 ``[n, n]`` over the languages of `cells` alone, NaN = missing.
        cells: the observed pairs, all with a distance.
        n_permutations: draws of QAP; fewer languages are enumerated.
        n_bootstraps: draws of the bootstrap.
        seed: seed of both.

    Returns:
        One dict per layer: the columns of `MEDIATION` from `n_pairs` on.
    """
    distance = matrix[cells.sources, cells.targets]
    n_pairs = len(distance)
    if n_pairs < MIN_PAIRS:
        known = {"n_pairs": n_pairs, "n_languages": len(matrix), "reason": _reason(n_pairs, 0, False, 0, np.nan)}
        return [known for _ in cells.impact]
    observed = compute_paths(distance[None], cells.impact, cells.outcome, np.ones((1, 1)))
    roles = language_roles(cells.sources, cells.targets, len(matrix))
    permutations = keep_unknown_in_place(
        draw_permutations(roles, n_permutations, seed), matrix, (cells.sources, cells.targets)
    )
    columns = _effects(observed, cells.outcome.std() / distance.std() if distance.std() > 0 else np.nan)
    n_sources = len(np.unique(cells.sources))
    columns |= _intervals(resample_paths(matrix, cells, n_bootstraps, seed), columns["share"], n_sources)
    path_b, n_permuted = path_b_p(matrix, cells, n_permutations, seed)
    columns |= _p_values(observed, _null(matrix, cells, permutations), permutations, path_b)
    n_arrangements = count_arrangements(permutations.groups)
    if n_arrangements < MIN_ARRANGEMENTS:
        columns |= {name: np.full(len(cells.impact), np.nan) for name in columns if name.startswith("p_qap")}
    rows = [{name: values[i] for name, values in columns.items()} for i in range(len(cells.impact))]
    shared = {
        "n_pairs": n_pairs,
        "n_languages": len(matrix),
        "exact": permutations.exact,
        "n_pairs_permuted": n_permuted,
    }
    why = (n_pairs, n_arrangements, bool(np.isfinite(path_b).any()), n_sources)
    return [shared | row | {"reason": _reason(*why, row["total"])} for row in rows]


def _effects(observed: Paths, raw_scale: float) -> dict[str, np.ndarray]:
    effects = {name: getattr(observed, name)[0] for name in ("path_a", "path_b", "total", "direct", "indirect")}
    raw = {f"{name}_raw": effects[name] * raw_scale for name in ("total", "direct", "indirect")}
    share = np.where(np.abs(effects["total"]) >= MIN_TOTAL, _share(observed)[0], np.nan)
    return effects | raw | {"share": share}


def _intervals(boot: Paths, share: np.ndarray, n_sources: int) -> dict[str, np.ndarray]:
    if n_sources < MIN_SOURCES:
        none = np.full(share.shape, np.nan)
        ends = dict.fromkeys(("indirect_low", "indirect_high", "share_low", "share_high"), none)
        return ends | {"n_bootstraps": np.zeros(share.shape, dtype=int)}
    indirect_low, indirect_high = percentile_interval(boot.indirect)
    share_low, share_high = (np.where(np.isnan(share), np.nan, end) for end in percentile_interval(_share(boot)))
    n_bootstraps = np.isfinite(boot.indirect).sum(axis=0)
    return {
        "indirect_low": indirect_low,
        "indirect_high": indirect_high,
        "share_low": share_low,
        "share_high": share_high,
        "n_bootstraps": n_bootstraps,
    }


def _null(matrix: np.ndarray, cells: Cells, permutations: Permutations) -> dict[str, np.ndarray]:
    """Compute path_a and the total effect after the languages of the distance are relabelled: both are correlations with it.

    Returns:
        float64 ``[n_permutations, n_layers]`` each.
    """
    of_outcomes = np.vstack([cells.impact, cells.outcome])
    null = null_correlations(matrix, of_outcomes, (cells.sources, cells.targets), permutations)
    return {"path_a": null[:, :-1], "total": np.broadcast_to(null[:, -1:], null[:, :-1].shape)}


def _p_values(
    observed: Paths, null: dict[str, np.ndarray], permutations: Permutations, path_b: np.ndarray
) -> dict[str, np.ndarray]:
    total, path_a = (
        permutation_p(getattr(observed, name)[0], null[name], permutations.exact) for name in ("total", "path_a")
    )
    path_b = np.where(np.isfinite(observed.path_b[0]), path_b, np.nan)
    return {
        "p_qap_total": total,
        "p_qap_path_a": path_a,
        "p_qap_path_b": path_b,
        "p_qap_indirect": np.maximum(path_a, path_b),
        "n_permutations": np.isfinite(null["path_a"]).sum(axis=0),
    }


def _layers_by_pattern(
    study: pd.DataFrame, table: pd.DataFrame, outcome: str
) -> Iterator[tuple[pd.Index, np.ndarray, Cells]]:
    """Yield (layer labels, square distance matrix, cells) for layers measured over the same pairs."""
    study = study[~study["is_in_language"].astype(bool)]
    wide = study.pivot(index=["source_language", "target_language"], columns="layer_label", values="impact").astype(
        float
    )
    transfer = study.drop_duplicates(["source_language", "target_language"]).set_index(wide.index.names)[outcome]
    sources, targets = (wide.index.get_level_values(level).to_numpy(str) for level in wide.index.names)
    everybody, positions = np.unique([sources, targets], return_inverse=True)
    matrix = table.reindex(index=everybody, columns=everybody).to_numpy(float)
    positions = positions.reshape(2, -1)
    distance = matrix[positions[0], positions[1]]
    transfer = transfer.reindex(wide.index).to_numpy(float)
    impact = np.where(np.isfinite(distance) & np.isfinite(transfer), wide.to_numpy().T, np.nan)  # [n_layers, n_pairs]
    for rows, columns in missing_patterns(impact):
        languages, own = np.unique(positions[:, columns], return_inverse=True)
        own_sources, own_targets = own.reshape(2, -1)
        cells = Cells(own_sources, own_targets, impact[np.ix_(rows, columns)], transfer[columns])
        yield wide.columns[rows], matrix[np.ix_(languages, languages)], cells


def compute_mediation(
    pairs: pd.DataFrame,
    distances: pd.DataFrame,
    outcome: str = "score",
    n_permutations: int = 10_000,
    n_bootstraps: int = 2_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate the mediation of every distance by the impact at every layer and by the mean over layers.

    Args:
        pairs: columns of :data:`xling.analysis.schema.PAIRS`.
        distances: source_language, target_language, and per kind ``<kind>`` and ``<kind>_coverage``, for all pairs of
            the study's languages: permutation needs the distances between targets too.
        outcome: column of `pairs` that stands for transfer.
        n_permutations: draws of QAP.
        n_bootstraps: draws of the bootstrap.
        seed: seed of both.

    Returns:
        One row per strategy, distance, layer and form (raw, demeaned), columns of `MEDIATION`.
    """
    layers = pairs.drop_duplicates("layer_label").set_index("layer_label")["layer"]
    rows = []
    studies = dict(list(pairs.groupby("strategy")))
    for strategy, kind in track(list(product(studies, distance_kinds(distances))), "Mediation"):
        table = distances.pivot(index="source_language", columns="target_language", values=kind)
        for labels, matrix, cells in _layers_by_pattern(studies[strategy], table, outcome):
            forms = {
                False: (matrix, cells),
                True: None if len(cells.outcome) < MIN_PAIRS else demean_cells(matrix, cells),
            }
            for is_demeaned, form in forms.items():
                if form is None:
                    continue
                key = {"strategy": strategy, "outcome": outcome, "predictor": kind, "is_demeaned": is_demeaned}
                effects = mediate(*form, n_permutations, n_bootstraps, seed)
                rows += [key | {"layer_label": label} | row for label, row in zip(labels, effects, strict=True)]
    table = pd.DataFrame(rows, columns=list(MEDIATION))
    table["layer"] = table["layer_label"].map(layers).astype("Int64")
    return table.sort_values(["strategy", "predictor", "is_demeaned", "layer_label"], ignore_index=True)
