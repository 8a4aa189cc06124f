"""Computes distances from URIEL in five readings, `repaired` being the default, and from URIEL+.

==========  ====================================================================================================
repaired    lang2vec's formulas on URIEL's features for the codes as given; missing = NaN
individual  the same with an individual language in place of each macrolanguage (arb/arz for ara, swh, cmn, ...)
average     repaired, a typological feature being the mean over URIEL's sources instead of 1 where any says so
knn         repaired, with URIEL's predictions of the typological features that no source observed
paper       what lang2vec's pre-computed file returns, placeholders and rounding included, with a warning
urielplus   URIEL+, where its package is installed; see xling.distances.urielplus
==========  ====================================================================================================

References:
    Littell et al. 2017, URIEL and lang2vec (https://aclanthology.org/E17-2002/); Toossi et al. 2024 (arXiv:2405.11125)
    on missing values in URIEL; arXiv:2305.02151 for the paper whose table `paper` reproduces.
"""

import logging
import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd

from xling.distances import codes, formulas, uriel
from xling.distances.matrices import KINDS, compute_matrix
from xling.distances.result import CodeWarning, Distances, MacrolanguageWarning, Matrix, PlaceholderWarning
from xling.distances.tags import describe_readings, is_tag
from xling.distances.urielplus import compute_urielplus_distances
from xling.errors import check_known

log = logging.getLogger(__name__)

SOURCES = ("repaired", "individual", "average", "knn", "paper", "urielplus")
_FILLINGS = ("average", "knn")
_URIELPLUS_KINDS = (*KINDS, "morphological", "script")


def compute_distances(kinds: str | Iterable[str], languages: Iterable[str], source: str = "repaired") -> Distances:
    """Compute distances between languages.

    Values have 4 decimals (those of `paper` their stored precision: syntactic 2, geographic and featural 1, others 4).
    Outside `paper` a pair is NaN where a language has no data of that kind or no feature was observed for both (`knn` predicts
    features, so that it has every typological distance).

    Args:
        kinds: one or more of KINDS; URIEL+ has morphological and script besides.
        languages: ISO 639-1 or ISO 639-3 codes, Glottocodes or tags of any languages in URIEL, each once.
        source: one of SOURCES.

    Returns:
        Square frames labelled with the codes as given, in their order, and the coverage of each pair: for the
        typological kinds the number of features observed for both languages, for genetic the number of family nodes
        recorded for the less documented one, for geographic 299 reference points or 0.

    Raises:
        XlingValueError: unknown kind, source or language, or a language twice.

    Warns:
        PlaceholderWarning: source `paper`, with the number of placeholder pairs.
        CodeWarning: labels were read down to a language code, two of them to one, or ``als`` is among them.
        MacrolanguageWarning: a macrolanguage code was given; names the individual code to use.

    >>> compute_distances("genetic", ["en", "de", "fr"]).values["genetic"].loc["en"].tolist()
    [0.0, 0.4286, 0.9]
    """
    check_names("distance source", [source], SOURCES)
    known_kinds = _URIELPLUS_KINDS if source == "urielplus" else KINDS
    kinds = check_names("distance kind", [kinds] if isinstance(kinds, str) else kinds, known_kinds)
    languages = [languages] if isinstance(languages, str) else list(languages)
    resolved = codes.resolve_codes(languages)
    if source == "urielplus":
        return compute_urielplus_distances(kinds, languages)
    distances = Distances.from_matrices(source, languages, {kind: _fill(kind, resolved, source) for kind in kinds})
    _warn_of_codes(languages, resolved)
    _warn_of_macrolanguages(languages, resolved, source)
    _warn_of_placeholders(distances)
    return distances


def distance_table(
    languages: Iterable[str], kinds: str | Iterable[str] = KINDS, source: str = "repaired"
) -> pd.DataFrame:
    """Compute distances as one tidy table; see :func:`compute_distances`.

    Returns:
        One row per ordered pair, S = T included: source_language, target_language, one column per kind, one
        ``<kind>_coverage`` column per kind.
    """
    return compute_distances(kinds, languages, source).to_table()


def check_names(what: str, names: Iterable[str], known: tuple[str, ...]) -> list[str]:
    """Check that all names are known.

    Raises:
        XlingValueError: a name is not known, or no name is given; the message lists those that exist.
    """
    names = list(names)
    for name in names or [""]:
        check_known(what, name, known)
    return names


def _fill(kind: str, resolved: list[str], source: str) -> Matrix:
    """Compute one kind of distance as the source defines it, for ISO 639-3 codes."""
    if source == "paper":
        matrix = compute_matrix(kind, resolved, frozenset(uriel.rules()["rows_missing_in_distance_file"]))
        stored = formulas.round_as_stored(matrix.values, uriel.rules()["stored_decimals"][kind])
        return matrix._replace(values=stored)
    if source == "individual":
        role = "language" if kind in ("genetic", "geographic") else "typology"
        resolved = [getattr(individual, role) for individual in codes.individuals_of(resolved)]
    matrix = compute_matrix(kind, resolved, filling=source if source in _FILLINGS else "union")
    values = np.where(matrix.placeholders, np.nan, np.round(matrix.values, 4))
    return Matrix(values, matrix.coverage, np.zeros_like(matrix.placeholders))


def _warn_of_codes(languages: list[str], resolved: list[str]) -> None:
    """Say how labels were read that are no plain codes, which of them are one language, and what ``als`` is."""
    read = describe_readings(languages)
    notes = [f"labels were read down to their language: {read}"] if read else []
    twice = {code: [a for a, b in zip(languages, resolved, strict=True) if b == code] for code in set(resolved)}
    same = [" and ".join(labels) for labels in twice.values() if len(labels) > 1 and any(map(is_tag, labels))]
    if same:
        notes.append(f"{'; '.join(sorted(same))} are one language to URIEL, at distance 0")
    if "als" in languages:
        notes.append("als is Tosk Albanian, as in ISO 639-3; in WikiANN it is Alemannic: call that gsw")
    for note in notes:
        warnings.warn(note, CodeWarning, stacklevel=3)


def _warn_of_macrolanguages(languages: list[str], resolved: list[str], source: str) -> None:
    macrolanguages = codes.macrolanguage_members()
    found = [pair for pair in zip(languages, resolved, strict=True) if pair[1] in macrolanguages]
    standing_in = dict(zip(resolved, codes.individuals_of(resolved), strict=True))
    advice = ", ".join(_phrase_individual(label, standing_in[code]) for label, code in found)
    if found and source == "individual":
        log.info("Individual languages stand in for macrolanguages: %s", advice)
    elif found:
        text = (
            "a macrolanguage code stands for several languages, which URIEL's row for it mixes; use an individual code "
            f"({advice}) or the source 'individual', which does so for you"
        )
        warnings.warn(MacrolanguageWarning(text, [label for label, _ in found]), stacklevel=3)


def _phrase_individual(label: str, individual: codes.Individual) -> str:
    language, typology = individual
    return f"{label} -> {language}" + (f", for typology {typology}" if typology != language else "")


def _warn_of_placeholders(distances: Distances) -> None:
    n_pairs = len(distances.languages) * (len(distances.languages) - 1) // 2
    counts = {kind: n for kind in distances.kinds if (n := distances.n_placeholder_pairs(kind))}
    if counts:
        listed = ", ".join(f"{kind} {n}" for kind, n in counts.items())
        warnings.warn(
            f"the paper's distances hold placeholders, not measurements, for some of the {n_pairs} language pairs "
            f"({listed}); use the source 'repaired' or 'individual' unless you reproduce the paper",
            PlaceholderWarning,
            stacklevel=3,
        )
