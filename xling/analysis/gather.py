"""Collect what is to be analysed: a study's runs or a CSV of scores, and what is known of their languages."""

import warnings
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from xling.analysis.external import read_transfer
from xling.analysis.inputs import Measurements
from xling.analysis.pairs import LANGUAGE_PAIR
from xling.distances import Distances, DistanceWarning
from xling.distances.controls import controls_table
from xling.errors import XlingValueError, close_matches
from xling.study import load_study

Table = TypeVar("Table")


def gather_study(directory: Path | str) -> Measurements:
    """Read all complete runs below a folder, as yet without distances.

    Raises:
        XlingError: no such folder, or no complete run in it.
    """
    study = load_study(directory)
    alignment = None if study.alignment.empty else study.alignment
    skipped = tuple(study.skipped)
    return Measurements(study.transfer, None, study.impact, alignment=alignment, runs=study.runs, skipped=skipped)


def gather_csv(path: Path | str) -> tuple[Measurements, list[str]]:
    """Read scores from a CSV, as yet without distances; see :func:`xling.analysis.external.read_transfer`."""
    transfer, sentences = read_transfer(path)
    return Measurements(transfer, None), sentences


def add_distances(measured: Measurements, compute: Callable[..., Distances]) -> tuple[Measurements, list[str]]:
    """Compute distances between all languages, leaving out those the source does not know.

    Args:
        measured: with transfer.
        compute: ``compute(languages=[...])`` -> distances.

    Returns:
        The measurements with distances, and a sentence per warning and per language left out.

    Raises:
        XlingValueError: the source knows none of the languages, or was asked for something else it does not have.
    """
    distances, sentences = _leave_out_unknown(_languages(measured), compute, "distances")
    return replace(measured, distances=distances.to_table(), distances_name=distances.source), sentences


def add_controls(
    measured: Measurements, names: Collection[str], pretraining_size: Path | str | None = None
) -> tuple[Measurements, list[str]]:
    """Look up controls for all languages, leaving out those that are not known.

    Args:
        measured: with transfer.
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


def _languages(measured: Measurements) -> list[str]:
    return sorted(set(measured.transfer["source_language"]) | set(measured.transfer["target_language"]))


def _leave_out_unknown(languages: list[str], compute: Callable[..., Table], what: str) -> tuple[Table, list[str]]:
    try:
        return _with_sentences(languages, compute)
    except XlingValueError:
        unknown = {language: reason for language in languages if (reason := _why_unknown(language, compute))}
        if len(unknown) in (0, len(languages)):
            raise
    table, sentences = _with_sentences([language for language in languages if language not in unknown], compute)
    return table, [f"No {what} for {language}: {reason}." for language, reason in unknown.items()] + sentences


def _with_sentences(languages: list[str], compute: Callable[..., Table]) -> tuple[Table, list[str]]:
    """Compute, turning the warnings of distances into sentences of the report."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DistanceWarning)
        table = compute(languages=languages)
    sentences = []
    for warning in caught:
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
