"""Reads and checks the yaml file with one language's forms for ``mini_nli``, and puts meanings into words with it.

The layout of the file is described in ``docs/mini_nli.md``. Everything about a language is in its file, nothing in the code.
"""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import yaml

from xling.data.mini_nli.grammar import GENERAL, N_VARIANTS, SLOTS, SPECIFIC, SUBJECTS, Meaning
from xling.errors import MissingFileError, XlingValueError, close_matches
from xling.storage.yaml_text import parse_yaml

LANGUAGE_FOLDER = Path(__file__).parent / "languages"

ENTRIES = {
    "templates": (
        *SLOTS,
        *(f"not {slot}" for slot in SLOTS),
        "activity place",
        "activity origin",
        "place origin",
    ),
    "subject": SUBJECTS,
} | {slot: GENERAL[slot] + SPECIFIC[slot] for slot in SLOTS}
"""Sections of a language file and the entries each must have."""

PLACEHOLDER = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)*)\}")

Form = str | dict


@dataclass(frozen=True)
class Language:
    """The forms of one language.

    Attributes:
        code: ISO 639-1 code, which is the name of the language's file.
        templates: the slots that a sentence tells, e.g. "activity place" or "not origin" -> one or two wordings.
        forms: "subject", a slot, or "words" -> entry -> its form, or its forms by feature (gender, polarity, ...).
    """

    code: str
    templates: dict[str, list[str]]
    forms: dict[str, dict[str, Form]]


def language_files(language_dir: str | Path | None = None) -> dict[str, Path]:
    """Find the language files by code. A file in `language_dir` replaces an embedded one of the same name.

    Raises:
        MissingFileError: `language_dir` is not a folder.
    """
    folders = [LANGUAGE_FOLDER]
    if language_dir is not None:
        if not Path(language_dir).is_dir():
            raise MissingFileError(
                f"language_dir must be a folder with <code>.yaml files; there is none: {language_dir}"
            )
        folders.append(Path(language_dir))
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def load_language(language: str, language_dir: str | Path | None = None) -> Language:
    """Read and check the forms of one language.

    Args:
        language: ISO 639-1 code, the name of its file.
        language_dir: folder with further files ``<code>.yaml``; one here replaces an embedded one of the same name.

    Raises:
        XlingValueError: there is no such language, or its file is no yaml or lacks a form, which the message names.
        MissingFileError: `language_dir` is not a folder.
    """
    files = language_files(language_dir)
    if language not in files:
        raise XlingValueError(
            f"mini_nli has no language {language!r}; it speaks {', '.join(sorted(files))}, and a further language "
            f"is a file {language}.yaml in language_dir{close_matches(language, files)}"
        )
    path = files[language]
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise XlingValueError(f"{path} must be yaml in UTF-8: {' '.join(str(error).split())}") from error
    _check_entries(content, path)
    forms = {section: content[section] for section in ENTRIES if section != "templates"}
    loaded = Language(language, content["templates"], forms | {"words": content.get("words", {})})
    _check_templates(loaded, path)
    return loaded


def _check_entries(content: object, path: Path) -> None:
    """Raise where a section or an entry is missing or unknown."""
    for section, entries in ENTRIES.items():
        found = content.get(section) if isinstance(content, dict) else None
        if not isinstance(found, dict):
            raise XlingValueError(f"{path} lacks the section {section!r}; expected a mapping of {', '.join(entries)}")
        missing = [entry for entry in entries if not found.get(entry)]
        if missing:
            raise XlingValueError(f"{path}, {section}: no form for {', '.join(map(repr, missing))}; add it")
        for entry in sorted(set(found) - set(entries)):
            raise XlingValueError(f"{path}, {section}: unknown entry {entry!r}{close_matches(entry, entries)}")


def _check_templates(language: Language, path: Path) -> None:
    """Raise where a template is no sentence, or one of its placeholders has no form for some entry and gender."""
    for name, wordings in language.templates.items():
        where = f"{path}, templates, {name!r}"
        if not isinstance(wordings, list) or not 1 <= len(wordings) <= N_VARIANTS:
            raise XlingValueError(f"{where}: expected a list of one or two sentences, not {wordings!r}")
        for wording in map(str, wordings):
            if set("{}") & set(PLACEHOLDER.sub("", wording)):
                raise XlingValueError(f"{where}: expected placeholders like {{activity.pos}}, not {wording!r}")
            for field in PLACEHOLDER.findall(wording):
                _check_field(language, field, ("subject", *name.removeprefix("not ").split()), where)


def _check_field(language: Language, field: str, told: tuple[str, ...], where: str) -> None:
    section, *features = field.split(".")
    if section not in told and section not in language.forms["words"]:
        known = [*told, *language.forms["words"]]
        raise XlingValueError(f"{where}: {{{field}}} is none of {', '.join(known)}{close_matches(section, known)}")
    entries = language.forms[section] if section in told else {section: language.forms["words"][section]}
    genders = {_gender(form) for form in language.forms["subject"].values()}
    for (entry, form), gender in product(entries.items(), genders):
        if section == "subject" and gender != _gender(form):
            continue
        if _resolve(form, features, gender) is None:
            raise XlingValueError(f"{where}: {entry!r} has no form for {{{field}}} after a subject of gender {gender}")


def _gender(subject: Form) -> str | None:
    """Gender of a subject: the only key of its mapping; None for a plain string."""
    return next(iter(subject)) if isinstance(subject, dict) else None


def _resolve(form: Form | None, features: list[str], gender: str | None) -> str | None:
    """Follow a placeholder's features, and the subject's gender where forms differ by it; None where none fits."""
    features = list(features)
    while isinstance(form, dict):
        key = features.pop(0) if features and features[0] in form else gender
        form = form.get(key)
    return form if isinstance(form, str) else None


def render(meaning: Meaning, language: Language) -> str:
    """Put a meaning into words of a language.

    Args:
        meaning: from :func:`xling.data.mini_nli.grammar.draw_meanings`.
        language: from :func:`load_language`.

    Returns:
        One sentence, its first letter a capital where the script has them.

    >>> nurse = Meaning("nurse", (("activity", "read_novel"), ("place", "train")))
    >>> render(nurse, load_language("en"))
    'The nurse is reading a novel on the train.'
    >>> render(nurse, load_language("zh"))
    '护士正在火车上看小说。'
    """
    said = {"subject": meaning.subject} | dict(meaning.values)
    gender = _gender(language.forms["subject"][meaning.subject])

    def fill(match: re.Match) -> str:
        section, *features = match[1].split(".")
        form = language.forms[section][said[section]] if section in said else language.forms["words"][section]
        return _resolve(form, features, gender) or ""

    wordings = language.templates["not " * meaning.is_negated + " ".join(slot for slot, _ in meaning.values)]
    sentence = PLACEHOLDER.sub(fill, wordings[meaning.variant % len(wordings)])
    return sentence[0].upper() + sentence[1:]
