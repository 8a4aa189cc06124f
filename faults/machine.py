"""Disturbs sweeps by the machine: a full or read-only disk, too little memory, a loss that is no number, a clock that jumps."""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.outcomes import differences, read_outcome
from faults.report import Fault
from faults.sweeps import ONE_RUN, Study

_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def full_disk(root: Path, expected: dict[str, str]) -> Fault:
    """Run a sweep on a disk that is too small for it, and again with more space."""
    with small_disk(root / "small", "2m") as mounted:
        if not mounted:
            return Fault("disk full", 0, note="skipped: mounting needs root")
        study = Study(root / "small")
        child, log = _with_messages(study, root)
        status = child.wait()
        found = _one_sentence_a_run(log, status, "no space is left|No space left")
        subprocess.run(["mount", "-o", "remount,size=500m", study.root], check=True)
        return Fault("disk full", 1, found + _finish(study, expected, root), "tmpfs of 2 MB, then enlarged")


def read_only(root: Path, expected: dict[str, str]) -> Fault:
    """Run half a study, make its disk read-only, start it again, and once more when the disk is writable."""
    with small_disk(root / "ro", "500m") as mounted:
        if not mounted:
            return Fault("read-only directory", 0, note="skipped: mounting needs root")
        study = Study(root / "ro")
        child, _ = _with_messages(study, root)
        while len(list(study.folder.glob("*/*/*/manifest.json"))) < 1 and child.wait(0.05) is None:
            pass
        child.kill()
        subprocess.run(["mount", "-o", "remount,ro", study.root], check=True)
        child, log = _with_messages(study, root)
        found = _one_sentence_a_run(log, child.wait(), "Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw", study.root], check=True)
        return Fault("read-only directory", 1, found + _finish(study, expected, root), "tmpfs remounted")


def diverge(root: Path) -> Fault:
    """Run a sweep of two learning rates, at one of which the loss becomes NaN."""
    study = Study(root / "nan", ("optimizer.learning_rate=1e30,1e-3", "'study=lr_${optimizer.learning_rate}'"[1:-1]))
    study.name = "lr_${optimizer.learning_rate}"
    child = study.start()
    status, text = child.wait(), child.messages()
    found = [] if status == 1 else [f"exit status {status}"]
    found += [] if text.count("error: expected a finite training loss, found") == 1 else [text[-400:]]
    runs = {run.parts[-4]: run for run in study.output_dir.glob("*/*/*/seed_*")}
    done = sorted(name for name, run in runs.items() if (run / "manifest.json").is_file())
    failed = sorted(name for name, run in runs.items() if (run / "failed.json").is_file())
    found += [] if (len(done), len(failed)) == (1, 1) and done != failed else [f"complete {done}, failed {failed}"]
    return Fault("NaN loss", 1, found, "that run fails with one sentence, the sweep goes on, status 1")


def out_of_memory(root: Path) -> Fault:
    """Train with batches of 3,000 examples under a limit of memory (RLIMIT_AS), and again without the limit."""
    size = ("data.source.n_premises={train: 1000, probe: 8}", "data.batch_size=3000", "trainer.max_epochs=1")
    study, free = (Study(root / name, (*ONE_RUN, *size)) for name in ("memory", "memory_free"))
    if free.start().wait():
        return Fault("out of memory", 0, ["the run fails without a limit"])
    child = study.start(before=lambda: _limit_memory(600))
    status, text = child.wait(), child.messages()
    found = [] if status == 1 else [f"exit status {status}"]
    found += [] if text.count("error: the memory of this machine does not suffice; halve") == 1 else [text[-400:]]
    return Fault("out of memory", 1, found + _finish(study, read_outcome(free.folder), root), "RLIMIT_AS, then none")


def jumping_clock(root: Path, expected: dict[str, str]) -> Fault:
    """Run a sweep while the wall clock jumps by days, back and forth, twice a second."""
    if not _FAKETIME:
        return Fault("jumping clock", 0, note="skipped: libfaketime is not installed")
    study, clock = Study(root / "clock", ONE_RUN), root / "offset"
    clock.write_text("+0")
    fake = {"LD_PRELOAD": str(_FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}  # fmt: skip
    process, jumps = study.command(fake), 0
    while process.poll() is None:
        jumps += 1
        clock.write_text(f"{'-' if jumps % 2 else '+'}{jumps * 7 % 60}d")
        time.sleep(0.5)
    found = [f"exit status {process.returncode}: {process.stderr.read()[-300:]}"] if process.returncode else []
    of_run = {name: value for name, value in expected.items() if name.startswith("en/none/seed_1")}
    return Fault(
        "jumping clock", jumps, found + differences(study.folder, of_run), "libfaketime, up to 60 days either way"
    )


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """Mount a file system of `size` in memory on the new `folder` within the block; give whether that was possible."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def _with_messages(study: Study, root: Path) -> tuple:
    """Start a sweep whose messages do not lie on its own disk."""
    place, study.root = study.root, root / "messages"
    study.root.mkdir(exist_ok=True)
    child = study.start()
    study.root = place
    return child, child.messages_file


def _one_sentence_a_run(log: Path, status: int, phrase: str) -> list[str]:
    text = log.read_text(errors="replace")
    problems = [] if status == 1 else [f"exit status {status}"]
    sentences = [line for line in text.splitlines() if "error: " in line]
    if not sentences or not all(any(p in line for p in phrase.split("|")) for line in sentences):
        problems.append(f"expected sentences with {phrase!r}, found {sentences[:2] or text[-400:]}")
    return problems + (["a traceback"] if "Traceback" in text else [])


def _limit_memory(megabytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _finish(study: Study, expected: dict[str, str], root: Path) -> list[str]:
    child, log = _with_messages(study, root)
    status = child.wait()
    problems = [f"exit status {status}: {log.read_text()[-300:]}"] if status else []
    found = problems + differences(study.folder, expected)
    shutil.rmtree(study.output_dir, ignore_errors=True)
    return found
