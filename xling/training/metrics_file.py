"""Logs to a CSV file in the format of Lightning's that survives interruptions: no row is lost, and none is written twice."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from xling.errors import CorruptArtefactError
from xling.storage.atomic import write_text
from xling.storage.hashing import sha256

METRICS_FILE = "metrics.csv"


class MetricsFile(CSVLogger):
    """Writes ``<save_dir>/<name>/metrics.csv`` as Lightning's logger does, but always the whole file, under a temporary name.

    Lightning's logger deletes an existing file, and a process that is killed may leave a header without its rows. This one
    puts the number and the hash of its rows into each checkpoint. A run that goes on keeps that many rows of the file, and
    writes the later ones again.

    Args:
        save_dir: folder in which the log's folder is made.
        name: name of the log's folder.
    """

    def __init__(self, save_dir: Path | str, name: str = "logs") -> None:
        super().__init__(save_dir, name=name, version="")
        self._rows: list[dict[str, Any]] = []

    @property
    def experiment(self) -> "MetricsFile":
        """Return this object where Lightning expects its own writer, which is not used."""
        return self

    @property
    def path(self) -> Path:
        """Path of the CSV file."""
        return Path(self.log_dir) / METRICS_FILE

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Add a row; every hundredth step writes the file."""
        values = {name: value.item() if hasattr(value, "item") else value for name, value in metrics.items()}
        self._rows.append(values | {"step": step})
        if step is not None and (step + 1) % self._flush_logs_every_n_steps == 0:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the whole file, its columns sorted by name."""
        if not self._rows:
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=sorted(set().union(*self._rows)))
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.path, text.getvalue())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the file when the fit ends."""
        self.save()

    def state_dict(self) -> dict[str, Any]:
        """Return the number of rows and their hash."""
        return {"n_rows": len(self._rows), "sha256": _digest(self._rows)}

    @rank_zero_only
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read the file, keep the rows that were there when the checkpoint was written, and continue after them.

        Raises:
            CorruptArtefactError: the file has fewer rows than the checkpoint says, or other ones.
        """
        n_rows, rows = state_dict["n_rows"], []
        if self.path.is_file():
            with self.path.open(encoding="utf-8", newline="") as file:
                rows = [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(file)]
        if len(rows) < n_rows or _digest(rows[:n_rows]) != state_dict["sha256"]:
            raise CorruptArtefactError(
                f"{self.path} has {len(rows)} rows, and not the {n_rows} that were there when the checkpoint was written; "
                f"delete {self.path.parent.parent} and run again"
            )
        self._rows = rows[:n_rows]


def _digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Hash rows as the file shows them, as text: rows read back from it and rows still in memory must agree."""
    shown = [sorted((name, str(value)) for name, value in row.items()) for row in rows]
    return sha256(json.dumps(shown))
