"""Defines what an analysis is given: measurements and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from xling.analysis.claims import Claim


@dataclass(frozen=True)
class Resampling:
    """How much to resample, and from which seed.

    Attributes:
        permutations: number of permutations to draw; where a design allows no more than this, all of them are enumerated.
        bootstraps: number of replicates of the bootstrap over languages.
        seed: seed of the generators of both.
        workers: number of threads that permute predictors side by side, and of processes that draw figures; None: one per
            processor. Results do not depend on it.
    """

    permutations: int = 10_000
    bootstraps: int = 2_000
    seed: int = 0
    workers: int | None = None


@dataclass(frozen=True)
class Settings:
    """How to analyse.

    Attributes:
        mode: ``default``, ``paper`` or ``both``.
        strategy: strategy whose runs enter the correlations; None = the study's baseline (`none`, else `word_embeddings`).
        epoch: take the last validation within this epoch instead of the run's last.
        step: take the validation at this step.
        measure: measure of impact, e.g. ``cka_debiased``; None = group-debiased CKA where every run has it, else debiased CKA.
        sections: further sections of the report, as ``package.module:function``, see
            :func:`xling.report.write.choose_sections`.
        resampling: numbers of permutations and bootstraps, and their seed.
        claims: claims to be judged, see :func:`xling.analysis.claims.read_claims`.
        above_chance: count similarity from its chance level, see :func:`xling.analysis.inputs.measures.correct_for_chance`.
    """

    mode: str = "both"
    strategy: str | None = None
    epoch: int | None = None
    step: int | None = None
    measure: str | None = None
    resampling: Resampling = field(default_factory=Resampling)
    sections: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    above_chance: bool = False


@dataclass(frozen=True)
class Measurements:
    """What is analysed.

    Attributes:
        transfer: columns of :data:`xling.runs.tables.TRANSFER`.
        distances: source_language, target_language, and per kind ``<kind>`` and ``<kind>_coverage``, for all ordered
            pairs of the languages; None = not yet known.
        impact: columns of :data:`xling.runs.tables.IMPACT`, every measure; or None.
        controls: source_language, target_language and a numeric column per control, or None.
        alignment: columns of :data:`xling.runs.tables.ALIGNMENT`, or None.
        predictions: predictions of all runs that stored them, columns of :data:`xling.runs.tables.PREDICTIONS`, or None.
        gradients: columns of :data:`xling.runs.tables.GRADIENTS`, of all runs that compared them, or None.
        linear_probes: columns of :data:`xling.runs.tables.LINEAR_PROBES`, of all runs that fitted them, or None.
        runs: one row per run, for training times and recipes, or None.
        strata: language -> its stratum, e.g. its family: languages of different strata never change places in the tests of
            associations; a language that is not there is a stratum by itself. None = one stratum.
        skipped: (path, reason) of runs that were left out.
        mixed: sentences on what the runs differ in beside source, strategy and seed.
        distances_name: name of the distance source, for the report.
        kind_sources: kind of distance -> the source, or the name of the table, that it is from.
        other_distances: name of another distance source -> its table, as `distances`; they enter the specification curve alone.
    """

    transfer: pd.DataFrame
    distances: pd.DataFrame | None
    impact: pd.DataFrame | None = None
    controls: pd.DataFrame | None = None
    alignment: pd.DataFrame | None = None
    runs: pd.DataFrame | None = None
    predictions: pd.DataFrame | None = None
    gradients: pd.DataFrame | None = None
    linear_probes: pd.DataFrame | None = None
    strata: Mapping[str, str] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    mixed: tuple[str, ...] = ()
    distances_name: str = ""
    kind_sources: Mapping[str, str] = field(default_factory=dict)
    other_distances: Mapping[str, pd.DataFrame] = field(default_factory=dict)
