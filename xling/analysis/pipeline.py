"""Makes all tables of an analysis from the tables of a study."""

import logging
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from xling.analysis import caveats
from xling.analysis.claims import judge_claims
from xling.analysis.inputs.measurements import Measurements, Settings
from xling.analysis.inputs.measures import choose_measure, correct_for_chance, one_measure
from xling.analysis.inputs.pairs import LANGUAGE_PAIR, RUN, compute_pairs, impact_reasons, select_validation
from xling.analysis.measures import compute_measures
from xling.analysis.questions.paper import compute_paper_correlations
from xling.analysis.questions.specifications import compute_specifications
from xling.analysis.schema import MEAN_LABEL, Analysis, distance_kinds
from xling.analysis.tables import compute_default_tables
from xling.errors import XlingValueError, check_known, close_matches
from xling.runs.measures import to_long

log = logging.getLogger(__name__)

MODES = ("default", "paper", "both")
BASELINES = ("none", "word_embeddings")
"""Baselines; where a study has several strategies and none is chosen, the one baseline among them is analysed."""
_PACKAGES = ("xling", "numpy", "scipy", "pandas", "matplotlib", "torch", "transformers", "lang2vec")


def analyse(measured: Measurements, settings: Settings | None = None) -> Analysis:
    """Compute every table that the measurements allow.

    Args:
        measured: transfer, distances and, where they were measured, impact and more.
        settings: mode, strategy, validation and resampling; None = the defaults.

    Returns:
        ``pairs`` (all strategies); in default mode the tables of
        :func:`~xling.analysis.tables.compute_default_tables`; in paper mode ``correlations_paper``. Tables without a
        row are absent.

    Raises:
        XlingValueError: a setting does not fit, a column is missing, or no pair of different languages is left.
    """
    # in thousands of small matrix products a second thread only waits for the first, which doubles the time
    with threadpool_limits(1):
        return _analyse(measured, settings or Settings())


def _analyse(measured: Measurements, settings: Settings) -> Analysis:
    measured, measure, sentences = _choose_measure(measured, settings)
    impact = measured.impact if measure is None else one_measure(measured.impact, measure)
    check_known("mode", settings.mode, MODES)
    pairs = compute_pairs(measured.transfer, impact, measured.distances, settings.epoch, settings.step)
    pairs["measure"] = measure or ""
    strategy = choose_strategy(pairs, settings.strategy)
    main = pairs[pairs["strategy"] == strategy]
    kinds = [kind for kind in distance_kinds(main) if main.loc[~main["is_in_language"], kind].notna().any()]
    _check_something_left(main, strategy)
    warnings = sentences + caveats.describe_study(main, list(measured.skipped))
    warnings += caveats.describe_impact(main, impact_reasons(impact))
    warnings += caveats.describe_distances(main, distance_kinds(main), measured.distances)
    tables = {"pairs": pairs}
    if settings.mode != "paper":
        tables |= compute_default_tables(replace(measured, impact=impact), settings, pairs, main, kinds)
        if measure is not None:
            tables["correlations_measures"] = compute_measures(
                measured, settings, strategy, kinds, measure, tables["correlations"]
            )
        if kinds:
            log.info("Computing the specification curve")
            tables["specifications"] = compute_specifications(
                measured, main, kinds, settings.resampling, settings.epoch, settings.step
            )
        tables["claims"] = judge_claims(settings.claims, tables["correlations"])
        warnings += caveats.describe_tests(tables["correlations"])
    if settings.mode != "default":
        tables["correlations_paper"] = compute_paper_correlations(main, kinds)
    tables = {name: table for name, table in tables.items() if len(table)}
    return Analysis(tables, warnings, _collect_facts(measured, settings, pairs, main, kinds))


def _choose_measure(measured: Measurements, settings: Settings) -> tuple[Measurements, str | None, list[str]]:
    """Make a wide table of impact long, and choose the measure that is analysed.

    Returns:
        The measurements with the long table, the measure's name (None without impact), and sentences for the report.
    """
    impact = measured.impact
    if impact is None or impact.empty:
        return measured, None, []
    if "measure" not in impact:
        impact = to_long(impact)
    recorded = impact[[*RUN, "epoch", "step", "measure"]]  # a copy of all columns would be large
    measure, sentences = choose_measure(select_validation(recorded, settings.epoch, settings.step), settings.measure)
    if settings.above_chance:
        impact, sentence = correct_for_chance(impact)
        sentences = [*sentences, sentence]
    return replace(measured, impact=impact), measure, sentences


def choose_strategy(pairs: pd.DataFrame, strategy: str | None = None) -> str:
    """Choose the strategy whose runs enter the main analyses: the one asked for, the only one, or the only baseline.

    Raises:
        XlingValueError: there is no such strategy, or no single baseline to choose.
    """
    present = sorted(pairs["strategy"].unique())
    if strategy is not None:
        if strategy not in present:
            near = close_matches(strategy, present)
            raise XlingValueError(f"no run has the strategy {strategy!r}; there are {', '.join(present)}{near}")
        return strategy
    candidates = present if len(present) == 1 else [name for name in BASELINES if name in present]
    if len(candidates) != 1:
        raise XlingValueError(
            f"expected one baseline strategy ({' or '.join(BASELINES)}) among {', '.join(present)}, found "
            f"{len(candidates)}; choose one with strategy=NAME"
        )
    return candidates[0]


def _check_something_left(main: pd.DataFrame, strategy: str) -> None:
    between = main[~main["is_in_language"]]
    if not between[["score", "impact", "impact_biased"]].notna().any(axis=None):
        raise XlingValueError(
            f"nothing to analyse: strategy {strategy!r} has no score and no impact for two different languages; "
            "finish a run with a target other than its source"
        )


def _collect_facts(
    measured: Measurements, settings: Settings, pairs: pd.DataFrame, main: pd.DataFrame, kinds: list[str]
) -> dict[str, Any]:
    cells = main[main["layer_label"] == MEAN_LABEL]
    seeds = measured.transfer.loc[measured.transfer["strategy"] == main["strategy"].iloc[0], "seed"]
    controls = [] if measured.controls is None else [c for c in measured.controls.columns if c not in LANGUAGE_PAIR]
    return {
        "study": "" if measured.impact is None else str(measured.transfer["study"].iloc[0]),
        "sources": sorted(cells["source_language"].unique()),
        "targets": sorted(cells["target_language"].unique()),
        "seeds": sorted(seeds.unique().tolist()),
        "strategies": sorted(pairs["strategy"].unique()),
        "strategy": main["strategy"].iloc[0],
        "measure": main["measure"].iloc[0],
        "kinds": kinds,
        "layers": sorted(main["layer"].dropna().astype(int).unique().tolist()),
        "permutations": settings.resampling.permutations,
        "bootstraps": settings.resampling.bootstraps,
        "seed": settings.resampling.seed,
        "mode": settings.mode,
        "distances": measured.distances_name,
        "controls": controls,
        "missing_cells": caveats.missing_cells(cells),
        "skipped": list(measured.skipped),
        "subject": _subject(measured),
        "recipes": [] if "recipe" not in (runs := pd.DataFrame(measured.runs)) else sorted(runs["recipe"].unique()),
        "versions": {name: version(name) for name in _PACKAGES},
    }


def _subject(measured: Measurements) -> dict[str, str]:
    """Say what the study is about and when its runs ended; empty where scores alone were given."""
    if measured.runs is None or measured.runs.empty or "subject" not in measured.runs:
        return {}
    finished = sorted(str(time)[:10] for time in measured.runs["finished"])
    dates = finished[0] if finished[0] == finished[-1] else f"{finished[0]} to {finished[-1]}"
    names = {
        key: " / ".join(sorted({subject[key] for subject in measured.runs["subject"]}))
        for key in ("data_set", "task", "encoder")
    }
    return {
        **names,
        "finished": dates,
        "n_runs": str(len(measured.runs)),
    }
