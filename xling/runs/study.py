"""Reads all complete runs of a study as tidy tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa

from xling.errors import CorruptArtefactError, MissingFileError, XlingError
from xling.machine.progress import track
from xling.runs.below import Table, concat_categories, concat_tables
from xling.runs.directory import read_verified
from xling.runs.finding import find_runs
from xling.runs.opening import open_study
from xling.runs.reading import IDENTITY, read_records, read_tables
from xling.runs.tables import (
    GRADIENTS,
    GRADIENTS_FILE,
    LINEAR_PROBES,
    LINEAR_PROBES_FILE,
    PREDICTIONS,
    PREDICTIONS_FILE,
)

Result = TypeVar("Result")


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
    reasons: dict[Path, str] = {}
    recorded = dict(_each(read_records, paths, "Runs", reasons))
    known: dict[tuple, str] = {}

    def read(path: Path) -> list[Table]:
        facts, targets = recorded[path]
        key = tuple(facts[name] for name in IDENTITY)
        if key in known:
            raise CorruptArtefactError(f"it is the same run as {known[key]}")
        tables = read_tables(facts, targets)
        known[key] = facts["path"]
        return tables

    # Records first and tables after them: two short loops stay in the processor's caches, where a long one does not.
    tables = dict(_each(read, list(recorded), "Tables", reasons))
    skipped += [(str(path), reasons[path]) for path in paths if path in reasons]
    if not tables:
        first = "".join(f"; {path}: {reason}" for path, reason in skipped[:3])
        raise MissingFileError(f"expected at least one complete run below {directory}, found none{first}")
    impact, transfer, alignment = (concat_tables(of_a_kind) for of_a_kind in zip(*tables.values(), strict=True))
    runs = pd.DataFrame([recorded[path][0] for path in tables])
    return Study(impact, transfer, alignment, runs, skipped)


def _each(
    read: Callable[[Path], Result], paths: Sequence[Path], what: str, reasons: dict[Path, str]
) -> Iterator[tuple[Path, Result]]:
    """Read every path; those that cannot be read get their reason instead."""
    for path in track(paths, what):
        try:
            yield path, read(path)
        except BROKEN as error:
            reasons[path] = _reason(error)


def _reason(error: BaseException) -> str:
    """Give an error's reason in one line: the message of an error of xling as it is, others with the error's kind."""
    text = " ".join(str(error).split()) or "no reason given"
    return text if isinstance(error, XlingError) else f"it cannot be read ({type(error).__name__}: {text[:200]})"
