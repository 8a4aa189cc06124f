"""Generates the embedded data set ``mini_nli``: parallel premise/hypothesis pairs in every language that has a file of forms.

The meanings come from :mod:`xling.data.mini_nli.grammar`, the sentences from :mod:`xling.data.mini_nli.forms`.
"""

from pathlib import Path

import pandas as pd

from xling.data.mini_nli.forms import Language, language_files, load_language, render
from xling.data.mini_nli.grammar import LABELS, SPLITS, draw_meanings

__all__ = ["COLUMNS", "LABELS", "SPLITS", "Language", "available_languages", "generate", "load_language"]

COLUMNS = ("example_id", "premise_id", "premise", "hypothesis", "label")


def available_languages(language_dir: str | Path | None = None) -> list[str]:
    """Codes of the languages that have a file, sorted.

    Args:
        language_dir: folder with further files ``<code>.yaml``; one here replaces an embedded one of the same name.

    Raises:
        MissingFileError: `language_dir` is not a folder.

    >>> " ".join(available_languages())
    'ar bg de el en es fr hi ru sw th tr ur vi zh'
    """
    return sorted(language_files(language_dir))


def generate(
    language: str, n_premises: int, *, split: str, seed: int = 0, language_dir: str | Path | None = None
) -> pd.DataFrame:
    """Generate pairs of one language; the same arguments give the same meanings, row by row, in every other.

    Args:
        language: ISO 639-1 code; see :func:`available_languages`.
        n_premises: number of premises, >= 1; each has three rows.
        split: "train" or "probe"; no premise is in both.
        seed: seed of the draw. A longer set of the same seed starts with the shorter one.
        language_dir: folder with further languages.

    Returns:
        3 * n_premises rows with the columns `COLUMNS`: example_id (int, 0, 1, ...), premise_id (int, example_id // 3),
        premise and hypothesis (str), label ("entailment", "neutral" or "contradiction", each once per premise).

    Raises:
        XlingValueError: the language or split is unknown, the language's file is faulty, or the grammar has fewer premises than
            are asked for.
        MissingFileError: `language_dir` is not a folder.

    >>> pairs = generate("en", 2, split="train")
    >>> sorted(pairs["label"][:3])
    ['contradiction', 'entailment', 'neutral']
    """
    forms = load_language(language, language_dir)
    meanings = draw_meanings(n_premises, split=split, seed=seed)
    rows = [
        (number, number // 3, render(premise, forms), render(hypothesis, forms), label)
        for number, (premise, label, hypothesis) in enumerate(meanings)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
