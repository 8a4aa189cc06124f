"""The embedded data set ``mini_nli``: parallel premise/hypothesis pairs in every language that has a file of forms.

The meanings come from :mod:`xling.data.mini_nli_grammar`; a language is one yaml file with its words and its sentence
templates (layout in ``docs/mini_nli.md``). No code knows any language.
"""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd
import yaml

from xling.data.mini_nli_grammar import GENERAL, SLOTS, SPECIFIC, SUBJECTS, Meaning, draw_meanings
from xling.errors import MissingFileError, XlingValueError, close_matches

LANGUAGE_FOLDER = Path(__file__).parent / "mini_nli_languages"
COLUMNS = ("example_id", "premise_id", "premise", "hypothesis", "label")

TEMPLATES = (
    "activity",
    "place",
    "origin",
    "activity place",
    "activity origin",
    "place origin",
    "not activity",
    "not place",
    "not origin",
)
ENTRIES = {"subject": tuple(SUBJECTS)} | {slot: GENERAL[slot] + SPECIFIC[slot] for slot in SLOTS}

_PLACEHOLDER = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)*)\}")

Form = str | dict


@dataclass(frozen=True)
class Language:
    """The forms of one language.

    Attributes:
        code: ISO 639-1.
        templates: one of `TEMPLATES` -> its wordings, one or two.
        forms: "subject", a slot, or "words" -> entry -> a string, or strings under features (gender, polarity, ...).
    """

    code: str
    templates: dict[str, list[str]]
    forms: dict[str, dict[str, Form]]


def available_languages(language_dir: str | Path | None = None) -> list[str]:
    """Codes of the languages that have a file, sorted.

    Args:
        language_dir: folder with further files ``<code>.yaml``; one here replaces an embedded one of the same name.

    Raises:
        MissingFileError: `language_dir` is not a folder.

    >>> len(available_languages())
    15
    """
    return sorted(_files(language_dir))


def _files(language_dir: str | Path | None) -> dict[str, Path]:
    folders = [LANGUAGE_FOLDER]
    if language_dir is not None:
        if not Path(language_dir).is_dir():
            raise MissingFileError(
                f"language_dir must be a folder with <code>.yaml files; there is none at {language_dir}"
            )
        folders.append(Path(language_dir))
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def load_language(language: str, language_dir: str | Path | None = None) -> Language:
    """Read and check the forms of one language.

    Args:
        language: ISO 639-1 code, the name of its file.
        language_dir: see :func:`available_languages`.

    Raises:
        XlingValueError: no such language, or its file is no yaml or lacks an entry (the message names it).
        MissingFileError: `language_dir` is not a folder.
    """
    files = _files(language_dir)
    if language not in files:
        raise XlingValueError(
            f"mini_nli has no language {language!r}{close_matches(language, files)} It has {', '.join(sorted(files))}; "
            f"another one is a file {language}.yaml in data.language_dir"
        )
    path = files[language]
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise XlingValueError(f"{path} must be UTF-8 yaml: {' '.join(str(error).split())}") from error
    _check_entries(content, path)
    forms = {section: content[section] for section in ENTRIES} | {"words": content.get("words", {})}
    loaded = Language(language, content["templates"], forms)
    _check_forms(loaded, path)
    return loaded


def _check_entries(content: object, path: Path) -> None:
    """Raise where a section or an entry is missing or has the wrong kind."""
    sections = {"templates": TEMPLATES} | ENTRIES
    for section, entries in sections.items():
        found = content.get(section) if isinstance(content, dict) else None
        if not isinstance(found, dict):
            raise XlingValueError(f"{path} lacks the section {section!r}; expected a mapping with {', '.join(entries)}")
        for entry in entries:
            if not found.get(entry):
                raise XlingValueError(f"{path} lacks {section}: {entry!r}; add its form")
        for entry in sorted(set(found) - set(entries)):
            raise XlingValueError(f"{path} has an unknown entry {section}: {entry!r}{close_matches(entry, entries)}")
    for name, wordings in content["templates"].items():
        if not isinstance(wordings, list) or not all(isinstance(wording, str) for wording in wordings):
            raise XlingValueError(
                f"{path}, templates: {name!r} must be a list of one or two sentences, not {wordings!r}"
            )


def _check_forms(language: Language, path: Path) -> None:
    """Raise where a placeholder of a template has no form, for any entry and any gender."""
    genders = sorted({_gender(form) or "" for form in language.forms["subject"].values()})
    for name, wordings in language.templates.items():
        for field, gender in product({field for text in wordings for field in _PLACEHOLDER.findall(text)}, genders):
            section, *features = field.split(".")
            if section in language.forms["words"]:
                entries = {section: language.forms["words"][section]}
            elif section == "subject" or section in name.split():
                entries = {e: f for e, f in language.forms[section].items() if section != "subject" or _fits(f, gender)}
            else:
                raise XlingValueError(f"{path}, templates: {name!r} speaks of {{{field}}}, which it does not have")
            for entry, form in entries.items():
                if _resolve(form, features, gender) is None:
                    raise XlingValueError(f"{path}: {entry!r} lacks the form {{{field}}} (gender {gender or 'none'!r})")


def _fits(form: Form, gender: str) -> bool:
    return (_gender(form) or "") == gender


def _gender(subject: Form) -> str | None:
    """Gender of a subject: the only key of its mapping; None for a plain string."""
    return None if isinstance(subject, str) else next(iter(subject))


def _resolve(form: Form, features: list[str], gender: str | None) -> str | None:
    """Follow the template's features, and the subject's gender wherever the forms differ by it."""
    features = list(features)
    while isinstance(form, dict):
        if features and features[0] in form:
            form = form[features.pop(0)]
        elif gender in form:
            form = form[gender]
        else:
            return None
    return form if isinstance(form, str) else None


def render(meaning: Meaning, language: Language) -> str:
    """Say a meaning in a language.

    Args:
        meaning: from :func:`xling.data.mini_nli_grammar.draw_meanings`.
        language: from :func:`load_language`.

    Returns:
        One sentence, its first letter a capital where the script has them.

    >>> nurse = Meaning("nurse", (("activity", "read_novel"), ("place", "train")))
    >>> render(nurse, load_language("en"))
    'The nurse is reading a novel on the train.'
    """
    values = {"subject": meaning.subject} | dict(meaning.values)
    name = "not " * meaning.is_negated + " ".join(slot for slot, _ in meaning.values)
    wordings = language.templates[name]
    gender = _gender(language.forms["subject"][meaning.subject])

    def fill(match: re.Match) -> str:
        section, *features = match[1].split(".")
        form = language.forms[section][values[section]] if section in values else language.forms["words"][section]
        return _resolve(form, features, gender)

    sentence = _PLACEHOLDER.sub(fill, wordings[meaning.variant % len(wordings)])
    sentence = " ".join(sentence.split())  # a form may be empty: no object, no space
    return sentence[0].upper() + sentence[1:]


def generate(
    language: str, n_premises: int, *, split: str, seed: int = 0, language_dir: str | Path | None = None
) -> pd.DataFrame:
    """Generate pairs of one language; the same arguments give the same meanings, row by row, in every other.

    Args:
        language: ISO 639-1 code; see :func:`available_languages`.
        n_premises: number of premises, >= 1; each has three rows.
        split: "train" or "probe"; no premise is in both.
        seed: of the draw. A longer set starts with the shorter one.
        language_dir: folder with further languages.

    Returns:
        3 * n_premises rows with the columns `COLUMNS`: example_id (int, 0, 1, ...), premise_id (int, example_id // 3),
        premise and hypothesis (str), label ("entailment", "neutral" or "contradiction", each once per premise).

    Raises:
        XlingValueError: unknown language or split, faulty language file, more premises than the grammar has.
        MissingFileError: `language_dir` is not a folder.

    >>> pairs = generate("en", 1, split="train")
    >>> sorted(pairs["label"])
    ['contradiction', 'entailment', 'neutral']
    """
    forms = load_language(language, language_dir)
    rows = [
        (number, number // 3, render(premise, forms), render(hypothesis, forms), label)
        for number, (premise, label, hypothesis) in enumerate(draw_meanings(n_premises, split=split, seed=seed))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
