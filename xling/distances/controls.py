"""Looks up what may explain transfer beside distance: script, family and the amount of pre-training text.

Scripts come from Unicode CLDR's likely scripts (files/scripts.csv), families from URIEL's family tree. What is not
known stays missing.

References:
    Littell et al. 2017 (https://aclanthology.org/E17-2002/) for families; Lauscher et al. 2020 (arXiv:2005.00633) for
    the pre-training size, on a logarithmic scale, as a predictor of transfer.
"""

import csv
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from xling.distances import codes, uriel
from xling.distances.result import Distances, Matrix
from xling.distances.tags import read_tag
from xling.distances.user_tables import sizes_of

INDO_EUROPEAN = "Indo-European"


def language_facts(
    languages: Iterable[str], pretraining_size: Mapping[str, float] | str | Path | None = None
) -> pd.DataFrame:
    """Look up script, family and pre-training size of languages.

    Args:
        languages: ISO 639-1 or ISO 639-3 codes, each once.
        pretraining_size: language to size in any unit, or a CSV file with columns language and size; None = unknown.

    Returns:
        One row per language, indexed by the code as given: script (ISO 15924; Hans and Hant both become Hani), family
        (name of the tree's root), is_indo_european (1.0 or 0.0), pretraining_size. What is not known is None or NaN.

    Raises:
        XlingValueError: a language is unknown or given twice, or the file of sizes is wrong.
        MissingFileError: there is no such file of sizes.

    >>> language_facts(["ur", "hi"])[["script", "family"]].values.tolist()
    [['Arab', 'Indo-European'], ['Deva', 'Indo-European']]
    """
    languages = list(languages)
    resolved = codes.resolve_codes(languages)
    families = [family_of(code) for code in resolved]
    sizes = sizes_of(pretraining_size, languages)
    facts = {
        "script": [
            _one_han(read_tag(label).script) or script_of(code) for label, code in zip(languages, resolved, strict=True)
        ],
        "family": families,
        "is_indo_european": [np.nan if family is None else float(family == INDO_EUROPEAN) for family in families],
        "pretraining_size": [sizes.get(language, np.nan) for language in languages],
    }
    return pd.DataFrame(facts, index=pd.Index(languages, name="language"))


def controls_table(
    languages: Iterable[str], pretraining_size: Mapping[str, float] | str | Path | None = None
) -> pd.DataFrame:
    """Set two languages' facts against each other, as numeric controls for partial correlations.

    Args:
        languages: ISO 639-1 or ISO 639-3 codes, each once.
        pretraining_size: as in :func:`language_facts`.

    Returns:
        One row per ordered pair, S = T included: source_language, target_language; same_script, same_family,
        both_indo_european (1.0 yes, 0.0 no, NaN unknown); where sizes were given, source_log_pretraining_size and
        target_log_pretraining_size (log10).

    Raises:
        XlingValueError: a language is unknown or given twice, or the file of sizes is wrong.
        MissingFileError: there is no such file of sizes.
    """
    facts = language_facts(languages, pretraining_size)
    source = facts.loc[np.repeat(facts.index, len(facts))].reset_index()
    target = facts.loc[np.tile(facts.index, len(facts))].reset_index()
    table = pd.DataFrame({"source_language": source["language"], "target_language": target["language"]})
    for name in ("script", "family"):
        is_known = source[name].notna() & target[name].notna()
        table[f"same_{name}"] = (source[name] == target[name]).astype(float).where(is_known)
    table["both_indo_european"] = source["is_indo_european"] * target["is_indo_european"]
    if pretraining_size is not None:
        table["source_log_pretraining_size"] = np.log10(source["pretraining_size"])
        table["target_log_pretraining_size"] = np.log10(target["pretraining_size"])
    return table


def script_distances(languages: Iterable[str]) -> Distances:
    """Compute the distance of scripts: 0 where two languages share one, 1 where not, NaN where the script of one is not known.

    Args:
        languages: codes or tags, each once; a tag's own script counts (``zho_Hans``).

    >>> script_distances(["ur", "hi", "ar"]).values["script"].loc["ur"].tolist()
    [0.0, 1.0, 0.0]
    """
    scripts = language_facts(languages)["script"]
    known, names = scripts.notna().to_numpy(), scripts.to_numpy(dtype=object)
    differs = (names[:, None] != names[None, :]).astype(float)
    values = np.where(known[:, None] & known[None, :], differs, np.nan)
    np.fill_diagonal(values, 0.0)
    matrix = Matrix(values, np.full(values.shape, np.nan), np.zeros(values.shape, dtype=bool))
    return Distances.from_matrices("script", scripts.index, {"script": matrix})


def script_of(code: str) -> str | None:
    """Look up the likely script of an ISO 639-3 code as its ISO 15924 code; None where CLDR has none."""
    return _one_han(_scripts().get(code))


def _one_han(script: str | None) -> str | None:
    """Give simplified and traditional Chinese script the code of both, Hani."""
    return "Hani" if script in ("Hans", "Hant") else script


@functools.cache
def family_of(code: str) -> str | None:
    """Find the top-level family of an ISO 639-3 code in URIEL's tree; None where no node is recorded.

    The root is the one of its nodes that has the most languages.
    """
    table = uriel.families()
    nodes = np.flatnonzero(table.nodes[table.rows[code]])
    return str(table.names[nodes[np.argmax(_member_counts()[nodes])]]).removeprefix("F_") if len(nodes) else None


@functools.cache
def _member_counts() -> np.ndarray:
    return uriel.families().nodes.sum(axis=0, dtype=np.int64)


@functools.cache
def _scripts() -> dict[str, str]:
    text = uriel.read_own_file("scripts.csv")
    return {row["language"]: row["script"] for row in csv.DictReader(text.splitlines())}
