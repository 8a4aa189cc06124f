"""A run that goes on is one run: other weights, data or precision are refused, other versions and machines are recorded."""

import json
import shutil

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

import xling.commands.train
from faults.local import save_model, write_data
from xling.commands.train import train
from xling.errors import MissingFileError, XlingValueError
from xling.machine.description import code_commit, describe_environment, describe_machine, processor_model
from xling.runs.directory import DATA_FILE, ENVIRONMENT_FILE, RunDirectory
from xling.settings import RunSettings


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


class KillInSecondEpoch(pl.Callback):
    """Ends the work after the first validation and the checkpoint that follows it."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.current_epoch == 1:
            raise Killed


def compose_settings(*overrides: str) -> RunSettings:
    with initialize_config_module("xling.conf", version_base="1.3"):
        return RunSettings.from_plain(OmegaConf.to_container(compose("train", [*overrides]), resolve=True))


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """A run on a local model and local data that was killed in its second epoch; its settings, and its directory."""
    save_model(tmp_path / "model", seed=1)
    write_data(tmp_path / "data", "fine")
    settings = compose_settings(
        "data=text_files", f"data.root={tmp_path / 'data'}", "data.languages=[en,de]", "data.columns={text: text, label: label}",
        "model=encoder", "model.name=local", f"model.name_or_path={tmp_path / 'model'}", "model.pooling=mean", "study=test",
        "data.batch_size=8", "optimizer.learning_rate=1e-3", "trainer.max_epochs=2", "trainer.accelerator=cpu",
        "trainer.precision=32-true", f"output_dir={tmp_path}", f"cache_dir={tmp_path / 'cache'}", "checkpoint.every_n_steps=1",
    )  # fmt: skip
    with monkeypatch.context() as patch:
        build = xling.commands.train.build_trainer
        patch.setattr(
            xling.commands.train,
            "build_trainer",
            lambda s, callbacks, *a, **k: build(s, [*callbacks, KillInSecondEpoch()], *a, **k),
        )
        with pytest.raises(Killed):
            train(settings)
    run = RunDirectory.of(tmp_path, "test", "en", "none", 42)
    assert run.checkpoint.is_file()
    return settings, run


def records(run):
    return {name: (run.path / name).read_bytes() for name in (ENVIRONMENT_FILE, DATA_FILE)}


def test_the_same_model_and_data_go_on_and_leave_the_record_as_it_was(begun):
    settings, run = begun
    before = records(run)
    train(settings)
    assert records(run) == before


def test_other_weights_are_refused_and_the_record_stays(begun, tmp_path):
    settings, run = begun
    before = records(run)
    save_model(tmp_path / "model", seed=2)
    with pytest.raises(XlingValueError, match="the weights of the base model has changed since .* bring back what"):
        train(settings)
    assert records(run) == before
    save_model(tmp_path / "model", seed=1)
    train(settings)
    assert run.is_complete


@pytest.mark.parametrize("split", ["train.en", "test.de"])
def test_other_data_are_refused(begun, tmp_path, split):
    settings, run = begun
    before = records(run)
    file = tmp_path / "data" / f"{split}.tsv"
    file.write_text(file.read_text().replace("fine", "else"))
    with pytest.raises(XlingValueError, match="the data set .* has changed since .* was begun"):
        train(settings)
    assert records(run) == before


def test_another_tokenizer_is_refused(begun, tmp_path):
    settings, _ = begun
    file = tmp_path / "model" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["truncation"] = None
    vocabulary = tokenizer["model"]["vocab"]
    names = list(vocabulary) if isinstance(vocabulary, dict) else [name for name, _ in vocabulary]
    if isinstance(vocabulary, dict):
        first, second = names[-1], names[-2]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(XlingValueError, match="the data set .* has changed"):
        train(settings)


def test_another_precision_is_refused(begun):
    settings, _ = begun
    with pytest.raises(XlingValueError, match=r"holds a run with trainer\.precision=32-true, now"):
        train(settings.changed(trainer={"precision": "bf16-mixed"}))


@pytest.mark.parametrize("fact", [("packages", "torch"), ("machine", "processor_model"), ("python",), ("commit",)])
def test_other_versions_and_machines_are_warned_of_and_recorded(begun, fact, caplog):
    settings, run = begun
    file = run.path / ENVIRONMENT_FILE
    environment = json.loads(file.read_text())
    node = environment
    for name in fact[:-1]:
        node = node[name]
    now, node[fact[-1]] = node[fact[-1]], "another"
    file.write_text(json.dumps(environment))
    train(settings)
    assert "going on with other versions or another machine" in caplog.text
    after = json.loads(file.read_text())
    (start,) = after.pop("resumed")
    assert start["changed"] == {".".join(fact): ["another", now]}
    assert after == environment


def test_a_record_that_lacks_what_is_recorded_today_is_not_different(begun):
    settings, run = begun
    file = run.path / ENVIRONMENT_FILE
    environment = json.loads(file.read_text())
    older = {name: value for name, value in environment.items() if name not in ("machine", "commit")}
    file.write_text(json.dumps(older))
    train(settings)
    assert json.loads(file.read_text()) == older


@pytest.mark.parametrize("name", [ENVIRONMENT_FILE, DATA_FILE])
def test_a_checkpoint_without_its_record_is_refused(begun, name):
    settings, run = begun
    (run.path / name).unlink()
    with pytest.raises(MissingFileError, match=f"expected .*{name} beside the checkpoint"):
        train(settings)


def test_a_run_without_a_checkpoint_begins_anew_with_a_record_of_its_own(begun, tmp_path):
    settings, run = begun
    before = records(run)
    shutil.rmtree(run.checkpoint.parent)
    save_model(tmp_path / "model", seed=2)
    train(settings)
    assert run.is_complete
    assert records(run)[ENVIRONMENT_FILE] != before[ENVIRONMENT_FILE]


def test_a_run_moved_to_another_place_says_where_it_was(begun, tmp_path):
    settings, run = begun
    train(settings.changed(cache_dir=tmp_path / "other_cache"))
    (start,) = json.loads((run.path / ENVIRONMENT_FILE).read_text())["resumed"]
    assert list(start["changed"]) == ["settings.cache_dir"]


def test_a_record_names_processor_threads_and_commit(tmp_path):
    environment = describe_environment()
    assert environment["commit"] == code_commit()
    machine = describe_machine()
    assert machine["n_threads"] == torch.get_num_threads()
    assert machine["processor_model"]
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: A Processor v2\nmodel name\t: B\n")
    assert processor_model(cpuinfo) == "A Processor v2"
    assert isinstance(processor_model(tmp_path / "none"), str)


def test_the_commit_of_code_is_that_of_its_checkout_and_says_when_it_was_changed(tmp_path):
    import subprocess

    def git(*words):
        identity = ("-c", "user.name=x", "-c", "user.email=x@y")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "one")
    commit = code_commit(tmp_path)
    assert len(commit) == 40
    (tmp_path / "a.py").write_text("2")
    assert code_commit(tmp_path) == f"{commit}-dirty"
