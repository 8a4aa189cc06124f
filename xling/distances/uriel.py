"""Reads URIEL's feature files from the installed lang2vec package without importing its code.

``import lang2vec.lang2vec`` needs pkg_resources, which setuptools no longer ships; the data files need only numpy.
Everything is read on first use, kept in memory, and never written.
"""

import functools
import importlib.metadata
import io
import json
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xling.errors import CorruptArtefactError, MissingFileError

TYPOLOGICAL_KINDS = ("syntactic", "phonological", "inventory", "featural")
PREFIXES = {"syntactic": ("S_",), "phonological": ("P_",), "inventory": ("INV_",), "featural": ("S_", "P_", "INV_")}

_FILLINGS = {"average": "feature_averages.npz", "knn": "feature_predictions.npz"}


class Typology(NamedTuple):
    """Typological features of all languages of URIEL."""

    names: np.ndarray  # [n_features]
    rows: dict[str, int]  # ISO 639-3 -> row
    values: np.ndarray  # int8 [n_languages, n_features]: the maximum over URIEL's sources; -1 = missing


class Families(NamedTuple):
    """Nodes of the family tree that each language of URIEL belongs to."""

    names: np.ndarray  # [n_nodes], e.g. F_Indo-European
    rows: dict[str, int]
    nodes: np.ndarray  # int8 [n_languages, n_nodes], 0 or 1


class Geography(NamedTuple):
    """Central angles / pi between each language of URIEL and 299 reference points."""

    rows: dict[str, int]
    angles: np.ndarray  # float32 [n_languages, 299], in 0..1


@functools.cache
def rules() -> dict[str, Any]:
    """Read the rules by which lang2vec's distance file departs from its feature files (files/lang2vec_rules.json)."""
    return json.loads(read_own_file("lang2vec_rules.json"))


@functools.cache
def genetic_order() -> dict[str, int]:
    """Read the place of each ISO 639-3 code in lang2vec's distance file; genetic distance takes the earlier language as a."""
    return {code: place for place, code in enumerate(read_own_file("distances_languages.txt").strip().split(","))}


@functools.cache
def typology() -> Typology:
    """Read the typological features (about half a second, once)."""
    arrays = _read("features.npz")
    return Typology(arrays["feats"], _rows(arrays["langs"]), arrays["data"].max(axis=2).astype(np.int8))


@functools.cache
def filled_features(filling: str) -> np.ndarray:
    """Read URIEL's features as one table without its sources.

    Args:
        filling: ``average``: the mean over the sources that observed a feature; ``knn``: 0 or 1, observed or, where no source did,
            predicted from the language's nearest neighbours in genealogy, geography and typology (Littell et al. 2017).

    Returns:
        float, [n_languages, n_features], rows and columns of :func:`typology`; below 0 = missing (``average`` only).
    """
    return _read(_FILLINGS[filling])["data"][:, :, 0]


@functools.cache
def families() -> Families:
    """Read the family tree (about half a second, once)."""
    arrays = _read("family_features.npz")
    return Families(arrays["feats"], _rows(arrays["langs"]), arrays["data"][:, :, 0].astype(np.int8))


@functools.cache
def geography() -> Geography:
    """Read the geographic features."""
    arrays = _read("geocoord_features.npz")
    return Geography(_rows(arrays["langs"]), arrays["data"][:, :, 0])


@functools.cache
def kind_columns(kind: str) -> np.ndarray:
    """List the columns of :func:`typology` that a kind uses: 98 syntactic, 28 phonological, 158 inventory, 284 featural."""
    left_out = set(rules()["syntactic_features_left_out"])
    chosen = [name.startswith(PREFIXES[kind]) and name not in left_out for name in map(str, typology().names)]
    return np.flatnonzero(chosen)


def kind_values(kind: str, codes: list[str]) -> np.ndarray:
    """Select the features of one typological kind as URIEL observed them.

    Args:
        kind: one of TYPOLOGICAL_KINDS.
        codes: ISO 639-3 codes of URIEL.

    Returns:
        int8, [n, n_features]: 1, 0, or -1 = missing.
    """
    table = typology()
    rows = np.array([table.rows[code] for code in codes], dtype=np.intp)
    return table.values[np.ix_(rows, kind_columns(kind))]


def kind_vectors(kind: str, codes: list[str], filling: str = "union") -> np.ndarray:
    """Make the vectors that lang2vec computes with: missing = 0, and its three overrides applied (see :func:`rules`).

    Args:
        kind: one of TYPOLOGICAL_KINDS.
        codes: ISO 639-3 codes of URIEL.
        filling: ``union`` (1 where any source says so), or ``average`` or ``knn``, see :func:`filled_features`.

    Returns:
        [n, n_features], in 0..1; a language without anything above 0 has a row of zeros.
    """
    if filling == "union":
        values = kind_values(kind, codes)
    else:
        rows = np.array([typology().rows[code] for code in codes], dtype=np.intp)
        values = filled_features(filling)[np.ix_(rows, kind_columns(kind))]
    vectors = np.maximum(values, 0)
    names = typology().names[kind_columns(kind)]
    vectors[:, np.isin(names, rules()["features_set_to_zero"])] = 0
    for name, languages in rules()["features_set_to_one"].items():
        vectors[np.ix_(np.isin(codes, languages), names == name)] = 1
    return vectors


def read_lang2vec_file(name: str) -> bytes:
    """Read one of the data files of the installed lang2vec package.

    The file is found through the distribution's metadata, never by importing ``lang2vec``: the distribution also installs a
    *script* ``lang2vec.py`` into ``bin/``, the first entry of the path of every console script, where it hides the package.

    Raises:
        MissingFileError: lang2vec is not installed, or its installation lacks the file.
    """
    remedy = "run: pip install --force-reinstall --no-deps lang2vec==1.1.2"
    try:
        path = Path(str(importlib.metadata.distribution("lang2vec").locate_file(f"lang2vec/data/{name}")))
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingFileError(f"expected the installed package lang2vec, found none; {remedy}") from error
    if not path.is_file():
        raise MissingFileError(f"expected {path}, a data file of the package lang2vec, found none; {remedy}")
    return path.read_bytes()


def read_own_file(name: str) -> str:
    """Read a text file of xling/distances/files."""
    return (resources.files("xling.distances") / "files" / name).read_text(encoding="utf-8")


def _rows(codes: np.ndarray) -> dict[str, int]:
    return {str(code): row for row, code in enumerate(codes)}


def _read(name: str) -> dict[str, np.ndarray]:
    content = read_lang2vec_file(name)
    try:
        with np.load(io.BytesIO(content)) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CorruptArtefactError(
            f"{name} in the installed package lang2vec cannot be read ({error}); run: "
            "pip install --force-reinstall --no-deps lang2vec==1.1.2"
        ) from error
