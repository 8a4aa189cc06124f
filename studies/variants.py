"""Analyses the runs of the re-test as planned and in other ways: other estimators, distances and seeds, or all the paper chose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from xling.analysis.claims import judge_claims, read_claims
from xling.analysis.inputs.gather import add_distances
from xling.analysis.inputs.measurements import Measurements, Resampling
from xling.analysis.inputs.measures import one_measure
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.schema import distance_kinds
from xling.analysis.tables import infer_correlations
from xling.distances import KINDS, compute_distances
from xling.report.words import numbers

RESAMPLING = Resampling()


@dataclass(frozen=True)
class Variant:
    """One other way to analyse the same runs.

    Attributes:
        name: in words.
        measure: of impact.
        raw: the correlation over pairs as they are, in place of the one after source and target effects.
        distances: source of distances.
        seeds: of the runs; None: all.
        sources: of the runs; None: all.
        targets: languages evaluated; None: all.
    """

    name: str
    measure: str = "cka_grouped"
    raw: bool = False
    distances: str = "repaired"
    seeds: Sequence[int] | None = None
    sources: Sequence[str] | None = None
    targets: Sequence[str] | None = None


VARIANTS = (
    Variant("as planned"),
    Variant("Song's debiased CKA", measure="cka_debiased"),
    Variant("biased CKA, as in the paper", measure="cka_biased"),
    Variant("raw correlation", raw=True),
    Variant("lang2vec's stored distances, with their placeholders", distances="paper"),
)
ALL_AT_ONCE = Variant(
    "biased CKA, raw, stored distances and one seed together", "cka_biased", raw=True, distances="paper", seeds=(1,)
)


def list_variants(seeds: Sequence[int]) -> list[Variant]:
    """List the variants: one choice changed at a time, each seed by itself, and last all choices of the paper at once."""
    return [*VARIANTS, *(Variant(f"seed {seed} alone", seeds=(seed,)) for seed in seeds), ALL_AT_ONCE]


def correlate(measured: Measurements, variant: Variant) -> pd.DataFrame:
    """Test the three analyses; `r` and what belongs to it is the coefficient that the variant asks for."""
    return correlate_with_pairs(measured, variant)[0]


def correlate_with_pairs(measured: Measurements, variant: Variant) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test the three analyses as :func:`correlate` does, and give the pair table, too."""
    measured, pairs = pair_up(measured, variant)
    tests = infer_correlations(measured, pairs, distance_kinds(pairs), RESAMPLING)
    if not variant.raw:
        return tests, pairs
    raw = {name: tests[f"{name}_pearson"] for name in ("p_qap", "p_max_t", "ci_low", "ci_high")}
    return tests.assign(r=tests["pearson_r"], **raw), pairs


def pair_up(measured: Measurements, variant: Variant) -> tuple[Measurements, pd.DataFrame]:
    """Choose runs, measure and distances; give what is left, and its pairs."""
    chosen = {key: _select(getattr(measured, key), variant) for key in ("transfer", "impact")}
    measured = replace(measured, **chosen)
    measured, _ = add_distances(measured, partial(compute_distances, KINDS, source=variant.distances))
    impact = None if measured.impact is None else one_measure(measured.impact, variant.measure)
    pairs = compute_pairs(measured.transfer, impact, measured.distances)
    return replace(measured, impact=impact), pairs


def _select(table: pd.DataFrame | None, variant: Variant) -> pd.DataFrame | None:
    if table is None:
        return None
    is_chosen = pd.Series(True, index=table.index)
    if variant.seeds is not None:
        is_chosen &= table["seed"].isin(variant.seeds)
    for column, languages in (("source_language", variant.sources), ("target_language", variant.targets)):
        if languages is not None:
            is_chosen &= table[column].isin(languages)
    return table[is_chosen].reset_index(drop=True)


def verdict(row: pd.Series) -> str:
    """Phrase a claim's verdict with the figures that decide it, for a cell of a table."""
    if row["verdict"] == "not tested":
        return "not tested"
    where = f" ({row['decided_by']})" if row["n_tests"] > 1 else ""
    figures = f"{numbers.coefficient(row['r'])}{where}, {numbers.p_value(row['p_family_wise'])}"
    return f"**{row['verdict']}**; {row['n_bearing_out']} of {row['n_tests']}; {figures}"


def judge_variants(measured: Measurements, variants: Sequence[Variant]) -> list[dict]:
    """Judge each claim by every variant, a row per variant."""
    claims = read_claims("paper")
    rows = []
    for variant in variants:
        judged = judge_claims(claims, correlate(measured, variant)).set_index("claim")
        rows.append({"name": variant.name} | {name: verdict(judged.loc[name]) for name in judged.index})
    return rows
