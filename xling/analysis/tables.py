"""Computes the tables of default mode: associations over S != T with permutation inference, and what builds on them."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from xling.analysis.inference.arrays import (
    PairArrays,
    distance_arrays,
    impact_arrays,
    in_strata,
    restrict_to_complete,
)
from xling.analysis.inference.associations import infer_associations
from xling.analysis.inference.demeaned import variance_shares
from xling.analysis.inference.joint import JOINT, infer_joint
from xling.analysis.inference.mixed_models import fit_mixed_model
from xling.analysis.inputs.measurements import Measurements, Resampling, Settings
from xling.analysis.inputs.pairs import LANGUAGE_PAIR, compute_pairs, impact_reasons, select_validation
from xling.analysis.questions.alignment import compute_alignment
from xling.analysis.questions.concentration import compute_concentration
from xling.analysis.questions.freezing import compute_freezing
from xling.analysis.questions.gradients import compute_gradients, with_first_cosine
from xling.analysis.questions.heldout import compute_held_out
from xling.analysis.questions.interventions import compute_causes, compute_interventions
from xling.analysis.questions.linear_probes import compute_linear_probes
from xling.analysis.questions.mediation import compute_mediation
from xling.analysis.questions.ranking import compute_ranking
from xling.analysis.questions.reliability import compute_reliability, disattenuate
from xling.analysis.questions.source_choice import compute_source_choice
from xling.analysis.questions.trajectory import (
    MIN_STEPS,
    compute_half_times,
    compute_over_time,
    compute_trajectory,
    shared_steps,
)
from xling.analysis.schema import (
    CORRELATIONS,
    CORRELATIONS_OUTCOMES,
    IMPACT_VS_DISTANCE,
    IMPACT_VS_TRANSFER,
    MEAN_LABEL,
    MIXED_MODELS,
    TRANSFER_VS_DISTANCE,
    VARIANCE_SHARES,
)
from xling.machine.progress import track

log = logging.getLogger(__name__)

OUTCOMES = ("score", "score_relative", "transfer_gap", "rank_within_source")
"""Ways of expressing transfer; the first is the main one, the others fill ``correlations_outcomes``."""


def compute_default_tables(
    measured: Measurements, settings: Settings, pairs: pd.DataFrame, main: pd.DataFrame, kinds: list[str]
) -> dict[str, pd.DataFrame]:
    """Compute ``correlations``, ``correlations_outcomes``, ``mixed_models``, ``ranking`` and more.

    Args:
        measured: the measurements from which `pairs` was joined.
        settings: settings, of which validation and resampling are read.
        pairs: all strategies' rows of the pair table.
        main: the rows of the strategy whose correlations are wanted.
        kinds: distance columns with a value for some pair.

    Returns:
        name -> table: also ``held_out``, and, where there is something to compute them from, ``mediation``,
        ``alignment``, ``concentration``, ``linear_probes`` and ``freezing``.
    """
    analyses = _build_analyses(measured, main, kinds)
    log.info("Testing associations (%s permutations)", f"{settings.resampling.permutations:,}")
    tests = _explain_layers(_test(analyses, settings.resampling), impact_reasons(measured.impact))
    tests["measure"] = np.where(tests["analysis"] == TRANSFER_VS_DISTANCE, "", main["measure"].iloc[0])
    outcomes, gradients = tests["outcome"].isin(OUTCOMES[1:]), measured.gradients
    log.info("Fitting crossed random effects")
    tables = {
        "correlations": tests.loc[~outcomes, list(CORRELATIONS)].reset_index(drop=True),
        "correlations_outcomes": tests.loc[outcomes, list(CORRELATIONS_OUTCOMES)].reset_index(drop=True),
        "variance_shares": _share_variance(main),
        "joint_models": _fit_joint(analyses, settings.resampling),
        "mixed_models": _fit_models(analyses),
        "ranking": compute_ranking(pairs if gradients is None else with_first_cosine(pairs, gradients)),
        "source_choice": compute_source_choice(pairs),
        "held_out": compute_held_out(main),
    }
    tables["reliability"] = compute_reliability(main, _pairs_of_seeds(measured, settings, main["strategy"].iloc[0]))
    tables["disattenuated"] = disattenuate(tables["correlations"], tables["reliability"])
    between = main[~main["is_in_language"]]
    if between[["impact", "score"]].notna().all(axis=1).any() and kinds:
        log.info("Splitting distance's association with transfer")
        tables["mediation"] = _mediate(measured.distances, main, kinds, settings.resampling)
    if measured.alignment is not None:
        tables["alignment"] = compute_alignment(measured.alignment, settings.epoch, settings.step)
    if measured.impact is not None and not measured.impact.empty:
        tables["concentration"] = compute_concentration(measured.impact, settings.epoch, settings.step)
    if measured.linear_probes is not None:
        tables["linear_probes"] = compute_linear_probes(measured.linear_probes, settings.epoch, settings.step)
    if pairs["strategy"].nunique() > 1:
        baseline = main["strategy"].iloc[0]
        transfer = select_validation(measured.transfer, settings.epoch, settings.step)
        tables["freezing"] = compute_freezing(
            transfer, measured.impact, measured.distances, measured.runs, baseline, measured.predictions
        )
        tables |= _intervene(measured, settings, transfer, baseline, kinds)
    if gradients is not None:
        strategy = main["strategy"].iloc[0]
        gradients, transfer = (table[table["strategy"] == strategy] for table in (gradients, measured.transfer))
        tables["gradients"] = compute_gradients(gradients, transfer, settings.resampling)
    return tables | _over_time(measured, main["strategy"].iloc[0], kinds)


def _pairs_of_seeds(measured: Measurements, settings: Settings, strategy: str) -> list[pd.DataFrame]:
    """Compute the pair table of every seed by itself; an empty list where there is a single seed."""
    transfer, impact = measured.transfer, measured.impact
    transfer = select_validation(transfer[transfer["strategy"] == strategy], settings.epoch, settings.step)
    if impact is not None:
        impact = impact[impact["strategy"] == strategy]  # compute_pairs takes the steps of transfer
    by_seed = list(transfer.groupby("seed"))
    if len(by_seed) < 2:
        return []
    return [
        compute_pairs(own, None if impact is None else impact[impact["seed"] == seed], measured.distances)
        for seed, own in by_seed
    ]


def _intervene(
    measured: Measurements, settings: Settings, transfer: pd.DataFrame, baseline: str, kinds: list[str]
) -> dict[str, pd.DataFrame]:
    """Compare what was done to layers, and estimate what impact does to transfer; `transfer` holds last validations."""
    impact = measured.impact
    if impact is not None and not impact.empty:
        impact = select_validation(impact, settings.epoch, settings.step)
    inputs = (transfer, impact, measured.distances)
    tables = {"interventions": compute_interventions(*inputs, measured.runs, baseline, measured.predictions)}
    if len(tables["interventions"]) and impact is not None and not impact.empty:
        tables["cause"] = compute_causes(*inputs, kinds, measured.runs, baseline)
    return tables


def _over_time(measured: Measurements, strategy: str, kinds: list[str]) -> dict[str, pd.DataFrame]:
    """Show the steps of training, where the main strategy's runs were validated several times."""
    tables = (measured.transfer, measured.impact, measured.alignment)
    transfer, impact, alignment = (t if t is None else t[t["strategy"] == strategy] for t in tables)
    if len(shared_steps(transfer)) < MIN_STEPS:
        return {}
    over_time = {"trajectory": compute_trajectory(transfer, impact, alignment)}
    if impact is not None and not impact.empty:
        over_time["half_times"] = compute_half_times(impact)
        over_time["coefficients_over_time"] = compute_over_time(transfer, impact, measured.distances, kinds)
    return over_time


def infer_correlations(
    measured: Measurements, main: pd.DataFrame, kinds: list[str], resampling: Resampling
) -> pd.DataFrame:
    """Test all three analyses with the score as the one outcome of transfer; columns of ``correlations`` but `measure`."""
    tests = _test(_build_analyses(measured, main, kinds, OUTCOMES[:1]), resampling)
    return tests[[name for name in CORRELATIONS if name in tests]]


def infer_impact(measured: Measurements, main: pd.DataFrame, kinds: list[str], resampling: Resampling) -> pd.DataFrame:
    """Test the two analyses in which impact takes part; columns of ``correlations`` but `measure`."""
    analyses = _build_analyses(measured, main, kinds)
    return _test({name: arrays for name, arrays in analyses.items() if name != TRANSFER_VS_DISTANCE}, resampling)


def _build_analyses(
    measured: Measurements, main: pd.DataFrame, kinds: list[str], outcomes: Sequence[str] = OUTCOMES
) -> dict[str, PairArrays]:
    """Make the arrays of every analysis for which there are values: name of the analysis -> arrays."""
    between = main[~main["is_in_language"]]
    outcomes = [name for name in outcomes if between[name].notna().any()]
    has_impact, has_score = between["impact"].notna().any(), "score" in outcomes
    analyses = {}
    if has_impact and kinds:
        analyses[IMPACT_VS_DISTANCE] = distance_arrays(main, ["impact"], measured.distances, kinds, measured.controls)
    if has_impact and has_score:
        analyses[IMPACT_VS_TRANSFER] = impact_arrays(main, outcomes, measured.controls)
    if has_score and kinds:
        analyses[TRANSFER_VS_DISTANCE] = distance_arrays(main, outcomes, measured.distances, kinds, measured.controls)
    if measured.strata is not None:
        return {name: in_strata(arrays, measured.strata) for name, arrays in analyses.items()}
    return analyses


def _test(analyses: dict[str, PairArrays], resampling: Resampling) -> pd.DataFrame:
    """Test all associations of all analyses; two measured sides are relabelled within the complete part of the design alone."""
    tests = []
    for name, arrays in analyses.items():
        permuted = restrict_to_complete(arrays) if name == IMPACT_VS_TRANSFER else arrays
        table = infer_associations(arrays, permuted, resampling)
        tests.append(table.assign(analysis=name, layer=_layer(table), controls=", ".join(arrays.control_labels)))
    return pd.concat(tests, ignore_index=True) if tests else pd.DataFrame(columns=list(CORRELATIONS_OUTCOMES))


def _explain_layers(tests: pd.DataFrame, reasons: dict[str, str]) -> pd.DataFrame:
    """Put the runs' own reason where a layer has no impact at all."""
    recorded = tests["layer_label"].map(reasons)
    return tests.assign(reason=tests["reason"].mask((tests["n_pairs"] == 0) & recorded.notna(), recorded))


def _fit_models(analyses: dict[str, PairArrays]) -> pd.DataFrame:
    jobs = [
        (name, arrays, k, m)
        for name, arrays in analyses.items()
        for m, (outcome, _) in enumerate(arrays.outcome_labels)
        for k in range(len(arrays.predictors))
        if outcome not in OUTCOMES[1:]
    ]
    rows = []
    for name, arrays, k, m in track(jobs, "Random effects"):
        (predictor, of_predictor), (_, of_outcome) = arrays.predictor_labels[k], arrays.outcome_labels[m]
        labels = {"analysis": name, "predictor": predictor, "layer_label": of_predictor or of_outcome}
        rows.append(labels | fit_mixed_model(arrays.cell_predictors[k], arrays.outcomes[m], *arrays.cells))
    table = pd.DataFrame(rows, columns=[name for name in MIXED_MODELS if name != "layer"])
    return table.assign(layer=_layer(table))[list(MIXED_MODELS)]


def _fit_joint(analyses: dict[str, PairArrays], resampling: Resampling) -> pd.DataFrame:
    """Set all distances and controls against mean impact, and against the score."""
    tables = []
    for name in (IMPACT_VS_DISTANCE, TRANSFER_VS_DISTANCE):
        if name in analyses:
            arrays = analyses[name]
            chosen = [
                i for i, label in enumerate(arrays.outcome_labels) if label in (("impact", MEAN_LABEL), ("score", ""))
            ]
            labels = tuple(arrays.outcome_labels[i] for i in chosen)
            tables.append(
                infer_joint(replace(arrays, outcomes=arrays.outcomes[chosen], outcome_labels=labels), resampling)
            )
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(JOINT))


def _share_variance(main: pd.DataFrame) -> pd.DataFrame:
    """Say what the variance of impact at every layer, and of every way to express transfer, consists of."""
    between = main[~main["is_in_language"]]
    outcomes = [("impact", label, rows) for label, rows in between.groupby("layer_label")]
    outcomes += [(name, "", between[between["layer_label"] == MEAN_LABEL]) for name in OUTCOMES]
    rows = []
    for outcome, label, pairs in outcomes:
        pairs = pairs.dropna(subset=outcome)
        if len(pairs):
            cells = (pairs[side].factorize()[0] for side in LANGUAGE_PAIR)
            shares = variance_shares(pairs[outcome].to_numpy(float), *cells)
            key = {"outcome": outcome, "layer_label": label, "n_pairs": len(pairs)}
            rows.append(key | dict(zip(("source", "target", "rest"), shares, strict=True)))
    table = pd.DataFrame(rows, columns=[name for name in VARIANCE_SHARES if name != "layer"])
    return table.assign(layer=_layer(table))[list(VARIANCE_SHARES)]


def _layer(table: pd.DataFrame) -> pd.Series:
    return pd.to_numeric(table["layer_label"], errors="coerce").astype("Int64")


def _mediate(distances: pd.DataFrame, main: pd.DataFrame, kinds: list[str], resampling: Resampling) -> pd.DataFrame:
    known = distances[[*LANGUAGE_PAIR, *(column for kind in kinds for column in (kind, f"{kind}_coverage"))]]
    return compute_mediation(
        main,
        known,
        n_permutations=resampling.permutations,
        n_bootstraps=resampling.bootstraps,
        seed=resampling.seed,
    )
