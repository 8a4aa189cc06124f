"""All complete runs of a study as tidy tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from pandas.api.types import union_categoricals

from xling.errors import MissingFileError, XlingError
from xling.runs.directory import CONFIG_FILE, MANIFEST_FILE, RunDirectory
from xling.runs.measures import to_long
from xling.runs.opening import open_study
from xling.runs.tables import (
    ALIGNMENT,
    ALIGNMENT_FILE,
    IMPACT_FILE,
    PREDICTIONS,
    PREDICTIONS_FILE,
    TRANSFER_FILE,
)


@dataclass(frozen=True)
class Study:
    """What :func:`load_study` found.

    Attributes:
        impact: rows of all runs, columns of :data:`xling.runs.tables.IMPACT`.
        transfer: rows of all runs, columns of :data:`xling.runs.tables.TRANSFER`.
        alignment: rows of the runs that measured it, columns of :data:`xling.runs.tables.ALIGNMENT`; may be empty.
        runs: one row per complete run: path, the manifest's facts and recipe, its settings in words.
        skipped: (directory, reason) of what was left out.
    """

    impact: pd.DataFrame
    transfer: pd.DataFrame
    alignment: pd.DataFrame
    runs: pd.DataFrame
    skipped: list[tuple[str, str]]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Rows of the runs that kept their predictions, columns of :data:`xling.runs.tables.PREDICTIONS`; read when asked for."""
        files = [Path(path) / PREDICTIONS_FILE for path in self.runs["path"]]
        frames = [pd.read_parquet(file) for file in files if file.is_file()]
        return concat_categories(frames) if frames else pd.DataFrame(columns=list(PREDICTIONS))


def load_study(directory: Path | str) -> Study:
    """Read every complete run below `directory`.

    Args:
        directory: a study's folder, or any folder above or below; or its pack (:mod:`xling.runs.packing`).

    Raises:
        MissingFileError: there is no such folder, or no complete run in it.
    """
    directory = open_study(directory)
    if not directory.is_dir():
        raise MissingFileError(f"expected a folder with runs at {directory}, found none; give the study's folder")
    tables, runs, skipped = [], [], []
    for path in sorted({file.parent for file in _markers(directory)}):
        try:
            manifest, frames = _load_run(RunDirectory(path))
        except XlingError as error:
            skipped.append((str(path), str(error)))
            continue
        tables.append(frames)
        facts = {key: value for key, value in manifest.items() if key != "files"}
        runs.append({"path": str(path), "recipe": RunDirectory(path).recipe()} | facts)
    if not tables:
        reasons = "".join(f"; {path}: {reason}" for path, reason in skipped[:3])
        raise MissingFileError(f"expected at least one complete run below {directory}, found none{reasons}")
    impact, transfer, alignment = (_concat(frames) for frames in zip(*tables, strict=True))
    return Study(impact, transfer, alignment, pd.DataFrame(runs), skipped)


def concat_categories(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames below each other; columns that are categorical in all of them stay so, with the categories of all."""
    shared = [
        name
        for name in frames[0].columns
        if all(name in frame and isinstance(frame[name].dtype, pd.CategoricalDtype) for frame in frames)
    ]
    joined = {name: union_categoricals([frame[name] for frame in frames]) for name in shared}
    order = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    rest = pd.concat([frame.drop(columns=shared) for frame in frames], ignore_index=True)
    return rest.assign(**joined)[order]


def _concat(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if not frame.empty]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


def _markers(directory: Path) -> Iterable[Path]:
    yield from directory.rglob(MANIFEST_FILE)
    yield from directory.rglob(CONFIG_FILE)


def _load_run(run: RunDirectory) -> tuple[dict, list[pd.DataFrame]]:
    if not run.is_complete:
        raise MissingFileError("the run is not complete (no manifest)")
    manifest = run.read_manifest()
    impact, transfer = (pd.read_parquet(run.path / name) for name in (IMPACT_FILE, TRANSFER_FILE))
    impact = impact if "measure" in impact else to_long(impact)
    alignment = run.path / ALIGNMENT_FILE
    return manifest, [
        impact,
        _with_score(transfer),
        pd.read_parquet(alignment) if alignment.is_file() else pd.DataFrame(columns=list(ALIGNMENT)),
    ]


def _with_score(transfer: pd.DataFrame) -> pd.DataFrame:
    """Read a table from before tasks named their metric, or from before a missing score had its reason."""
    if "accuracy" in transfer and "score" not in transfer:
        transfer = transfer.rename(columns={"accuracy": "score"}).assign(metric="accuracy")
    return transfer if "reason" in transfer else transfer.assign(reason="")
