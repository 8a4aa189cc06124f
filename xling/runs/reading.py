"""Reads what one complete run recorded and measured; every file is compared with the run's manifest when it is read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xling.errors import CorruptArtefactError, MissingFileError
from xling.runs.below import Table, as_frame
from xling.runs.comparable import design_of
from xling.runs.directory import DATA_FILE, ENVIRONMENT_FILE, RunDirectory, read_settings, read_verified
from xling.runs.measures import to_long
from xling.runs.recipe import describe_recipe
from xling.runs.subject import describe_subject
from xling.runs.tables import ALIGNMENT, ALIGNMENT_FILE, IMPACT_FILE, KEYS, TRANSFER_FILE

IDENTITY = ("study", "source_language", "strategy", "seed")

_TABLES = (IMPACT_FILE, TRANSFER_FILE, ALIGNMENT_FILE)
_NO_ALIGNMENT = pd.DataFrame(columns=list(ALIGNMENT))


def read_records(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Read what a run says of itself, and check all its files but those that :func:`read_tables` reads.

    Returns:
        The manifest's facts with path, recipe, subject and design (see :class:`xling.runs.study.Study`); the target languages.

    Raises:
        MissingFileError: the run is not complete.
        CorruptArtefactError: a file is missing, damaged or another than the manifest says.
    """
    run = RunDirectory(path)
    if not run.is_complete:
        raise MissingFileError("the run is not complete (no manifest)")
    manifest = run.read_manifest(unchecked=_TABLES)
    settings, environment, data = read_settings(path), *(run.read_record(n) for n in (ENVIRONMENT_FILE, DATA_FILE))
    facts = manifest | {
        "path": str(path),
        "recipe": describe_recipe(settings, environment, data),
        "subject": describe_subject(settings),
        "design": design_of(settings, environment, data),
    }
    return facts, settings.target_languages


def read_tables(facts: Mapping[str, Any], targets: Sequence[str]) -> list[Table]:
    """Read impact, transfer and alignment of a run, from what :func:`read_records` gave.

    Returns:
        The three tables; where alignment was not measured, its table is empty, and shared with other runs.

    Raises:
        CorruptArtefactError: a file is missing, damaged or another than the manifest says, or has no rows of a target.
    """
    path, digests = Path(facts["path"]), facts["files"]

    def read(name: str) -> pa.Table:
        content = read_verified(path / name, digests)
        return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)  # small: threads and scans cost more

    impact, transfer = read(IMPACT_FILE), read(TRANSFER_FILE)
    alignment = read(ALIGNMENT_FILE) if ALIGNMENT_FILE in digests else _NO_ALIGNMENT
    for name, table in ((IMPACT_FILE, impact), (TRANSFER_FILE, transfer)):
        _check_rows(name, table, facts, targets)
    return [_long(impact), _with_score(transfer), alignment]


def _check_rows(name: str, table: pa.Table, manifest: Mapping[str, Any], targets: Sequence[str]) -> None:
    """See that a table is this run's, and has rows of every target at its last validation."""
    columns = set(table.column_names)
    for column in KEYS:
        if column not in columns:
            raise CorruptArtefactError(f"{name} lacks the column {column}")
    strangers = [key for key in IDENTITY if {*map(str, table[key].unique().to_pylist())} - {str(manifest[key])}]
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
