"""Records the state of a run that is not complete: how far it is, why it failed, and whether a process is working on it.

``progress.json`` is written every few seconds while a run goes on, and stays when its process dies. ``failed.json`` is there
when the last start of a run failed, and is removed when the run is started again. Neither says whether a process is alive. The
operating system knows that, by the run's lock; a clock could not tell it.
"""

import datetime
import os
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xling.errors import CorruptArtefactError, XlingError
from xling.machine.plain_text import one_line, printable
from xling.storage.atomic import read_json, write_json
from xling.storage.locks import is_held

PROGRESS_FILE = "progress.json"
FAILURE_FILE = "failed.json"
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Progress:
    """How far a run was when it last wrote its progress.

    Attributes:
        epoch: epochs of training done, e.g. 1.5; None within one whose length is not known.
        step: optimiser steps done.
        total_steps: optimiser steps of the whole run; None where that is not known.
        elapsed_s: seconds of training and validation so far, over all starts of the run.
        pid: process that wrote it.
        host: machine of that process.
        updated_at: UTC, ISO 8601; to be read by people, not compared with a clock.
    """

    epoch: float | None
    step: int
    total_steps: int | None
    elapsed_s: float
    pid: int
    host: str
    updated_at: str


@dataclass(frozen=True)
class Failure:
    """Why the last start of a run failed.

    Attributes:
        reason: one line; the traceback, where there is one, is in the run's ``run.log``.
        failed_at: UTC, ISO 8601.
    """

    reason: str
    failed_at: str


def write_progress(run: Path, *, epoch: float | None, step: int, total_steps: int | None, elapsed_s: float) -> None:
    """Write ``progress.json`` of this process into the directory `run`."""
    progress = Progress(epoch, step, total_steps, round(elapsed_s, 1), os.getpid(), socket.gethostname(), _now())
    write_json(run / PROGRESS_FILE, asdict(progress))


def read_progress(run: Path) -> Progress | None:
    """Read ``progress.json`` of the directory `run`; None where there is none.

    Raises:
        CorruptArtefactError: the file is not what :func:`write_progress` writes.
    """
    return _read(run / PROGRESS_FILE, Progress)


def write_failure(run: Path, reason: str) -> None:
    """Write ``failed.json`` into the directory `run`, with the first line of `reason`."""
    first_line = printable(next(iter(reason.strip().splitlines()), "no reason given"))
    write_json(run / FAILURE_FILE, asdict(Failure(first_line, _now())))


def read_failure(run: Path) -> Failure | None:
    """Read ``failed.json`` of the directory `run`; None where there is none.

    Raises:
        CorruptArtefactError: the file is not what :func:`write_failure` writes.
    """
    failure = _read(run / FAILURE_FILE, Failure)
    return failure and Failure(one_line(str(failure.reason)), one_line(str(failure.failed_at)))


def clear_state(run: Path) -> None:
    """Remove both files, once the run is complete."""
    for name in (PROGRESS_FILE, FAILURE_FILE):
        (run / name).unlink(missing_ok=True)


@contextmanager
def recording_failure(run: Path, log_file: str) -> Iterator[None]:
    """Remove the record of an earlier failure; when the block ends with an error, record it and its traceback.

    A run that is stopped or interrupted by the keyboard has not failed.

    Args:
        run: the run's directory.
        log_file: name of the file in it to which a traceback is appended.
    """
    (run / FAILURE_FILE).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        reason = str(error) if isinstance(error, XlingError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):  # a full or read-only disk may be the reason, and is what the user must hear of
            write_failure(run, reason)
            with (run / log_file).open("a", encoding="utf-8") as file:
                file.write(traceback.format_exc())
        raise


def is_locked(run: Path) -> bool:
    """Whether a live process holds the lock of the directory `run`; see :func:`xling.storage.locks.is_held`."""
    return is_held(run / LOCK_FILE)


def _read(path: Path, kind: type) -> Any:
    if not path.is_file():
        return None
    try:
        return kind(**read_json(path))
    except (TypeError, AttributeError) as error:
        raise CorruptArtefactError(f"{path} does not hold the fields of a {kind.__name__}; delete it") from error


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
