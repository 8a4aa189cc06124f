"""Collects what is to be analysed: a study's runs or a CSV of scores, and what is known of their languages."""

import logging
import os
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from xling.analysis.inputs.external import read_transfer
from xling.analysis.inputs.measurements import Measurements
from xling.analysis.inputs.pairs import LANGUAGE_PAIR
from xling.analysis.inputs.probes import supply_probes
from xling.analysis.schema import distance_kinds
from xling.distances import (
    Distances,
    DistanceWarning,
    MacrolanguageWarning,
    feed_of,
    find_distances,
    load_distances,
)
from xling.distances.controls import controls_table, language_facts
from xling.distances.registry import LANGUAGES
from xling.errors import XlingValueError, close_matches
from xling.runs.comparable import check_comparable
from xling.runs.study import load_study

log = logging.getLogger(__name__)

Table = TypeVar("Table")
REGISTERED = "registered:"
"""In place of a table's path: a source of distances by its registered name follows."""
XNLI_MACROLANGUAGES = frozenset({"ar", "sw", "zh"})
"""The macrolanguages among XNLI's fifteen languages, which are in every study with the defaults. docs/distances.md says what their
rows in URIEL mix, so that reports need not say it each time."""


def gather_study(directory: Path | str) -> Measurements:
    """Read all complete runs below a folder, as yet without distances.

    Raises:
        XlingError: there is no such folder, or no complete run in it.
    """
    study = load_study(directory)
    alignment = None if study.alignment.empty else study.alignment
    predictions = None if study.predictions.empty else study.predictions
    gradients = None if study.gradients.empty else study.gradients
    skipped = tuple(study.skipped)  # with predictions that were left out
    others = {"alignment": alignment, "runs": study.runs, "predictions": predictions, "gradients": gradients}
    others["linear_probes"] = None if study.linear_probes.empty else study.linear_probes
    return Measurements(study.transfer, None, study.impact, skipped=skipped, **others)


def gather_studies(
    directories: Sequence[Path | str], allow_mixed: Collection[str] = ()
) -> tuple[dict[str, Measurements], list[str]]:
    """Read all complete runs below some folders, each study by itself.

    Runs belong together by the name of their study. Two folders may hold studies of one name: those are kept apart, named
    with their folder.

    Args:
        directories: the folders.
        allow_mixed: names of settings in which runs of one study may differ beside source, strategy and seed, see
            :func:`xling.runs.comparable.check_comparable`.

    Returns:
        name -> measurements, in the order of the folders, then by name; and a sentence per run that was left out and belongs
        to none of them.

    Raises:
        XlingError: a folder does not exist or holds no complete run, or runs of one study are not of one design.
    """
    read = {directory: gather_study(directory) for directory in _each_once(directories)}
    found = [(directory, name, own) for directory, all_runs in read.items() for name, own in _split(all_runs).items()]
    names = [name for _, name, _ in found]
    studies = {name if names.count(name) == 1 else f"{name} ({directory})": own for directory, name, own in found}
    studies = {name: replace(own, mixed=tuple(_check_design(name, own, allow_mixed))) for name, own in studies.items()}
    told = {path for own in studies.values() for path, _ in own.skipped}
    skipped = dict(pair for all_runs in read.values() for pair in all_runs.skipped)
    return studies, [f"Skipped {path}: {reason}." for path, reason in skipped.items() if path not in told]


def _each_once(directories: Sequence[Path | str]) -> list[str]:
    """Keep one spelling of each folder, so that a study that is given twice is not compared with itself."""
    return list({os.path.realpath(directory): str(directory) for directory in reversed(directories)}.values())[::-1]


def _check_design(study: str, measured: Measurements, allow_mixed: Collection[str]) -> list[str]:
    assert measured.runs is not None
    keys = measured.runs[["source_language", "strategy", "seed"]].itertuples(index=False)
    names = [f"{source}/{strategy}/seed_{seed}" for source, strategy, seed in keys]
    return check_comparable(study, dict(zip(names, measured.runs["design"], strict=True)), allow_mixed)


def _split(measured: Measurements) -> dict[str, Measurements]:
    names = sorted(measured.transfer["study"].unique())
    if len(names) == 1:
        return {names[0]: measured}
    return {name: _of_study(measured, name) for name in names}


def _of_study(measured: Measurements, name: str) -> Measurements:
    def own(table: pd.DataFrame | None) -> pd.DataFrame | None:
        return None if table is None else table[table["study"] == name].reset_index(drop=True)

    alignment = own(measured.alignment)
    return replace(
        measured,
        transfer=own(measured.transfer),
        impact=own(measured.impact),
        alignment=None if alignment is None or alignment.empty else alignment,
        runs=own(measured.runs),
        predictions=own(measured.predictions),
        gradients=own(measured.gradients),
        linear_probes=own(measured.linear_probes),
        skipped=tuple((path, reason) for path, reason in measured.skipped if name in Path(path).parts),
    )


def gather_csv(path: Path | str, swap: bool = False) -> tuple[Measurements, list[str]]:
    """Read scores from a CSV, as yet without distances; see :func:`xling.analysis.inputs.external.read_transfer`."""
    transfer, sentences = read_transfer(path, swap)
    return Measurements(transfer, None), sentences


def gather_csvs(paths: Sequence[Path | str], swap: bool = False) -> tuple[dict[str, Measurements], list[str]]:
    """Read scores from several CSVs, each a study by itself, named after its file.

    Returns:
        name -> measurements, and sentences on what was read differently from how it stands.

    Raises:
        XlingError: a file cannot be read, see :func:`gather_csv`, or two files have one name.
    """
    names = [Path(path).stem for path in paths]
    if len(set(names)) < len(names):
        raise XlingValueError(f"expected files of different names, found {', '.join(names)}; rename one")
    studies, sentences = {}, []
    for name, path in zip(names, paths, strict=True):
        measured, told = gather_csv(path, swap)
        studies[name] = replace(measured, transfer=measured.transfer.assign(study=name))
        sentences += [f"{name}: {sentence}" for sentence in told]
    return studies, sentences


def add_distances(
    measured: Measurements, compute: Callable[..., Distances], min_coverage: int = 0
) -> tuple[Measurements, list[str]]:
    """Compute distances between all languages, leaving out those the source does not know.

    Args:
        measured: measurements with transfer.
        compute: function of distances, called as ``compute(languages=[...])``.
        min_coverage: smallest number of features behind a typological distance, see
            :meth:`xling.distances.Distances.require_coverage`.

    Returns:
        The measurements with distances, and a sentence per warning and per language left out.

    Raises:
        XlingValueError: the source knows none of the languages, or was asked for something else it does not have.
    """
    distances, sentences = _leave_out_unknown(_languages(measured), compute, "distances")
    distances, thin = distances.require_coverage(min_coverage) if min_coverage else (distances, [])
    table, source = distances.to_table(), distances.source
    kind_sources = dict.fromkeys(distance_kinds(table), source)
    return replace(measured, distances=table, distances_name=source, kind_sources=kind_sources), [*sentences, *thin]


def add_other_distances(
    measured: Measurements, sources: Collection[str], run: Path | str | None = None, min_coverage: int = 0
) -> Measurements:
    """Compute the same kinds of distance from other sources, for the specification curve.

    The warnings of these sources (on macrolanguages, placeholders) are not repeated in the report: docs/distances.md has them. A
    source that knows none of the languages adds nothing.

    Args:
        measured: measurements with distances.
        sources: names in :data:`xling.distances.registry.DISTANCES`, or ``package.module:name``; the source of the distances
            that are there already is passed over.
        run: directory of a complete run, for distances measured on probe sets; None: there is none.
        min_coverage: smallest number of features behind a typological distance, as in :func:`add_distances`.

    Raises:
        XlingError: there is no such source, it is not installed, or it needs a study.
    """
    languages, others = _languages(measured), {}
    for source in dict.fromkeys(sources):
        compute = supply_probes(find_distances(source), run)
        if source == measured.distances_name:
            continue
        log.info("Computing the distances %s for the specification curve", source)
        try:
            distances, _ = _leave_out_unknown(languages, compute, "distances")
        except XlingValueError:
            if not all(_why_unknown(language, compute) for language in languages):
                raise
            continue
        others[source] = (distances.require_coverage(min_coverage)[0] if min_coverage else distances).to_table()
    return replace(measured, other_distances=others)


def add_more_distances(measured: Measurements, files: Mapping[str, Path | str]) -> tuple[Measurements, list[str]]:
    """Add distances from tables, e.g. lexical ones, to those of a source.

    Args:
        measured: measurements with distances.
        files: name of the distance -> its table, see :func:`xling.distances.load_distances`: a square matrix, or a long table
            with a column of that name; or ``registered:SOURCE``, a source that has a distance of that name, e.g.
            ``registered:script``.

    Returns:
        The measurements with a column per name more, and a sentence per language that a table does not have.

    Raises:
        XlingError: a table cannot be read, has none of the languages, or has the name of a distance that is there.
    """
    table: pd.DataFrame = measured.distances
    sentences: list[str] = []
    for name, path in files.items():
        if name in distance_kinds(table):
            raise XlingValueError(
                f"expected a name of its own for {path}, found {name!r}, which the distances have already"
            )
        load = _further_distance(name, path)
        found, told = _leave_out_unknown(_languages(measured), load, f"{name} distances")
        if name not in found.kinds:
            raise XlingValueError(
                f"expected a distance {name!r} of {path}, which has {', '.join(found.kinds)}; name one of these"
            )
        further = found.to_table()[[*LANGUAGE_PAIR, name, f"{name}_coverage"]]
        table = table.merge(further, on=LANGUAGE_PAIR, how="outer")
        sentences += told
    named = ", ".join([measured.distances_name, *files])
    from_tables = {name: Path(str(path).removeprefix(REGISTERED)).stem for name, path in files.items()}
    kind_sources = {**measured.kind_sources, **from_tables}
    return replace(measured, distances=table, distances_name=named, kind_sources=kind_sources), sentences


def _further_distance(name: str, given: Path | str) -> Callable[..., Distances]:
    if not str(given).startswith(REGISTERED):
        return partial(load_distances, given, kinds=[name])
    compute = find_distances(str(given).removeprefix(REGISTERED))
    if feed_of(compute) != LANGUAGES:
        raise XlingValueError(
            f"{given} is measured on probe sets; choose it as distances=, or a source that knows languages"
        )
    return compute


def add_controls(
    measured: Measurements, names: Collection[str], pretraining_size: Path | str | None = None
) -> tuple[Measurements, list[str]]:
    """Look up controls for all languages, leaving out those that are not known.

    Args:
        measured: measurements with transfer.
        names: columns of :func:`xling.distances.controls.controls_table`; none = no controls.
        pretraining_size: CSV with columns language and size; adds both languages' log size.

    Returns:
        The measurements with controls, and a sentence per language left out.

    Raises:
        XlingValueError: there is no such control.
    """
    if not names and pretraining_size is None:
        return measured, []
    table, sentences = _leave_out_unknown(
        _languages(measured), lambda languages: controls_table(languages, pretraining_size), "controls"
    )
    sizes = [column for column in table if column.endswith("_size")]
    for name in names:
        if name not in table.columns.difference(LANGUAGE_PAIR):
            known = ", ".join(table.columns.difference(LANGUAGE_PAIR))
            raise XlingValueError(f"expected controls among {known}, got {name!r}{close_matches(name, table.columns)}")
    return replace(measured, controls=table[[*LANGUAGE_PAIR, *dict.fromkeys([*names, *sizes])]]), sentences


def add_strata(measured: Measurements, within: str | None) -> Measurements:
    """Let only languages of one family change places in the tests of associations.

    Args:
        measured: measurements with transfer.
        within: ``family``, or None = no restriction.

    Raises:
        XlingValueError: `within` is something else.
    """
    if within is None:
        return measured
    if within != "family":
        raise XlingValueError(
            f"expected permute_within=family or null, found {within!r}{close_matches(within, ['family'])}"
        )
    families = {}
    for language in _languages(measured):
        try:
            family = language_facts([language])["family"].iloc[0]
        except XlingValueError:  # a language that is not known is a stratum by itself
            continue
        if isinstance(family, str):
            families[language] = family
    return replace(measured, strata=families)


def _languages(measured: Measurements) -> list[str]:
    return sorted(set(measured.transfer["source_language"]) | set(measured.transfer["target_language"]))


def _leave_out_unknown(languages: list[str], compute: Callable[..., Table], what: str) -> tuple[Table, list[str]]:
    try:
        return _with_sentences(languages, compute)
    except XlingValueError:
        unknown = {language: reason for language in languages if (reason := _why_unknown(language, compute))}
        if not unknown or len(languages) == 1:
            raise
        if len(unknown) == len(languages):
            raise XlingValueError(f"none of the languages is known: {' '.join(_name_unknown(unknown, what))}") from None
    table, sentences = _with_sentences([language for language in languages if language not in unknown], compute)
    return table, _name_unknown(unknown, what) + sentences


def _name_unknown(unknown: dict[str, str], what: str) -> list[str]:
    """Name all languages that are left out for the same reason at once."""
    together: dict[str, list[str]] = {}
    for language, reason in unknown.items():
        together.setdefault(reason.split(f", got {language!r}")[0], []).append(language)
    return [
        f"No {what} for {', '.join(languages)}: {unknown[languages[0]] if len(languages) == 1 else why}."
        for why, languages in together.items()
    ]


def _with_sentences(languages: list[str], compute: Callable[..., Table]) -> tuple[Table, list[str]]:
    """Compute, turning the warnings of distances into sentences of the report."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DistanceWarning)
        table = compute(languages=languages)
    sentences = []
    for warning in caught:
        if isinstance(warning.message, MacrolanguageWarning) and set(warning.message.languages) <= XNLI_MACROLANGUAGES:
            continue
        if issubclass(warning.category, DistanceWarning):
            text = str(warning.message)
            sentences.append(f"{text[:1].upper()}{text[1:].rstrip('.')}.")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return table, sentences


def _why_unknown(language: str, compute: Callable[..., Table]) -> str:
    try:
        _with_sentences([language], compute)
    except XlingValueError as error:
        return str(error)
    return ""
