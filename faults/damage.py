"""Truncated and bit-flipped files of every kind: the restart gives the same tables, or one sentence whose remedy works."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from faults.outcomes import differences
from faults.report import Fault
from faults.sweeps import ONE_RUN, Study

RUN = "en/none/seed_1"
KINDS = {  # kind -> (pattern below the study's root, is the run complete, what the sentence says to delete)
    "checkpoint": (f"runs/faults/{RUN}/checkpoints/last.ckpt", False, "file"),
    "base representation": ("cache/base/*/en-*.safetensors", False, "file"),
    "tokenised rows": ("cache/tokenised/*/rows/*.arrow", False, "above"),
    "tokenised facts": ("cache/tokenised/*/facts.json", False, "folder"),
    "table of an interrupted run": (f"runs/faults/{RUN}/impact.parquet", False, "file"),
    "log of an interrupted run": (f"runs/faults/{RUN}/logs/metrics.csv", False, "above"),
    "configuration": (f"runs/faults/{RUN}/config.yaml", False, "folder"),
    "progress": (f"runs/faults/{RUN}/progress.json", False, "file"),
    "table of a complete run": (f"runs/faults/{RUN}/impact.parquet", True, "folder"),
    "manifest": (f"runs/faults/{RUN}/manifest.json", True, "folder"),
}


def truncate(path: Path) -> None:
    """Keep the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_all(root: Path, expected: dict[str, str]) -> list[Fault]:
    """Every kind, truncated and flipped, in copies of a run interrupted in its second epoch and of a complete one."""
    expected = {name: value for name, value in expected.items() if name.startswith(RUN)}
    interrupted, complete = _prepare(root)
    return [
        _damage(root, complete if is_complete else interrupted, pattern, remedy, what, expected, kind)
        for kind, (pattern, is_complete, remedy) in KINDS.items()
        for what in (truncate, flip)
    ]


def _prepare(root: Path) -> tuple[Path, Path]:
    study = Study(root / "interrupted", ONE_RUN)
    child = study.start()
    table = study.folder / RUN / "impact.parquet"
    while not table.exists() and child.wait(0) is None:  # written after the first epoch
        time.sleep(0.001)
    child.wait(0.05)
    child.kill()
    whole = Study(root / "complete", ONE_RUN)
    if whole.start().wait():
        raise RuntimeError("the undisturbed run failed")
    return study.root, whole.root


def _damage(
    root: Path, source: Path, pattern: str, remedy: str, what: Callable[[Path], None], expected: dict, kind: str
) -> Fault:
    study = Study(root / "damaged", ONE_RUN)
    shutil.rmtree(study.root)
    shutil.copytree(source, study.root)
    path = sorted(study.root.glob(pattern))[0]
    what(path)
    child = study.start()
    status = child.wait()
    said = [line for line in child.messages().splitlines() if "error: " in line]
    note, found = "same tables", []
    if status:
        note = "one sentence, its remedy works"
        target = {"file": path, "folder": path.parent, "above": path.parent.parent}[remedy]
        if len(said) != 1 or str(target) not in said[0]:
            found.append(f"no single sentence that names {target}: {child.messages()[-400:]}")
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        status = study.start().wait()
    found += [f"exit status {status}"] if status else []
    return Fault(f"{kind}, {'truncated' if what is truncate else 'one bit flipped'}", 1,
                 found + differences(study.folder, expected), note)  # fmt: skip
