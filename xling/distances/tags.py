"""Knows what a language is called in public data: ISO 639-1, -2, -3, retired codes, Glottocodes, BCP-47 and FLORES tags.

A tag is read down to its language subtag; its script is kept for those who ask for it (``zho_Hans``), its region is not used
(``pt-BR``). What is no single language is refused.
"""

import csv
import functools
import re
from typing import NamedTuple

from xling.distances import uriel
from xling.errors import XlingValueError

RETIRED = {"iw": "heb", "in": "ind", "ji": "yid", "jw": "jav", "mo": "ron", "mol": "ron", "scc": "srp", "scr": "hrv"}
"""Retired code -> ISO 639-3 code that has taken its place."""

NO_LANGUAGE = {
    "und": "undetermined",
    "mul": "multiple languages",
    "mis": "languages without a code",
    "zxx": "no linguistic content",
}
_GLOTTOCODE = re.compile(r"[a-z]{3}[a-z0-9]\d{4}")
_SCRIPT = re.compile(r"[A-Za-z]{4}")


class Tag(NamedTuple):
    """What a label says: the language's code in lower case, and the script (ISO 15924) if the label names one."""

    language: str
    script: str | None = None


def read_tag(label: str) -> Tag:
    """Reduce a label to a language code, without asking whether URIEL has the language.

    Args:
        label: ISO 639-1 or ISO 639-3 code, Glottocode, or a tag of subtags joined by ``-`` or ``_``; any case.

    Returns:
        The language's code, ISO 639-1 or ISO 639-3, and its script.

    Raises:
        XlingValueError: the label is for no language, or for several.

    >>> read_tag("zho_Hans"), read_tag("pt-BR"), read_tag("iw"), read_tag("stan1293").language
    (Tag(language='zho', script='Hans'), Tag(language='pt', script=None), Tag(language='heb', script=None), 'eng')
    """
    first, *rest = re.split(r"[-_]", str(label).strip())
    code = first.lower()
    if code in NO_LANGUAGE:
        raise XlingValueError(
            f"expected the code of a language, got {label!r} ({NO_LANGUAGE[code]}); leave its rows out"
        )
    if code in collective_codes():
        raise XlingValueError(
            f"expected the code of one language, got {label!r}, a collective code; name the language that it is{_members(code)}"
        )
    script = rest[0].title() if rest and _SCRIPT.fullmatch(rest[0]) else None
    if _GLOTTOCODE.fullmatch(code):
        code = glottocodes().get(code, code)
    return Tag(RETIRED.get(code, code), script)


def _members(code: str) -> str:
    """List in brackets, for an error, the members of a collective code that URIEL has, at most 12."""
    known = [member for member in collective_codes()[code] if member in uriel.typology().rows]
    shown = ", ".join(known[:12])
    return f" ({shown}{', ...' if len(known) > 12 else ''})" if known else ""


@functools.cache
def collective_codes() -> dict[str, list[str]]:
    """Read the codes of ISO 639-2 for groups of languages, with members where public data sets use them, the best known first."""
    text = uriel.read_own_file("collective_codes.csv")
    return {row["code"]: row["members"].split() for row in csv.DictReader(text.splitlines())}


@functools.cache
def glottocodes() -> dict[str, str]:
    """Read the table of Glottocodes to ISO 639-3 codes, for the languages of URIEL that have a Glottocode."""
    text = uriel.read_own_file("glottocodes.csv")
    return {row["glottocode"]: row["language"] for row in csv.DictReader(text.splitlines()) if row["glottocode"]}


def is_tag(label: str) -> bool:
    """Say whether a label names more than a language."""
    return bool(re.search(r"[-_]", str(label)))


def describe_readings(labels: list[str]) -> str:
    """Say which labels were not read as they stand; empty where all were.

    >>> describe_readings(["en", "zho_Hans", "iw"])
    'zho_Hans as zho (script Hans), iw as heb'
    """
    phrases = []
    for label in labels:
        tag = read_tag(label)
        if is_tag(label) or tag.language != str(label).lower():
            phrases.append(f"{label} as {tag.language}" + (f" (script {tag.script})" if tag.script else ""))
    return ", ".join(phrases)
