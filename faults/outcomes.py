"""Reads what a study computed, byte by byte, and tells how two studies differ."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import torch

from xling.runs.directory import CHECKPOINTS, CONFIG_FILE, RunDirectory
from xling.runs.state import is_locked

_OF_TIME = ("finished", "seconds", "train_seconds", "files")
_PLACES = ("output_dir", "cache_dir")


def read_outcome(study: Path) -> dict[str, str]:
    """Hash everything that a study's runs computed: tables, logs, weights and facts, without times and places."""
    found: dict[str, str] = {}
    for manifest in sorted(study.glob("*/*/seed_*/manifest.json")):
        run, name = manifest.parent, str(manifest.parent.relative_to(study))
        files = [*sorted(run.glob("*.parquet")), run / "data.json", run / "logs" / "metrics.csv"]
        for path in files:
            found[f"{name}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {key: value for key, value in json.loads(manifest.read_text()).items() if key not in _OF_TIME}
        found[f"{name}/manifest"] = json.dumps(facts, sort_keys=True)
        config = (run / CONFIG_FILE).read_text().splitlines()
        found[f"{name}/config"] = "\n".join(line for line in config if not line.startswith(_PLACES))
        found |= {f"{name}/weights": _weights(RunDirectory(run).checkpoint)}
    return found


def _weights(path: Path) -> str:
    digest = hashlib.sha256()
    for name, value in torch.load(path, weights_only=True)["state_dict"].items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def differences(study: Path, expected: dict[str, str]) -> list[str]:
    """List every difference of a study from an undisturbed one: values, doubled rows, files or locks left behind."""
    found = read_outcome(study)
    different = [name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)]
    return different + [problem for run in sorted(study.glob("*/*/seed_*")) for problem in _leftovers(run)]


def _leftovers(run: Path) -> list[str]:
    problems = [f"{run}: lock held"] if is_locked(run) else []
    problems += [f"{path}: left behind" for path in run.rglob(".incomplete-*")]
    problems += [f"{run / name}: left behind" for name in ("failed.json", "progress.json") if (run / name).exists()]
    problems += [f"{path}: left behind" for path in (run / CHECKPOINTS).glob("*") if path.name != "last.ckpt"]
    for table in run.glob("*.parquet"):
        frame = pd.read_parquet(table)
        keys = [column for column in ("target_language", "epoch", "step", "layer", "example_id") if column in frame]
        if frame.duplicated(keys).any() and table.name != "impact.parquet":
            problems.append(f"{table}: rows twice")
    return problems
