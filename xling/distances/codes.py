"""Resolves language codes: what a user writes, what URIEL calls it, and the individual language behind a macrolanguage."""

import csv
import functools
import json
from collections.abc import Iterable
from typing import NamedTuple

from xling.distances import uriel
from xling.distances.tags import read_tag
from xling.errors import XlingValueError, close_matches


class Individual(NamedTuple):
    """The individual languages that stand in for a macrolanguage (ISO 639-3)."""

    language: str  # for geography and genealogy
    typology: str  # for the typological kinds


@functools.cache
def letter_codes() -> dict[str, str]:
    """Read lang2vec's table of ISO 639-1 codes (and bibliographic codes of 639-2, such as ger) to ISO 639-3 codes."""
    return json.loads(uriel.read_lang2vec_file("letter_codes.json"))


def plain_code(label: str) -> str:
    """Read a label down to an ISO 639-3 code, as far as that is known, whether or not URIEL has the language.

    Raises:
        XlingValueError: the label is for no language, or for several.

    >>> plain_code("pt-BR"), plain_code("tongue")
    ('por', 'tongue')
    """
    language = read_tag(label).language
    return letter_codes().get(language, language)


def resolve_code(language: str) -> str:
    """Find the ISO 639-3 code under which URIEL knows a language.

    Args:
        language: ISO 639-1 or ISO 639-3 code, Glottocode, or a tag such as pt-BR or zho_Hans, upper or lower case.

    Returns:
        ISO 639-3 code.

    Raises:
        XlingValueError: `language` is no code of one language, or URIEL has no such language; the message names close matches.

    >>> resolve_code("sw"), resolve_code("swh")
    ('swa', 'swh')
    """
    code = plain_code(language)
    known = uriel.typology().rows
    if code not in known:
        raise XlingValueError(
            f"expected an ISO 639-1 or ISO 639-3 code (or Glottocode, or tag) of one of URIEL's {len(known):,} languages, got "
            f"{language!r}" + close_matches(str(language).lower(), [*letter_codes(), *known])
        )
    return code


def resolve_codes(languages: Iterable[str]) -> list[str]:
    """Find the ISO 639-3 codes of several languages, each given once; see :func:`resolve_code`.

    Raises:
        XlingValueError: no language is given, a label is given twice, or a language is unknown.
    """
    languages = [languages] if isinstance(languages, str) else list(languages)
    if not languages or len(set(languages)) < len(languages):
        raise XlingValueError(f"expected one or more languages, each once, got {languages}; leave out the repetitions")
    return [resolve_code(language) for language in languages]


@functools.cache
def macrolanguage_members() -> dict[str, list[tuple[str, bool]]]:
    """List for every macrolanguage its individual languages in URIEL, each with whether CLDR calls it the predominant one."""
    members: dict[str, list[tuple[str, bool]]] = {}
    text = uriel.read_own_file("macrolanguages.csv")
    for row in csv.DictReader(text.splitlines()):
        if row["individual"] in uriel.typology().rows:
            members.setdefault(row["macrolanguage"], []).append((row["individual"], row["is_predominant"] == "1"))
    return members


@functools.cache
def individual_of(code: str, taken: frozenset[str] = frozenset()) -> Individual:
    """Choose the individual languages that stand in for an ISO 639-3 code; a code that is no macrolanguage stands for itself.

    Geography and genealogy take the member that CLDR calls predominant (arb for ara), typology the member with the most
    observed features (arz for ara, because URIEL hardly describes arb). A member without any data never stands in: then
    the best described one does for geography and genealogy too, and if no member has data the macrolanguage remains. Members in
    `taken` never stand in, because they are other languages of the study.

    >>> individual_of("ara"), individual_of("deu")
    (Individual(language='arb', typology='arz'), Individual(language='deu', typology='deu'))
    """
    all_members = macrolanguage_members().get(code, [])
    members = [member for member in all_members if member[0] not in taken]
    ranked = sorted(members, key=lambda member: (-n_observed_features(member[0]), not member[1], member[0]))
    described = [member for member, _ in ranked if n_observed_features(member)]
    predominant = [member for member, is_predominant in ranked if is_predominant]
    placed = [m for m in predominant + [member for member, _ in ranked] if n_family_nodes(m)]
    # beside one of its members the macrolanguage's own row, which mixes them all, would be that member again
    last_resort = [member for member, _ in ranked] if len(members) < len(all_members) else []
    return Individual((placed + last_resort + [code])[0], (described + last_resort + [code])[0])


def individuals_of(codes: list[str]) -> list[Individual]:
    """Choose the individual languages that stand in for each of a study's ISO 639-3 codes, none of them twice.

    An individual language that the study has itself is never merged with the macrolanguage beside it (id and ms, arz and ar):
    the macrolanguage takes its next best member.
    """
    taken = {code for code in codes if code not in macrolanguage_members()}
    individuals = {}
    for code in dict.fromkeys(codes):
        individuals[code] = individual_of(code, frozenset(taken - {code}))
        taken |= set(individuals[code])
    return [individuals[code] for code in codes]


def n_observed_features(code: str) -> int:
    """Count the typological features, of 284, that URIEL observed for an ISO 639-3 code."""
    return int((uriel.kind_values("featural", [code]) >= 0).sum())


def n_family_nodes(code: str) -> int:
    """Count the nodes of the family tree that URIEL records for an ISO 639-3 code."""
    table = uriel.families()
    return int(table.nodes[table.rows[code]].sum())
