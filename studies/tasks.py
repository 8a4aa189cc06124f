"""Sets the re-test beside other tasks of the same encoder: parts of speech and named entities, over the languages of both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from studies.comparisons import HERE, SHOWN_LAYERS, STUDY, agreement_of_seeds, count_negative
from studies.variants import RESAMPLING, Variant, pair_up
from xling.analysis.inputs.gather import gather_study
from xling.analysis.inputs.measurements import Measurements
from xling.analysis.questions.comparison import AnalysedStudy, compare_studies
from xling.analysis.schema import MEAN_LABEL, Analysis, distance_kinds
from xling.analysis.tables import infer_correlations
from xling.report.sections.comparison import draw_maps

TASKS = {"pos": "parts of speech (PUD)", "ner": "named entities (PAN-X)"}
"""Ending of the pack's name -> the task in words."""

UNSPACED = ("th", "zh")
"""Languages written without spaces between words; as a pair they stand apart from all others in tasks over words."""


class Task(NamedTuple):
    """One study, cut to the languages and seeds of a comparison.

    Attributes:
        name: the task, in words.
        n_languages: number of sources, which are the targets, too.
        n_runs: number of runs.
        tests: correlations after source and target effects.
        spaced: the same over the languages that are written with spaces between words.
        own: mean score of the models on their source.
        others: mean score on the other languages.
        impact: layer label -> mean impact on the other languages.
        n_negative: how many coefficients of impact with the four distances that say something of every pair are negative, at the
            layers from 1 on.
        n_coefficients: how many there are.
        seeds_agree: ``impact`` (mean over layers) and ``score`` -> correlation of two seeds over pairs of languages after
            source and target effects, on average; NaN with one seed.
    """

    name: str
    n_languages: int
    n_runs: int
    tests: pd.DataFrame
    spaced: pd.DataFrame
    own: float
    others: float
    impact: dict[str, float]
    n_negative: int
    n_coefficients: int
    seeds_agree: dict[str, float]

    def with_distance(self, analysis: str, kind: str) -> pd.Series:
        """Give the test of one distance: of the score, or of the mean of impact over layers."""
        own = self.tests[(self.tests["analysis"] == analysis) & (self.tests["predictor"] == kind)]
        return own[own["layer_label"].isin(["", MEAN_LABEL])].iloc[0]


def compare_tasks(retest: Measurements, tasks: Mapping[str, str] = TASKS) -> list[dict]:
    """Compare each other task that has a pack with the re-test over that task's languages and seeds.

    Args:
        retest: the runs of the re-test.
        tasks: ending of a pack's name -> the task in words.

    Returns:
        A dict per task: its name; ``tasks``, XNLI and the task (:class:`Task`); ``agreement``, how far they agree (`AGREEMENT` of
        :mod:`xling.analysis.questions.comparison`) by what is compared; and ``maps``, the coefficients of impact with distance.
    """
    return [
        _compare(retest, gather_study(HERE / f"{STUDY}_{ending}.xling"), name)
        for ending, name in tasks.items()
        if (HERE / f"{STUDY}_{ending}.xling").is_file()
    ]


def _compare(retest: Measurements, other: Measurements, name: str) -> dict:
    languages = sorted(other.transfer["source_language"].unique())
    variant = Variant(name, seeds=sorted(other.runs["seed"].unique()), sources=languages, targets=languages)
    kept = [language for language in languages if language not in UNSPACED]
    of_spaced = replace(variant, sources=kept, targets=kept)
    studies = {"XNLI": retest, name: other}
    analysed = {task: _analyse(measured, variant) for task, measured in studies.items()}
    spaced = {task: _analyse(measured, of_spaced).analysis.tables["correlations"] for task, measured in studies.items()}
    tables = compare_studies(analysed, RESAMPLING).tables
    agreement = tables["comparison_agreement"]
    of_all = agreement[agreement["row"].isin(["", MEAN_LABEL])].set_index("what").to_dict("index")
    described = [
        _describe(task, study, spaced[task], _agree_over_seeds(studies[task], variant))
        for task, study in analysed.items()
    ]
    maps = tables["comparison_maps"]
    return {
        "name": name,
        "tasks": described,
        "agreement": of_all,
        "maps": maps.assign(study=maps["study"] + f", {len(languages)} languages"),
    }


def draw_tasks(rows: Sequence[Mapping]) -> Figure:
    """Draw the map of every task, layers by distances, beside that of XNLI over the same languages.

    Args:
        rows: what :func:`compare_tasks` returns, at least one.
    """
    maps = pd.concat([row["maps"] for row in rows], ignore_index=True)
    nothing_framed = pd.DataFrame({"holds": [], "predictor": [], "row": []})
    return draw_maps(maps, nothing_framed, list(dict.fromkeys(maps["study"])))


def _analyse(measured: Measurements, variant: Variant) -> AnalysedStudy:
    measured, pairs = pair_up(measured, variant)
    tests = infer_correlations(measured, pairs, distance_kinds(pairs), RESAMPLING)
    facts = {
        "strategy": pairs["strategy"].iloc[0],
        "sources": sorted(pairs["source_language"].unique()),
        "targets": sorted(pairs["target_language"].unique()),
        "seeds": list(variant.seeds or ()),
        "kinds": distance_kinds(pairs),
    }
    return AnalysedStudy(measured.distances, Analysis({"pairs": pairs, "correlations": tests}, [], facts))


def _agree_over_seeds(measured: Measurements, variant: Variant) -> dict[str, float]:
    by_seed = {seed: pair_up(measured, replace(variant, seeds=(seed,)))[1] for seed in variant.seeds or ()}
    return {what: agreement_of_seeds(by_seed, what, MEAN_LABEL) for what in ("impact", "score")}


def _describe(name: str, study: AnalysedStudy, spaced: pd.DataFrame, seeds_agree: dict[str, float]) -> Task:
    tests, pairs = study.analysis.tables["correlations"], study.pairs
    means = pairs[pairs["layer_label"] == MEAN_LABEL].groupby("is_in_language")["score"].mean()
    between = pairs[~pairs["is_in_language"].astype(bool)].groupby("layer_label")["impact"].mean()
    sources, seeds = study.analysis.facts["sources"], study.analysis.facts["seeds"]
    return Task(
        name,
        len(sources),
        len(sources) * len(seeds),
        tests,
        spaced,
        means.loc[True],
        means.loc[False],
        {label: between[label] for label in SHOWN_LAYERS},
        *count_negative(tests),
        seeds_agree,
    )
