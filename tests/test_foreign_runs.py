"""A run directory from somebody else is read and measured without executing what its configuration names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import xling
from xling.commands.analyze import analyze
from xling.commands.restore import main as restore
from xling.commands.train import train
from xling.distances import representation_distances, vocabulary_overlap_distances
from xling.errors import CorruptArtefactError, XlingValueError
from xling.runs.directory import CONFIG_FILE, MANIFEST_FILE, read_settings, read_settings_to_build
from xling.runs.targets import OWN, TRUSTED, check_targets, is_known
from xling.settings import RunSettings
from xling.storage.hashing import file_sha256

ROOT = Path(__file__).parents[1]


class Bait:
    """Leaves a file where it is made, called or used; imported by its path, as a foreign configuration would name it."""

    def __init__(self, *arguments, **named):
        Path(named.get("file", "EXECUTED")).write_text("executed")


HOSTILE = {  # setting -> value
    "data.source": {"_target_": "pandas.read_pickle", "filepath_or_buffer": "evil.pkl"},
    "data.source._target_": "os.system",
    "data.source.n_premises": {"_target_": "test_foreign_runs.Bait"},
    "data.source.language_dir": [{"deep": {"_target_": "subprocess.run", "args": ["touch", "EXECUTED"]}}],
    "data.task._target_": "test_foreign_runs:Bait",
    "data.task.labels": {"_target_": "xling.storage.atomic.write_text", "path": "EXECUTED", "text": ""},
    "trainer._target_": "xling.storage.atomic.shutil.rmtree",
    "trainer.profiler": {"_target_": "test_foreign_runs.Bait"},
    "trainer.strategy": {"_target_": "test_foreign_runs.Bait"},
    "freeze.strategy": "test_foreign_runs:Bait",
    "probe.pooling": "test_foreign_runs:Bait",
    "model.pooling": "test_foreign_runs:Bait",
    "probe.similarity": ["test_foreign_runs:Bait"],
    "probe.uncertainty": ["test_foreign_runs:Bait"],
    "model.name_or_path": "${oc.env:HOME}",
}


@pytest.fixture
def run(make_config, monkeypatch, tmp_path):
    """A complete run, in whose folder the process stands."""
    monkeypatch.chdir(tmp_path)
    return train(make_config("trainer.max_epochs=1")).path


def alter(run: Path, setting: str, value) -> None:
    """Change one setting of a recorded configuration, and the manifest so that it goes with it."""
    config = yaml.safe_load((run / CONFIG_FILE).read_text())
    *groups, name = setting.split(".")
    node = config
    for group in groups:
        node = node[group]
    node[name] = value
    (run / CONFIG_FILE).write_text(yaml.safe_dump(config))
    manifest = json.loads((run / MANIFEST_FILE).read_text())
    manifest["files"][CONFIG_FILE] = file_sha256(run / CONFIG_FILE)
    (run / MANIFEST_FILE).write_text(json.dumps(manifest))


@pytest.mark.parametrize("setting", HOSTILE)
def test_what_a_foreign_configuration_names_is_not_executed(run, setting, capsys, tmp_path):
    alter(run, setting, HOSTILE[setting])
    assert restore([str(run), "--layers", "1"]) == 1
    assert "error: " in capsys.readouterr().err
    for distances in (vocabulary_overlap_distances, representation_distances):
        with pytest.raises((XlingValueError, CorruptArtefactError, FileNotFoundError)):
            analyze(distances, tmp_path / "results", runs=run.parents[2])
    assert not list(tmp_path.rglob("EXECUTED"))


@pytest.mark.parametrize("setting", ["freeze.strategy", "data.source._target_", "probe.pooling"])
def test_a_foreign_configuration_is_read_without_importing_what_it_names(run, setting, tmp_path):
    (tmp_path / "bait_module.py").write_text("from pathlib import Path\nPath('EXECUTED').write_text('')\n")
    alter(run, setting, "bait_module.Bait" if setting.startswith("data") else "bait_module:Bait")
    code = f"import sys; sys.path.insert(0, '.'); import xling; print(len(xling.load_study({str(run)!r}).runs))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr
    assert not (tmp_path / "EXECUTED").exists()


def test_a_strategy_named_by_path_is_still_recognised(run):
    alter(run, "freeze", {"strategy": "some.where:Strategy", "k": 2})
    plan = read_settings(run).freeze
    assert (plan.name, plan.strategy, plan.options) == ("none", "some.where:Strategy", {"k": 2})
    assert len(xling.load_study(run).runs) == 1


def test_what_a_user_trusts_by_name_may_be_built(run, monkeypatch):
    alter(run, "data.source._target_", "mine.Source")
    with pytest.raises(XlingValueError, match="if you trust it, set XLING_TRUSTED=mine.Source"):
        read_settings_to_build(run)
    monkeypatch.setenv(TRUSTED, "other:Thing, mine.Source")
    assert read_settings_to_build(run).data.source.target == "mine.Source"


def test_interpolations_are_refused_at_any_depth():
    with pytest.raises(XlingValueError, match=r"data\.source\.files=.*would be evaluated"):
        check_targets({"data": {"source": {"files": [["${oc.env:HOME}"]]}}}, Path("run"))


def test_a_name_that_begins_like_this_package_is_not_enough():
    assert not is_known("xling.storage.atomic.write_text")
    assert not is_known("xling.storage.atomic.shutil.rmtree")
    assert not is_known("xling.registry:importlib.import_module")


def test_every_target_that_this_package_writes_into_a_configuration_is_known():
    found = set()
    for folder in ("data", "trainer"):
        for path in (ROOT / "conf" / folder).glob("*.yaml"):
            found |= {line.split(":", 1)[1].strip() for line in path.read_text().splitlines() if "_target_:" in line}
    assert found <= OWN
    assert len(found) > 10


def test_the_trainer_is_always_lightnings(make_config):
    from xling.training.trainer import build_trainer

    settings: RunSettings = make_config("trainer._target_=os.system")
    assert type(build_trainer(settings, [], settings.output_dir)).__name__ == "Trainer"
