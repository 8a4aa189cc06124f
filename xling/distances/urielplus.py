"""Computes distances from URIEL+, an optional extra: ``pip install "xling[urielplus]"``.

URIEL+ compares two languages over the features observed for both; where there are none it writes -1, which is NaN
here. So is a pair one of whose languages has no 1 among them: URIEL+ puts a row of ones in its place, which is no
measurement. Languages are looked up by their Glottocode; a macrolanguage has none and is replaced by its individual
language, with a warning.

References:
    Khan et al. 2025, URIEL+ (arXiv:2409.18472).
"""

import functools
import importlib.metadata
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np

from xling.distances import codes
from xling.distances.formulas import shared_angular_distance
from xling.distances.result import Distances, MacrolanguageWarning, Matrix
from xling.errors import CorruptArtefactError, UnreachableError, XlingValueError
from xling.storage.atomic import atomic_path

log = logging.getLogger(__name__)

PARTS_OF_KINDS = {
    "genetic": ("family", ""),
    "geographic": ("geography", ""),
    "syntactic": ("typology", "S_"),
    "inventory": ("typology", "INV_"),
    "phonological": ("typology", "P_"),
    "featural": ("typology", ""),
    "morphological": ("typology", "M_"),
    "script": ("script", ""),
}
"""Kind -> the matrix of URIEL+ that it is computed from, and the prefix of its features' names."""


def compute_urielplus_distances(
    kinds: list[str], languages: list[str], cache_dir: str | Path | None = None
) -> Distances:
    """Compute distances from URIEL+; see :func:`xling.distances.compute_distances`.

    Args:
        kinds: keys of PARTS_OF_KINDS.
        languages: ISO 639-1 or ISO 639-3 codes.
        cache_dir: folder in which URIEL+'s integrated databases are kept; None = the environment variable XLING_CACHE, else
            ~/.cache/xling. The first call takes about three minutes and 4 GB of memory.

    Returns:
        Distances 0..1 with 4 decimals, NaN = missing; their coverage is the number of features observed for both languages.

    Raises:
        UnreachableError: the package is not installed, or its databases could not be integrated.
        CorruptArtefactError: the cached file cannot be read.
        XlingValueError: URIEL+ has no such language.

    Warns:
        MacrolanguageWarning: an individual language was used in place of a macrolanguage.
    """
    path = _cached_file(cache_dir)
    tables = _read(path)
    rows = [tables["rows"][_code_in(tables["rows"], language)] for language in languages]
    matrices = {kind: _matrix(tables, kind, rows) for kind in kinds}
    return Distances.from_matrices("urielplus", languages, matrices)


def _matrix(tables: dict, kind: str, rows: list[int]) -> Matrix:
    part, prefix = PARTS_OF_KINDS[kind]
    columns = np.char.startswith(tables[f"{part}_names"], prefix)
    values, coverage = shared_angular_distance(tables[part][rows][:, columns])
    values[np.equal.outer(rows, rows)] = 0
    return Matrix(np.round(values, 4), coverage, np.zeros(values.shape, dtype=bool))


def _code_in(rows: dict[str, int], language: str) -> str:
    """Find the code of a language among those of URIEL+; of a macrolanguage, that of its individual language."""
    code = codes.resolve_code(language)
    if code in rows:
        return code
    individual = codes.individual_of(code).language
    if individual not in rows:
        raise XlingValueError(f"URIEL+ has no language {language!r}; leave it out or use another distance source")
    warnings.warn(
        f"URIEL+ has no macrolanguage {language}; used {individual} in its place", MacrolanguageWarning, stacklevel=5
    )
    return individual


@functools.cache
def _read(path: Path) -> dict:
    try:
        with path.open("rb") as stream, np.load(stream) as arrays:
            tables = {name: arrays[name] for name in arrays.files}
        return tables | {"rows": {str(code): row for row, code in enumerate(tables["languages"])}}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptArtefactError(f"{path} cannot be read ({error}); delete it and it will be built anew") from error


def _cached_file(cache_dir: str | Path | None) -> Path:
    """Give the file of the integrated databases of the installed version, which is built where it is missing."""
    if importlib.util.find_spec("urielplus") is None:
        raise UnreachableError(
            "the distance source 'urielplus' needs the package urielplus, which is not installed; "
            'run: pip install "xling[urielplus]"'
        )
    folder = Path(cache_dir or os.environ.get("XLING_CACHE", "~/.cache/xling")).expanduser() / "urielplus"
    path = folder / f"{importlib.metadata.version('urielplus')}.npz"
    if not path.is_file():
        log.info("Integrating URIEL+'s databases into %s; about three minutes, once", path)
        with atomic_path(path) as temporary:
            _build(temporary)
    return path


def _build(out: Path) -> None:
    """Integrate the databases in a process of its own, with a copy of the package that it may write to."""
    spec = importlib.util.find_spec("urielplus")
    assert spec is not None
    assert spec.origin is not None  # its version was read before
    package = Path(spec.origin).parent
    shutil.copytree(package, out.parent / "urielplus", ignore=shutil.ignore_patterns("__pycache__"))
    search_path = os.pathsep.join([str(out.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    finished = subprocess.run(
        [sys.executable, "-m", "xling.distances.urielplus_build", str(out)],
        cwd=out.parent,
        env=os.environ | {"PYTHONPATH": search_path},
        stderr=subprocess.PIPE,
        text=True,
    )
    if finished.returncode != 0 or not out.is_file():
        last = (finished.stderr.strip().splitlines() or ["it was killed, perhaps for want of memory"])[-1]
        raise UnreachableError(
            f"URIEL+'s databases could not be integrated ({last}); give it 4 GB of memory, reinstall urielplus, or use "
            "the source 'repaired'"
        )
