"""Integrates URIEL+'s databases once and keeps what distances need; runs in a process of its own.

URIEL+ writes beside its own code, configures the root logger and takes about 4 GB while it integrates its databases, so
:mod:`xling.distances.urielplus` starts this module with a copy of the package first on the path:
``python -m xling.distances.urielplus_build OUT.npz``.
"""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np

PARTS = ("family", "typology", "geography", "script")
"""URIEL+'s four matrices, in its order."""


def build(out: Path) -> None:
    """Integrate the databases and write the compact arrays.

    For every part, `<part>` holds values [n_languages, n_features] (the maximum over sources; -1 = missing) and
    `<part>_names` the names of the features; `languages` holds ISO 639-3 codes and `glottocodes` the codes by which URIEL+ knows
    these languages.

    Args:
        out: the .npz file to write.
    """
    import urielplus
    from urielplus.urielplus import URIELPlus

    plus = URIELPlus()
    plus.integrate_databases()
    plus.map_new_distance_to_loaded_features("featural")  # hides eWAVE's features outside English, as its queries do
    named = _glottocodes(Path(urielplus.__file__).parent / "database" / "urielplus_csvs" / "uriel_glottocode_map.csv")
    rows = {str(code): row for row, code in enumerate(plus.langs[1])}
    languages = [code for code, glottocode in named.items() if glottocode in rows]
    chosen = [rows[named[code]] for code in languages]
    arrays: dict[str, Any] = {
        "languages": np.array(languages),
        "glottocodes": np.array([named[code] for code in languages]),
    }
    for index, part in enumerate(PARTS):
        if list(plus.langs[index]) != list(plus.langs[1]):
            raise SystemExit(f"URIEL+ lists other languages for {part} than for typology")
        arrays[part] = np.stack([plus.data[index][row].max(axis=-1) for row in chosen]).astype(_dtype(part))
        arrays[f"{part}_names"] = np.asarray(plus.feats[index], dtype=str)
    np.savez_compressed(out, **arrays)


def _dtype(part: str) -> type:
    return np.float32 if part == "geography" else np.int8


def _glottocodes(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["iso_code"].strip(): row["glottocode"].strip()
            for row in csv.DictReader(file)
            if row["glottocode"].strip()
        }


if __name__ == "__main__":
    build(Path(sys.argv[1]))
