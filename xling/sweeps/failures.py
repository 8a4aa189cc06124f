"""Reports which jobs of a sweep failed, and why, wherever they ran.

A job that fails raises :class:`JobFailed`. Every Hydra launcher carries it back to the process of the command that was typed, which
ends with status 1 after all other jobs. Hydra names only the first failed job; :class:`FailureReport` collects all of them.
"""

import logging
import shutil
import uuid
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from xling.machine.private import error_of
from xling.storage.atomic import read_json, write_json

log = logging.getLogger(__name__)

_folder: Path | None = None


class JobFailed(CompactHydraException):
    """One job of a sweep failed; its message is the reason, already logged where the job ran."""


class FailureReport(Callback):
    """Hydra callback by which every job that fails leaves a note in a folder of its sweep.

    Runs on: multirun start (in the process of the command that was typed) and job end (where the job ran).
    Writes: ``<output_dir>/<study>/.failures-<id>/<job>.json``, gone when :func:`take_failures` has read them.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Choose the folder; jobs receive this callback, and with it the folder, as a copy."""
        global _folder
        self.folder = _folder = Path(config.hydra.sweep.dir).absolute() / f".failures-{uuid.uuid4().hex[:8]}"
        self.fixed = {_squeezed(override) for override in config.hydra.overrides.task}

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Write down the reason of a failure. The exit status does not depend on this note, since the disk may be full."""
        if job_return.status != JobStatus.FAILED or not hasattr(self, "folder"):
            return
        varied = [override for override in job_return.overrides or () if _squeezed(override) not in self.fixed]
        reason = str(error_of(job_return))
        write_json(self.folder / f"{config.hydra.job.num:06d}.json", {"run": " ".join(varied), "reason": reason})


def _squeezed(override: str) -> str:
    return override.replace(" ", "").lower()  # the sweeper writes {a: 1} as {a:1}, false as False


def take_failures() -> list[tuple[str, str]]:
    """Read and remove the notes of failed runs: for each, the settings that tell it from the others, and the reason."""
    if _folder is None or not _folder.is_dir():
        return []
    notes = [read_json(path) for path in sorted(_folder.glob("*.json"))]
    shutil.rmtree(_folder)
    return [(note["run"], note["reason"]) for note in notes]


def report_failures() -> None:
    """Log every failed run of the sweep that this process started, and how to go on."""
    failures = take_failures()
    for run, reason in failures:
        log.error("failed: %s: %s", run or "the run", reason.splitlines()[0])
    if failures:
        log.error("%d run(s) failed; the same command runs them again and skips the complete ones", len(failures))
