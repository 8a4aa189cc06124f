"""Disturbs analyses, fetches and prunings: two at once, kills, a full disk, runs that are deleted while they are read."""

import hashlib
import random
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

import pandas as pd

from faults.machine import small_disk
from faults.report import Fault
from faults.sweeps import Forked
from xling.analysis.inputs.measurements import Resampling, Settings
from xling.distances import compute_distances
from xling.errors import MissingFileError, XlingError
from xling.runs.study import load_study
from xling.settings import ObjectSettings
from xling.storage.cache import list_entries, remove_entry
from xling.storage.fetched import check_files, data_folder, read_record
from xling.storage.hashing import file_sha256
from xling.sweeps.fetching import fetch_data

LANGUAGES = ("en", "de", "fr", "ru", "sw", "zh")


def load_while_deleting(root: Path, study: Path, n_loads: int, seed: int = 0) -> Fault:
    """Load a study over and over while its runs and their files are deleted, cut and brought back."""
    expected = {path: len(rows) for path, rows in _rows(load_study(study)).items()}
    copy, moments, found, n_skipped = root / "deleted", random.Random(seed), [], 0
    for number in range(n_loads):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(study, copy)
        child = Forked(root, partial(_destroy, copy, seed + number))
        time.sleep(moments.uniform(0, 0.05))
        try:
            loaded = load_study(copy)
            n_skipped += len(loaded.skipped)
            _ = loaded.predictions
            found += [
                f"{path}: {len(rows)} rows" for path, rows in _rows(loaded).items() if len(rows) != expected[path]
            ]
        except MissingFileError:
            pass  # all of it had gone
        except Exception as error:
            found.append(f"load {number}: {type(error).__name__}: {error}")
        child.wait()
    return Fault("load while runs are deleted", n_loads, found, f"{n_skipped} runs skipped with a reason")


def _rows(study) -> dict[str, pd.DataFrame]:
    keys = ["source_language", "strategy", "seed"]
    return {str(key): rows for key, rows in study.impact.groupby(keys, observed=True)}


def _destroy(study: Path, seed: int) -> None:
    moments = random.Random(seed)
    for run in moments.sample(runs := sorted(study.glob("*/*/seed_*")), len(runs)):
        how = moments.randrange(3)
        files = sorted(path for path in run.glob("*") if path.is_file())
        if how == 0:
            shutil.rmtree(run, ignore_errors=True)
        else:
            path = moments.choice(files)
            path.unlink() if how == 1 else path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        time.sleep(moments.uniform(0, 0.02))


def write_scores(path: Path, n_sources: int) -> Path:
    """Write a table of made-up scores of some sources on all languages."""
    draws = random.Random(n_sources)
    rows = [(s, t, draws.uniform(0.4, 0.9)) for s in LANGUAGES[:n_sources] for t in LANGUAGES]
    pd.DataFrame(rows, columns=["source_language", "target_language", "accuracy"]).to_csv(path, index=False)
    return path


def start_analysis(root: Path, scores: Path, output: Path) -> Forked:
    """Analyse scores in a forked process; a user's error is one line and status 1."""

    def work() -> None:
        """Analyse in the forked process, which alone imports what an analysis needs."""
        from xling.commands.analyze import analyze

        distances = partial(compute_distances, ["genetic"])
        try:
            analyze(distances, output, transfer_csv=scores, settings=Settings(resampling=Resampling(20, 10)))
        except XlingError as error:
            print(f"error: {error}", flush=True)
            raise SystemExit(1) from None

    root.mkdir(exist_ok=True)
    return Forked(root, work)


def outcome(folder: Path) -> dict[str, str]:
    """Hash every file of an analysis."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".incomplete-" not in str(path))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name != ".lock"}


def _prepare(root: Path) -> tuple[list[Path], list[dict[str, str]], float]:
    """Write two tables of scores, and hash what an undisturbed analysis makes of each."""
    scores = [write_scores(root / f"scores_{n}.csv", n) for n in (5, 3)]
    expected, started = [], time.monotonic()
    for number, table in enumerate(scores):
        child = start_analysis(root / f"messages_{number}", table, root / f"undisturbed_{number}")
        if child.wait():
            raise RuntimeError(f"an undisturbed analysis failed: {child.messages()[-500:]}")
        expected.append(outcome(root / f"undisturbed_{number}"))
    return scores, expected, (time.monotonic() - started) / 2


def two_at_once(root: Path, n_times: int) -> Fault:
    """Run two analyses of different scores into one folder, which afterwards must hold one of them, whole."""
    root.mkdir()
    scores, expected, _ = _prepare(root)
    found, n_refused, output = [], 0, root / "output"
    for number in range(n_times):
        children = [start_analysis(root / f"messages_{i}", scores[(i + number) % 2], output) for i in range(2)]
        statuses = [child.wait() for child in children]
        n_refused += sum(statuses)
        text = "".join(child.messages() for child in children)
        found += (
            []
            if set(statuses) <= {0, 1} and 0 in statuses and "Traceback" not in text
            else [f"{statuses}: {text[-300:]}"]
        )
        found += [] if outcome(output) in expected else [f"time {number}: a mixture"]
    return Fault("two analyses at once", n_times, found, f"{n_refused} refused with a sentence")


def kill_analyses(root: Path, n_kills: int, seed: int = 0) -> Fault:
    """Kill an analysis at a random moment while it replaces another's output.

    The folder must never hold files of both, and the next analysis must be whole.
    """
    root.mkdir()
    scores, expected, seconds = _prepare(root)
    moments, found, output, n_hit = random.Random(seed), [], root / "output", 0
    for number in range(n_kills):
        which = number % 2
        child = start_analysis(root / "messages", scores[which], output)
        if child.wait(moments.uniform(0, seconds)) is None:
            child.kill()
            n_hit += 1
        there = outcome(output).items()
        if not any(there <= whole.items() for whole in expected):
            found.append(f"kill {number}: files of two analyses")
        if "report.html" in dict(there) and outcome(output) not in expected:
            found.append(f"kill {number}: a page without all its files")
    if start_analysis(root / "messages", scores[0], output).wait() or outcome(output) != expected[0]:
        found.append("the next analysis is not whole")
    return Fault("kill -9 in analyze", n_hit, found)


def full_disk(root: Path) -> Fault:
    """Write an analysis to a full disk, which must end in one sentence and leave the older output as it is."""
    root.mkdir()
    scores, expected, _ = _prepare(root)
    with small_disk(root / "small", "20m") as mounted:
        if not mounted:
            return Fault("disk full in analyze", 0, note="skipped: mounting needs root")
        output = root / "small" / "output"
        found = [] if start_analysis(root / "messages", scores[0], output).wait() == 0 else ["it fails with space"]
        subprocess.run(["mount", "-o", "remount,size=20m", str(root / "small")], check=True)
        free = shutil.disk_usage(root / "small").free
        (root / "small" / "filler").write_bytes(b"x" * max(0, free - 2**16))
        child = start_analysis(root / "messages", scores[1], output)
        status, text = child.wait(), child.messages()
        is_sentence = status == 1 and text.count("error: cannot write") == 1 and "Traceback" not in text
        found += [] if is_sentence else [f"status {status}: {text[-300:]}"]
        found += [] if outcome(output) == expected[0] else ["the older output is not what it was"]
        (root / "small" / "filler").unlink()
        found += (
            []
            if start_analysis(root / "messages", scores[1], output).wait() == 0
            else ["it fails when there is space again"]
        )
        found += [] if outcome(output) == expected[1] else ["the new output is not whole"]
    return Fault("disk full in analyze", 1, found, "tmpfs of 20 MB, filled")


class StandIn:
    """A source of examples in place of a hub's, which is not local and a little slow."""

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Give two examples."""
        time.sleep(0.002)
        return pd.DataFrame({"text": [language, split], "label": ["a", "b"]})


SOURCE = ObjectSettings("faults.analyses.StandIn")


def fetch_disturbed(root: Path, n_kills: int, seed: int = 0) -> list[Fault]:
    """Fetch 80 files by two processes at once, and under kills; afterwards every file must be recorded with its hash."""
    root.mkdir()
    wanted = [(f"l{number:02d}", "train") for number in range(80)]
    halves = [partial(fetch_data, SOURCE, part, root / "twice") for part in (wanted[:60], wanted[20:])]
    for number in range(2):
        (root / str(number)).mkdir()
    children = [Forked(root / str(number), half) for number, half in enumerate(halves)]
    found = [f"status {status}" for child in children if (status := child.wait())] + _unrecorded(root / "twice")
    twice = Fault("two fetches at once", 1, found, "80 files, 40 of them asked for by both")
    moments, n_hit, found = random.Random(seed), 0, []
    for number in range(n_kills):
        child = Forked(root, partial(fetch_data, SOURCE, wanted, root / f"killed_{number % 4}"))
        if child.wait(moments.uniform(0, 0.5)) is None:
            child.kill()
            n_hit += 1
        found += _unrecorded(root / f"killed_{number % 4}", n_files=None)
    for number in range(min(4, n_kills)):
        status = Forked(root, partial(fetch_data, SOURCE, wanted, root / f"killed_{number}")).wait()
        found += ([f"status {status}"] if status else []) + _unrecorded(root / f"killed_{number}")
    return [twice, Fault("kill -9 in fetch", n_hit, found)]


def _unrecorded(dest: Path, n_files: int | None = 80) -> list[str]:
    folder = data_folder(dest, SOURCE.to_plain())
    files = read_record(folder)["files"]
    check_files.__wrapped__(folder) if hasattr(check_files, "__wrapped__") else None
    wrong = [f"{name}: another hash" for name, digest in files.items() if file_sha256(folder / name) != digest]
    return wrong + ([] if n_files in (None, len(files)) else [f"{len(files)} of {n_files} files recorded"])


def kill_prune(root: Path, n_kills: int, seed: int = 0) -> Fault:
    """Kill a process that removes entries of a cache; each entry must be whole or gone, and the rest removable."""
    root.mkdir()
    moments, found, n_hit = random.Random(seed), [], 0
    for number in range(n_kills):
        cache = root / f"cache_{number}"
        for entry in range(30):
            folder = cache / "tokenised" / f"entry_{entry:02d}"
            folder.mkdir(parents=True)
            for file in range(20):
                (folder / str(file)).write_bytes(b"x" * 4096)
        child = Forked(root, partial(_prune, cache))
        if child.wait(moments.uniform(0, 0.08)) is None:
            child.kill()
            n_hit += 1
        halves = [p for p in (cache / "tokenised").glob("entry_*") if p.is_dir() and len(list(p.iterdir())) != 20]
        found += [f"{path}: half there" for path in halves]
        _prune(cache)
        left = [path for path in (cache / "tokenised").glob("entry_*") if path.suffix not in (".used", ".lock")]
        found += [f"{path}: not removed" for path in left]
        shutil.rmtree(cache)
    return Fault("kill -9 in prune", n_hit, found)


def _prune(cache: Path) -> None:
    for entry in list_entries(cache):
        if entry.kind != "incomplete":
            remove_entry(entry)
