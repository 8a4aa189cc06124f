"""Names the tables that an analysis writes (one CSV each under ``tables/``) and their columns, in one place.

A missing number is NaN and its row says why in `reason`. Layers keep the numbers of :mod:`xling.runs.tables`; a row
without a layer of its own has ``layer = <NA>`` and says in `layer_label` what it is.
"""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

TABLES = (
    "claims",
    "pairs",
    "correlations",
    "correlations_measures",
    "correlations_outcomes",
    "correlations_paper",
    "variance_shares",
    "joint_models",
    "mixed_models",
    "mediation",
    "specifications",
    "reliability",
    "disattenuated",
    "ranking",
    "source_choice",
    "held_out",
    "freezing",
    "interventions",
    "cause",
    "trajectory",
    "half_times",
    "coefficients_over_time",
    "gradients",
    "alignment",
    "concentration",
    "linear_probes",
)
"""All tables that an analysis may have. The columns of the first, of ``joint_models`` and of the last seventeen are described in
the modules that compute them."""

MEAN_LABEL = "mean"
"""`layer_label` of the mean over layers 1..n (the embedding output, layer 0, is not part of it)."""

KINDS = ("genetic", "geographic", "syntactic", "inventory", "phonological", "featural")
"""URIEL's distances, in the order of the report; a distance table may hold others (see :func:`distance_kinds`)."""

IMPACT_VS_DISTANCE = "impact_vs_distance"
IMPACT_VS_TRANSFER = "impact_vs_transfer"
TRANSFER_VS_DISTANCE = "transfer_vs_distance"
ANALYSES = (IMPACT_VS_DISTANCE, IMPACT_VS_TRANSFER, TRANSFER_VS_DISTANCE)

PAIRS = {
    "source_language": "language fine-tuned on",
    "target_language": "language evaluated; none of its labels are used",
    "strategy": "name of the freezing strategy",
    "layer": "Int64; <NA> on the row of the mean over layers",
    "layer_label": "'00', '01', ... or 'mean'; the 'mean' row exists for every cell, with or without impact",
    "n_seeds": "number of seeds averaged in the cell; seeds are never counted as further languages",
    "measure": "of impact, e.g. cka_grouped; empty without impact",
    "impact": "1 - this similarity of base and fine-tuned representations, mean over seeds",
    "impact_biased": "1 - biased linear CKA (the paper's), mean over seeds",
    "impact_sd": "standard deviation of impact over seeds (n - 1); NaN for one seed",
    "impact_low": "lower end of the run's 95 % jackknife interval over premises; NaN for several seeds and for the mean",
    "impact_high": "upper end of it",
    "metric": "name of the task's transfer metric, e.g. accuracy or f1",
    "score": "its value on the target, 0..1, mean over seeds; the same on all rows of a cell",
    "score_sd": "standard deviation of score over seeds (n - 1); NaN for one seed",
    "score_in_language": "score of the same source's model on the source language itself",
    "transfer_gap": "score_in_language - score; positive = loss",
    "score_relative": "score / score_in_language",
    "rank_within_source": "rank of the target among the source's other targets, 1 = most accurate, ties averaged",
    "is_in_language": "source_language == target_language",
    "n_examples": "number of examples evaluated",
}
"""Columns of ``pairs``: one row per strategy, source, target and layer, plus one 'mean' row per cell.

A cell is a strategy, source and target. One column per distance kind (``genetic`` ...; 0 = same, missing = NaN) and its
``<kind>_coverage`` follow. One row per cell, whatever was measured, is ``pairs[pairs.layer_label == "mean"]``.
"""

_TEST = {
    "measure": "of impact, e.g. cka_grouped; empty where impact plays no part",
    "analysis": "impact_vs_distance, impact_vs_transfer or transfer_vs_distance",
    "predictor": "distance kind, or 'impact'",
    "layer": "Int64; <NA> for the mean over layers and for analyses without layer",
    "layer_label": "'00', '01', ..., 'mean', or '' for analyses without layer",
}

CORRELATIONS = _TEST | {
    "n_pairs": "ordered pairs S != T with both values",
    "n_sources": "source languages among them",
    "n_targets": "target languages among them",
    "main": "the main coefficient: 'demeaned', or 'pearson' where one source or target leaves nothing after demeaning",
    "r": "the main coefficient",
    "ci_low": "lower end of its 95 % interval, by inversion of its permutation test",
    "ci_high": "upper end of it",
    "p_qap": "its two-sided permutation p-value (QAP)",
    "p_max_t": "its family-wise p-value: max-T over all rows of the same analysis",
    "p_bh": "its Benjamini-Hochberg adjusted p-value over all rows of the same analysis",
    "detectable_r": "smallest |r| that its single test (p <= .05) finds in 80 % of simulated studies of this design",
    "detectable_family_wise": "the same for the family-wise test",
    "is_small": "the interval lies within -.3 .. .3: a larger |r| is excluded",
    "loo_low": "smallest main coefficient with one language left out, as source or as target",
    "loo_high": "largest one",
    "carried_by": "the language, as source or target, without which less than half of it is left; empty: none",
    "pearson_r": "Pearson correlation over the pairs, which mixes differences of sources, of targets and of pairs",
    "ci_low_pearson": "lower end of its 95 % interval, by inversion of its permutation test",
    "ci_high_pearson": "upper end of it",
    "p_qap_pearson": "its two-sided permutation p-value",
    "p_max_t_pearson": "its family-wise p-value",
    "p_bh_pearson": "its Benjamini-Hochberg adjusted p-value",
    "spearman_rho": "Spearman correlation over the pairs",
    "p_qap_spearman": "its two-sided permutation p-value",
    "demeaned_r": "Pearson correlation after source and target effects are removed from both sides",
    "ci_low_demeaned": "lower end of its 95 % interval, by inversion of its permutation test",
    "ci_high_demeaned": "upper end of it",
    "p_qap_demeaned": "its two-sided permutation p-value",
    "p_max_t_demeaned": "its family-wise p-value",
    "p_bh_demeaned": "its Benjamini-Hochberg adjusted p-value",
    "partial_r": "Pearson correlation after the controls are removed from both sides",
    "p_qap_partial": "its two-sided permutation p-value (double semi-partialling)",
    "controls": "names of the controls behind partial_r, comma-separated",
    "p_pearson": "naive p-value of scipy, which takes the pairs for independent; for comparison only",
    "p_spearman": "the same for Spearman",
    "n_permuted": "languages whose labels were permuted, each within its role",
    "n_pairs_permuted": "pairs the permuted statistic was taken over (fewer than n_pairs where a part of the design is)",
    "n_permutations": "permutations behind the QAP p-values: those in which the statistic is defined",
    "exact": "all permutations were enumerated",
    "reason": "why a number is NaN, else empty",
}
"""Columns of ``correlations`` (default mode, S != T everywhere)."""

VARIANCE_SHARES = {
    "outcome": "impact, score, score_relative, transfer_gap or rank_within_source",
    "layer": "Int64; <NA> for the mean over layers and for outcomes without layer",
    "layer_label": "'00', '01', ..., 'mean', or '' for outcomes without layer",
    "n_pairs": "ordered pairs S != T",
    "source": "share of the variance that source languages explain by themselves, 0..1",
    "target": "share that target languages explain by themselves",
    "rest": "what is left: pairs, and noise",
}
"""``variance_shares``: what the variance of an outcome over pairs consists of."""

CORRELATIONS_OUTCOMES = {"outcome": "score_relative, transfer_gap or rank_within_source"} | CORRELATIONS
"""``correlations_outcomes``: the analyses with transfer, once per other way of expressing transfer."""

CORRELATIONS_PAPER = _TEST | {
    "n_pairs": "pairs with both values: S != T for impact_vs_distance, S = T kept in the two others",
    "pearson_r": "Pearson correlation over these pairs",
    "p_pearson": "its uncorrected p-value",
    "pearson_stars": "'**' for p <= .01, '*' for p <= .05, else ''",
    "spearman_rho": "Spearman correlation over these pairs",
    "p_spearman": "its uncorrected p-value",
    "spearman_stars": "as pearson_stars",
    "reason": "why a number is NaN, else empty",
}
"""``correlations_paper``: the rules of the paper's public scripts, with the biased estimator of impact."""

MIXED_MODELS = _TEST | {
    "n_pairs": "ordered pairs S != T in the model",
    "slope": "standard deviations of the outcome per standard deviation of the predictor",
    "slope_se": "standard error of slope",
    "p_value": "Wald p-value of slope, from t with the degrees of freedom that source and target effects leave",
    "sd_source": "standard deviation of the random source effect, in standard deviations of the outcome",
    "sd_target": "the same for the target effect",
    "sd_residual": "the same for the residual",
    "converged": "the optimiser reported convergence",
    "reason": "why a number is NaN, else empty",
}
"""``mixed_models``: outcome ~ predictor + (1 | source) + (1 | target), both standardised, fitted by REML."""


@dataclass(frozen=True)
class Analysis:
    """What an analysis found.

    Attributes:
        tables: name -> tidy frame; the names are file names without ``.csv`` (``pairs``, ``correlations``, ...).
            A table that does not apply (no impact, one strategy only) is absent.
        warnings: plain sentences on what was left out, replaced or deserves care, in the order they arose.
        facts: what was analysed, for the report's text: ``study`` (its name; empty where scores alone were given),
            ``sources``, ``targets``, ``seeds``, ``strategies`` and ``kinds`` (lists of str or int), ``strategy`` (of the main
            analyses), ``layers`` (list of int),
            ``permutations``, ``bootstraps``, ``seed``, ``mode``, ``distances`` (name of the distance source),
            ``controls``, ``missing_cells`` (list of (source, target)), ``skipped`` (list of (path, reason)),
            ``versions`` (dict).
    """

    tables: dict[str, pd.DataFrame]
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def distance_kinds(frame: pd.DataFrame) -> list[str]:
    """List the distance columns of a pair or distance table: those with a ``<kind>_coverage`` beside them.

    >>> distance_kinds(pd.DataFrame(columns=["source_language", "genetic", "genetic_coverage", "score"]))
    ['genetic']
    """
    return [column for column in frame.columns if f"{column}_coverage" in frame.columns]
