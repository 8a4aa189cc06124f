"""Tries run directories and model folders that want code executed; each must be refused with a sentence, and nothing may run."""

import json
import pickle
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from faults.local import compose_local, run_of, save_model, start, write_data
from faults.report import Fault
from faults.sweeps import Forked
from xling.distances import representation_distances, vocabulary_overlap_distances
from xling.errors import XlingError
from xling.runs.directory import CONFIG_FILE, MANIFEST_FILE
from xling.runs.study import load_study
from xling.storage.hashing import file_sha256

MARK = "EXECUTED"


class Bait:
    """Leaves a file when it is made or called, which shows that code was executed."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        Path(MARK).write_text("executed")


class Pickled:
    """Becomes a :class:`Bait` when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Bait, ()


_BAIT = {"_target_": "faults.hostile.Bait"}
SETTINGS: dict[str, Any] = {
    "data.source": {"_target_": "pandas.read_pickle", "filepath_or_buffer": "evil.pkl"},
    "data.source._target_": "faults.hostile.Bait",
    "data.source.reader": _BAIT,
    "data.source.parts": {"deep": [{"deeper": _BAIT}]},
    "data.source.root": {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": [MARK]}]},
    "data.task._target_": "faults.hostile:Bait",
    "data.task.labels": {"_target_": "xling.storage.atomic.write_text", "path": MARK, "text": ""},
    "trainer._target_": "faults.hostile.Bait",
    "trainer.profiler": _BAIT,
    "trainer.strategy": _BAIT,
    "freeze.strategy": "faults.hostile:Bait",
    "probe.pooling": "faults.hostile:Bait",
    "model.pooling": "faults.hostile:Bait",
    "probe.similarity": ["faults.hostile:Bait"],
    "optimizer.schedule": "${oc.env:HOME}",
}

DISTANCES = (vocabulary_overlap_distances, representation_distances)
"""The distances that are measured with the encoder of a run."""


def _remote_code(folder: Path) -> None:
    (folder / "evil.py").write_text(
        f"from pathlib import Path\nPath({MARK!r}).touch()\nclass Model: pass\nclass Config: pass\n"
    )
    _add(folder / "config.json", auto_map={"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}, model_type="evil")


def _remote_tokenizer(folder: Path) -> None:
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({MARK!r}).touch()\nclass Model: pass\n")
    _add(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["evil.Model", "evil.Model"]},
        tokenizer_class="Evil",
    )
    (folder / "tokenizer.json").unlink(missing_ok=True)


def _pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings": Pickled()}, folder / "pytorch_model.bin")


MODELS = {
    "kernels": lambda folder: _add(folder / "config.json", _attn_implementation="kernels-community/flash-attn"),
    "kernels of a part": lambda folder: _add(
        folder / "config.json", text_config={"attn_implementation": "evil/kernel:attn"}
    ),
    "remote code": _remote_code,
    "remote code of a tokenizer": _remote_tokenizer,
    "pickled weights": _pickled_weights,
    "pickle under a safe name": lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps(Pickled())),
}


def _add(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def try_all(root: Path) -> Fault:
    """Restore, compute measured distances and read the study of every hostile run; train on every hostile model."""
    whole = root / "whole"
    whole.mkdir(parents=True)
    save_model(whole / "model", 1)
    write_data(whole / "data", "fine")
    if start(whole, settings := compose_local(whole, "trainer.max_epochs=1")).wait():
        return Fault("hostile run directories and models", 0, ["the harmless run fails"])
    shutil.copytree(whole, root / "kept")
    found, n_executed = [], 0
    cases = [(name, partial(_alter, name=name, value=value)) for name, value in SETTINGS.items()]
    cases += [("checkpoint", lambda run: torch.save({"state_dict": Pickled()}, run / "checkpoints" / "last.ckpt"))]
    for name, harm in cases:
        shutil.rmtree(whole)
        shutil.copytree(root / "kept", whole)
        harm(run_of(settings).path)
        found += _use(root, partial(_use_run, run_of(settings).path, root / "results"), name)
    for name, harm in MODELS.items():
        shutil.rmtree(whole)
        shutil.copytree(root / "kept", whole)
        harm(whole / "model")
        changed = compose_local(whole, "trainer.max_epochs=1", "study=other")
        found += _use(root, partial(_train, changed), name)
    n_executed = sum("executed" in line for line in found)
    n_cases = len(cases) + len(MODELS)
    return Fault("hostile run directories and models", n_cases, found, f"code executed: {n_executed}")


def _alter(run: Path, *, name: str, value: Any) -> None:
    config = yaml.safe_load((run / CONFIG_FILE).read_text())
    *groups, last = name.split(".")
    node = config
    for group in groups:
        node = node[group]
    node[last] = value
    (run / CONFIG_FILE).write_text(yaml.safe_dump(config))
    manifest = json.loads((run / MANIFEST_FILE).read_text())
    manifest["files"][CONFIG_FILE] = file_sha256(run / CONFIG_FILE)
    (run / MANIFEST_FILE).write_text(json.dumps(manifest))


def _use(root: Path, work, name: str) -> list[str]:
    """List what was executed, and what did not end in a sentence."""
    child = Forked(root, work)
    status, text = child.wait(), child.messages()
    found = [f"{name}: executed"] if list(root.rglob(MARK)) or Path(MARK).exists() else []
    for mark in [*root.rglob(MARK), Path(MARK)]:
        mark.unlink(missing_ok=True)
    return found + ([] if status == 0 and "Traceback" not in text else [f"{name}: status {status}: {text[-400:]}"])


def _use_run(run: Path, results: Path) -> None:
    """Use a run in every way that reads one; each must end in a sentence, or read it without executing what it names."""
    from xling.commands.analyze import analyze
    from xling.commands.restore import main as restore

    restore([str(run), "--layers", "1"])
    readers = [partial(analyze, how, results, runs=run.parents[2]) for how in DISTANCES]
    for read in (partial(load_study, run), *readers):
        try:
            read()
        except XlingError as error:
            print(f"error: {error}")


def _train(settings) -> None:
    from xling.commands.train import train

    try:
        train(settings)
        print("trained")
    except XlingError as error:
        print(f"error: {error}")
