"""Reads all complete runs of a study as tidy tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xling.errors import CorruptArtefactError, MissingFileError, XlingError
from xling.machine.progress import track
from xling.runs.below import Table, as_frame, concat_categories, concat_tables
from xling.runs.comparable import design_of
from xling.runs.directory import DATA_FILE, ENVIRONMENT_FILE, RunDirectory, read_settings, read_verified
from xling.runs.finding import find_runs
from xling.runs.measures import to_long
from xling.runs.opening import open_study
from xling.runs.recipe import describe_recipe
from xling.runs.subject import describe_subject
from xling.runs.tables import (
    ALIGNMENT,
    ALIGNMENT_FILE,
    GRADIENTS,
    GRADIENTS_FILE,
    IMPACT_FILE,
    KEYS,
    LINEAR_PROBES,
    LINEAR_PROBES_FILE,
    PREDICTIONS,
    PREDICTIONS_FILE,
    TRANSFER_FILE,
)


@dataclass(frozen=True, repr=False)
class Study:
    """The complete runs of a study, as :func:`load_study` read them.

    Attributes:
        impact: rows of all runs, columns of :data:`xling.runs.tables.IMPACT`.
        transfer: rows of all runs, columns of :data:`xling.runs.tables.TRANSFER`.
        alignment: rows of the runs that measured it, columns of :data:`xling.runs.tables.ALIGNMENT`; may be empty.
        runs: one row per complete run, with the manifest's facts and the columns path, recipe (its settings in words), subject
            (its data set, task and encoder) and design (what it must share with all runs of its study, see
            :func:`xling.runs.comparable.design_of`).
        skipped: (directory, reason) of every run that was left out.
    """

    impact: pd.DataFrame
    transfer: pd.DataFrame
    alignment: pd.DataFrame
    runs: pd.DataFrame
    skipped: list[tuple[str, str]]

    def __repr__(self) -> str:
        """Describe the study in one line, where a dataclass would print all tables."""
        return f"Study of {self._in_words()}"

    def _repr_html_(self) -> str:
        """Show the study in a notebook: a line about it, and the mean score of every source on every target."""
        last = self.transfer[self.transfer["step"] == self.transfer.groupby("source_language")["step"].transform("max")]
        scores = last.pivot_table(index="source_language", columns="target_language", values="score", observed=True)
        metric = " / ".join(sorted(last["metric"].astype(str).unique()))
        table = scores.to_html(float_format=lambda value: f"{value:.3f}")
        return f"<p>{escape(self._in_words())}; {escape(metric)} by source (rows) and target:</p>{table}"

    def _in_words(self) -> str:
        counts = {name: self.runs[name].nunique() for name in ("source_language", "strategy", "seed")}
        languages = self.transfer["target_language"].nunique()
        left_out = f", {len(self.skipped)} left out" if self.skipped else ""
        names = " / ".join(sorted(self.runs["study"].unique()))
        parts = [f"{counts['source_language']} sources", f"{languages} targets", f"strategies: {counts['strategy']}"]
        return f"{names}: {len(self.runs)} runs ({', '.join(parts)}, seeds: {counts['seed']}){left_out}"

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Rows of the runs that kept their predictions, columns of :data:`xling.runs.tables.PREDICTIONS`; read when asked for.

        Predictions that have gone or changed since the study was loaded are left out, and added to `skipped`.
        """
        frames = self._read_each(PREDICTIONS_FILE, "predictions")
        return concat_categories(frames) if frames else pd.DataFrame(columns=list(PREDICTIONS))

    @cached_property
    def gradients(self) -> pd.DataFrame:
        """Rows of the runs that compared gradients, columns of :data:`xling.runs.tables.GRADIENTS`; read when asked for."""
        frames = self._read_each(GRADIENTS_FILE, "gradients")
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(GRADIENTS))

    @cached_property
    def linear_probes(self) -> pd.DataFrame:
        """Rows of runs with linear classifiers, columns of :data:`xling.runs.tables.LINEAR_PROBES`, read when asked for."""
        frames = self._read_each(LINEAR_PROBES_FILE, "linear probes")
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(LINEAR_PROBES))

    def _read_each(self, file: str, what: str) -> list[pd.DataFrame]:
        """Read a file of every run that has it; files that are gone or changed are left out, and added to `skipped`."""
        frames = []
        for path, manifest in zip(self.runs["path"], self.runs["files"], strict=True):
            if file in manifest:
                try:
                    frames.append(pd.read_parquet(BytesIO(read_verified(Path(path) / file, manifest))))
                except BROKEN as error:
                    self.skipped.append((path, f"its {what} are left out: {_reason(error)}"))
        return frames


BROKEN = (
    XlingError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    RecursionError,
    pa.ArrowException,
)
"""Errors that reading damaged files raises, here and in the libraries that read them."""


def load_study(directory: Path | str) -> Study:
    """Read every complete run below `directory`, links to folders followed.

    A run that is not complete, damaged, deleted while it is read, or the same as another one is skipped with its reason.

    Args:
        directory: a study's folder, or any folder above or below it; or its pack (:mod:`xling.runs.packs`).

    Raises:
        MissingFileError: there is no such folder, or no complete run in it.
    """
    directory = open_study(directory)
    if not directory.is_dir():
        raise MissingFileError(f"expected a folder with runs at {directory}, found none; give the study's folder")
    paths, skipped = find_runs(directory)
    tables: list[list[Table]] = []
    runs: dict[tuple, dict[str, Any]] = {}
    for path in track(paths, "Runs"):
        try:
            facts, frames = _load_run(RunDirectory(path))
            key = tuple(facts[name] for name in _IDENTITY)
            if key in runs:
                raise CorruptArtefactError(f"it is the same run as {runs[key]['path']}")
        except BROKEN as error:
            skipped.append((str(path), _reason(error)))
            continue
        tables.append(frames)
        runs[key] = facts
    if not tables:
        reasons = "".join(f"; {path}: {reason}" for path, reason in skipped[:3])
        raise MissingFileError(f"expected at least one complete run below {directory}, found none{reasons}")
    impact, transfer, alignment = (concat_tables(tables_of_a_kind) for tables_of_a_kind in zip(*tables, strict=True))
    return Study(impact, transfer, alignment, pd.DataFrame(list(runs.values())), skipped)


def _reason(error: BaseException) -> str:
    """Give an error's reason in one line: the message of an error of xling as it is, others with the error's kind."""
    text = " ".join(str(error).split()) or "no reason given"
    return text if isinstance(error, XlingError) else f"it cannot be read ({type(error).__name__}: {text[:200]})"


_IDENTITY = ("study", "source_language", "strategy", "seed")


def _load_run(run: RunDirectory) -> tuple[dict[str, Any], list[Table]]:
    """Load a run's facts and tables; every file is compared with the manifest when it is read."""
    if not run.is_complete:
        raise MissingFileError("the run is not complete (no manifest)")
    manifest = run.read_manifest()
    settings, environment, data = read_settings(run.path), *(run.read_record(n) for n in (ENVIRONMENT_FILE, DATA_FILE))
    facts = manifest | {
        "path": str(run.path),
        "recipe": describe_recipe(settings, environment, data),
        "subject": describe_subject(settings),
        "design": design_of(settings, environment, data),
    }

    def read(name: str) -> pa.Table:
        content = read_verified(run.path / name, manifest["files"])
        return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)  # small: threads and scans cost more

    impact, transfer = read(IMPACT_FILE), read(TRANSFER_FILE)
    has_alignment = ALIGNMENT_FILE in manifest["files"]
    alignment = read(ALIGNMENT_FILE) if has_alignment else pd.DataFrame(columns=list(ALIGNMENT))
    for name, table in ((IMPACT_FILE, impact), (TRANSFER_FILE, transfer)):
        _check_rows(name, table, manifest, settings.target_languages)
    return facts, [_long(impact), _with_score(transfer), alignment]


def _check_rows(name: str, table: pa.Table, manifest: dict[str, Any], targets: Sequence[str]) -> None:
    """See that a table is this run's, and has rows of every target at its last validation."""
    missing = [column for column in KEYS if column not in table.column_names]
    if missing:
        raise CorruptArtefactError(f"{name} lacks the column {missing[0]}")
    strangers = [key for key in _IDENTITY if {*map(str, table[key].unique().to_pylist())} - {str(manifest[key])}]
    if strangers:
        raise CorruptArtefactError(
            f"{name} has rows of another {strangers[0]} than its manifest, {manifest[strangers[0]]}"
        )
    last = table["target_language"].filter(pc.equal(table["step"], pc.max(table["step"])))
    present = set(last.unique().to_pylist())
    absent = [target for target in targets if target not in present]
    if absent or not table.num_rows:
        raise CorruptArtefactError(
            f"the run is not complete: {name} has no row of {', '.join(absent) or 'any target'} at its last validation"
        )


def _long(impact: pa.Table) -> Table:
    """Make a table long that was written when measures still stood side by side (version 0.1.0)."""
    return impact if "measure" in impact.column_names else to_long(as_frame(impact))


def _with_score(transfer: pa.Table) -> Table:
    """Complete a table that was written before tasks named their metric, or before a missing score had its reason."""
    if {"score", "reason"} <= set(transfer.column_names):
        return transfer
    frame = as_frame(transfer)
    if "accuracy" in frame and "score" not in frame:
        frame = frame.rename(columns={"accuracy": "score"}).assign(metric="accuracy")
    return frame if "reason" in frame else frame.assign(reason="")
