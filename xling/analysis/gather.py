"""Collect what is to be analysed: a study's runs or a CSV of accuracies, and the distances of their languages."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from xling.analysis.external import read_transfer
from xling.analysis.inputs import Measurements
from xling.distances import Distances, DistanceWarning
from xling.errors import XlingValueError
from xling.study import load_study


def gather_study(directory: Path | str, compute: Callable[..., Distances]) -> tuple[Measurements, list[str]]:
    """Read all complete runs below a folder and compute their languages' distances.

    Args:
        directory: folder of a study.
        compute: ``compute(languages=[...])`` -> distances.

    Returns:
        The measurements, and sentences on what is wrong with the distances.

    Raises:
        XlingError: no complete run, or no language whose distances are known.
    """
    study = load_study(directory)
    distances, sentences = measure_distances(study.transfer, compute)
    measured = Measurements(study.transfer, distances.to_table(), study.impact, runs=study.runs)
    return replace(measured, skipped=tuple(study.skipped), distances_name=distances.source), sentences


def gather_csv(path: Path | str, compute: Callable[..., Distances]) -> tuple[Measurements, list[str]]:
    """Read accuracies from a CSV (:func:`~xling.analysis.external.read_transfer`), else as :func:`gather_study`."""
    transfer, sentences = read_transfer(path)
    distances, caveats = measure_distances(transfer, compute)
    return Measurements(transfer, distances.to_table(), distances_name=distances.source), sentences + caveats


def measure_distances(transfer: pd.DataFrame, compute: Callable[..., Distances]) -> tuple[Distances, list[str]]:
    """Compute distances between all languages of a transfer table, leaving out those the source does not know.

    Returns:
        The distances, and a sentence per warning and per language left out.

    Raises:
        XlingValueError: the source knows none of the languages, or was asked for something else it does not have.
    """
    languages = sorted(set(transfer["source_language"]) | set(transfer["target_language"]))
    try:
        return _compute(languages, compute)
    except XlingValueError:
        unknown = {language: reason for language in languages if (reason := _why_unknown(language, compute))}
        if len(unknown) in (0, len(languages)):
            raise
    distances, sentences = _compute([language for language in languages if language not in unknown], compute)
    return distances, [f"No distances for {language}: {reason}." for language, reason in unknown.items()] + sentences


def _compute(languages: list[str], compute: Callable[..., Distances]) -> tuple[Distances, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DistanceWarning)
        distances = compute(languages=languages)
    sentences = []
    for warning in caught:
        if issubclass(warning.category, DistanceWarning):
            text = str(warning.message)
            sentences.append(f"{text[:1].upper()}{text[1:].rstrip('.')}.")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return distances, sentences


def _why_unknown(language: str, compute: Callable[..., Distances]) -> str:
    try:
        _compute([language], compute)
    except XlingValueError as error:
        return str(error)
    return ""
