"""Exchanges weights, data, versions or settings between two starts of a run, or between two runs of a study."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from faults.local import compose_local, run_of, save_model, start, write_data
from faults.outcomes import differences, read_outcome
from faults.report import Fault
from xling.analysis.inputs.gather import gather_studies
from xling.errors import XlingError
from xling.runs.directory import CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, MANIFEST_FILE
from xling.storage.hashing import file_sha256


def _swap_word(folder: Path, name: str) -> None:
    path = folder / "data" / name
    path.write_text(path.read_text().replace("fine", "else"))


def _swap_tokenizer(folder: Path) -> None:
    path = folder / "model" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"] = [*tokenizer["added_tokens"]]
    vocabulary = tokenizer["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(tokenizer))


def _other_version(folder: Path) -> None:
    (path,) = folder.glob(f"runs/*/*/*/*/{ENVIRONMENT_FILE}")
    environment = json.loads(path.read_text())
    environment["packages"]["torch"] = "2.0.0"
    path.write_text(json.dumps(environment))


EXCHANGES: dict[
    str, tuple[Callable[[Path], None], tuple[str, ...], str]
] = {  # what -> (exchange, overrides, what is said)
    "weights": (lambda folder: save_model(folder / "model", 2), (), "the weights of the base model has changed"),
    "training data": (lambda folder: _swap_word(folder, "train.en.tsv"), (), "the data set train"),
    "probe data": (lambda folder: _swap_word(folder, "test.de.tsv"), (), "the data set probe.de"),
    "tokenizer": (_swap_tokenizer, (), "the data set"),
    "learning rate": (lambda folder: None, ("optimizer.learning_rate=2e-3",), "optimizer.learning_rate=0.001, now"),
    "precision": (lambda folder: None, ("trainer.precision=bf16-mixed",), "trainer.precision=32-true, now"),
    "record deleted": (
        lambda folder: next(folder.glob(f"runs/*/*/*/*/{DATA_FILE}")).unlink(),
        (),
        "beside the checkpoint",
    ),
    "versions": (_other_version, (), ""),
}


def exchange_all(root: Path) -> Fault:
    """Kill a run after its first validation, exchange something, type the command again."""
    begun = root / "begun"
    begun.mkdir()
    save_model(begun / "model", 1)
    write_data(begun / "data", "fine")
    settings = compose_local(begun)
    child, run = start(begun, settings), run_of(settings)
    while not ((run.path / "impact.parquet").is_file() and run.checkpoint.is_file()) and child.wait(0) is None:
        time.sleep(0.001)
    child.kill()
    found = []
    if run.is_complete:
        return Fault("resume after an exchange", 0, ["the run ended before it could be killed"])
    shutil.copytree(begun, root / "kept")
    if start(begun, settings).wait():
        return Fault("resume after an exchange", 0, ["an undisturbed resume fails"])
    expected = read_outcome(run.path.parents[2])
    for what, (exchange, overrides, phrase) in EXCHANGES.items():
        shutil.rmtree(begun)
        shutil.copytree(root / "kept", begun)
        exchange(begun)
        records = [run.path / name for name in (ENVIRONMENT_FILE, DATA_FILE, CONFIG_FILE)]
        kept = {path: path.read_bytes() for path in records if path.is_file()}
        child = start(begun, compose_local(begun, *overrides))
        status, text = child.wait(), child.messages()
        if phrase:
            found += [] if status == 1 and phrase in text else [f"{what}: status {status}, {text[-300:]}"]
            found += [f"{what}: {path} overwritten" for path in kept if path.read_bytes() != kept[path]]
        else:
            found += [] if status == 0 and "other versions" in text else [f"{what}: status {status}, {text[-300:]}"]
            found += [f"{what}: {d}" for d in differences(run.path.parents[2], expected)]
    return Fault("resume after an exchange", len(EXCHANGES), found, ", ".join(EXCHANGES))


MIXED = {  # what the analysis must name -> overrides of the second run
    "optimizer.learning_rate": ("optimizer.learning_rate=2e-3",),
    "trainer.precision": ("trainer.precision=bf16-mixed",),
    "model.content_hash": (),
    "data.max_length": ("data.max_length=24",),
    "data.probe_limit": ("data.probe_limit=10",),
    "data.probe.de": (),
    "versions.torch": (),
    "probe.pooling": ("probe.pooling=cls",),
}


def mix_all(root: Path) -> Fault:
    """Make two runs of a study that differ in one thing; the analysis must name it, and go on where it is allowed."""
    found = []
    for number, (name, overrides) in enumerate(MIXED.items()):
        folder = root / f"mixed_{number}"
        folder.mkdir()
        save_model(folder / "model", 1)
        write_data(folder / "data", "fine")
        statuses = [start(folder, compose_local(folder, "trainer.max_epochs=1")).wait()]
        if name == "model.content_hash":
            save_model(folder / "model", 2)
        if name == "data.probe.de":
            _swap_word(folder, "test.de.tsv")
        second = compose_local(folder, "trainer.max_epochs=1", "source_language=de", *overrides)
        statuses.append(start(folder, second).wait())
        if name == "versions.torch":
            _with_version(run_of(second).path)
        found += [] if statuses == [0, 0] else [f"{name}: training ended with {statuses}"]
        found += _judge(folder / "runs" / "local", name)
        shutil.rmtree(folder)
    return Fault("study of two designs", len(MIXED), found, ", ".join(MIXED))


def _judge(study: Path, name: str) -> list[str]:
    try:
        gather_studies([study])
    except XlingError as error:
        if name not in str(error) or "allow_mixed=[" not in str(error):
            return [f"{name}: {error}"]
        allowed = str(error).partition("allow_mixed=[")[2].partition("]")[0].split(",")
        studies, _ = gather_studies([study], allowed)
        said = next(iter(studies.values())).mixed
        return [] if any(name in sentence for sentence in said) else [f"{name}: allowed and not said: {said}"]
    return [f"{name}: pooled without a word"]


def _with_version(run: Path) -> None:
    _other_version_of(run / ENVIRONMENT_FILE)
    manifest = json.loads((run / MANIFEST_FILE).read_text())
    manifest["files"][ENVIRONMENT_FILE] = file_sha256(run / ENVIRONMENT_FILE)
    (run / MANIFEST_FILE).write_text(json.dumps(manifest))


def _other_version_of(path: Path) -> None:
    environment = json.loads(path.read_text())
    environment["packages"]["torch"] = "2.0.0"
    path.write_text(json.dumps(environment))
