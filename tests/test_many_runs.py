"""Fast ways of reading many runs give what the plain ways give."""

import shutil
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode

from benchmarks.made_up_study import write_study
from xling.commands.start import train
from xling.errors import XlingError
from xling.runs.below import concat_tables
from xling.runs.directory import read_settings
from xling.runs.finding import find_runs
from xling.runs.study import load_study
from xling.runs.tables import IMPACT_FILE, TRANSFER_FILE
from xling.storage.yaml_text import parse_yaml
from xling.sweeps.composing import SweepComposer
from xling.sweeps.expand import settings_of_job
from xling.sweeps.finished import all_finished


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    options = {
        "sources": ["en", "sw"],
        "targets": ["en", "sw", "de"],
        "strategies": ["none", "bottom_2"],
        "seeds": [1, 2],
    }
    return write_study(tmp_path_factory.mktemp("runs"), **options)


@pytest.mark.parametrize(("table", "file"), [("impact", IMPACT_FILE), ("transfer", TRANSFER_FILE)])
def test_tables_of_a_study_are_those_of_its_runs_one_below_the_other(study, table, file):
    loaded = load_study(study)
    assert loaded.skipped == []
    expected = pd.concat([pd.read_parquet(run / file) for run in find_runs(study)[0]], ignore_index=True)
    pd.testing.assert_frame_equal(getattr(loaded, table), expected)


def frames():
    plain = pd.DataFrame({"name": ["a", "b"], "n": [1, 2], "x": [0.5, None], "is_so": [True, False]})
    yield "alike", [plain, plain.assign(n=3), plain]
    yield "one alone", [plain]
    yield "a column more", [plain, plain.assign(more=[1, 2]), plain]
    yield "a column less", [plain, plain.drop(columns="x"), plain]
    yield "another type", [plain, plain.assign(n=[1.5, 2.5]), plain]
    yield "empty ones", [plain.head(0), plain, plain.head(0), plain]
    yield "all empty", [plain.head(0), plain.head(0)]
    categories = plain.assign(name=plain["name"].astype("category"))
    yield "categories", [categories, categories.assign(name=pd.Categorical(["c", "d"]))]
    yield "nothing but missing text", [plain.assign(name=None), plain]


@pytest.mark.parametrize("tables", [pytest.param(tables, id=name) for name, tables in frames()])
def test_arrow_tables_below_each_other_are_what_pandas_makes_of_them(tables):
    arrow = [pa.Table.from_pandas(table, preserve_index=False) for table in tables]
    read = [table.to_pandas() for table in arrow]
    filled = [table for table in read if len(table)]
    expected = pd.concat(filled, ignore_index=True) if filled else read[0]
    pd.testing.assert_frame_equal(concat_tables(arrow), expected)
    mixed = [table if index % 2 else read[index] for index, table in enumerate(arrow)]
    pd.testing.assert_frame_equal(concat_tables(mixed), expected)


def test_yaml_is_read_as_its_python_reader_does(study):
    texts = [(run / "config.yaml").read_text(encoding="utf-8") for run in find_runs(study)[0]]
    odd = [
        "",
        "a: 1e5",
        "no: yes",
        "[1, {b: 2.0}]",
        "a: |\n  x\n  y\n",
        "x: ~\n# c\n",
        "день: 'ü'",
        "- 2026-11-28\n- 0o7\n- 010",
    ]
    for text in [*texts, *odd]:
        assert parse_yaml(text) == yaml.load(text, Loader=yaml.SafeLoader)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000])
def test_yaml_of_endless_depth_is_an_error_and_no_crash(text):
    lines = ["from xling.storage.yaml_text import parse_yaml", f"try: parse_yaml({text[:4]!r} * 100_000)"]
    code = "\n".join([*lines, "except RecursionError: print('refused')"])
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "refused\n"


def test_yaml_that_names_a_class_is_refused():
    with pytest.raises(yaml.YAMLError):
        parse_yaml("!!python/object/apply:os.getcwd []")


def test_who_uses_the_cache_is_found_without_torch(study):
    code = (
        "import sys; from pathlib import Path; from xling.runs.cache_users import find_users\n"
        "print(len(find_users(Path(sys.argv[1]), Path('/cache'))), sorted({'torch', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(study)], capture_output=True, text=True, check=True)
    n_base, n_data, n_models = 1, 5, 1
    assert done.stdout.split(" ", 1) == [str(n_base + n_data + n_models), "[]\n"]


def composed_by_hydra(overrides, jobs):
    """Settings of each job by Hydra's own way, and by ours."""
    with initialize_config_module("xling.conf", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", overrides, RunMode.MULTIRUN)
        composer = SweepComposer(loader, config)
        jobs = [[*overrides, *job] for job in jobs]
        slow = [settings_of_job(loader.load_sweep_config(config, job)) for job in jobs]
        return slow, [settings_of_job(composer.compose(job)) for job in jobs], composer


@pytest.mark.parametrize(
    ("overrides", "jobs", "n_composed"),
    [
        ([], [["seed=1"], ["seed=2", "source_language=de"], ["source_language=no"]], 1),
        (
            ["trainer.max_epochs=1", "model=tiny_bert"],
            [["freeze=none"], ["freeze=top_k"], ["freeze=top_k", "freeze.k=1"]],
            2,
        ),
        (
            [],
            [["target_languages=[en,sw]"], ["data.languages=[de]"], ["data.source.n_premises={train: 20, probe: 8}"]],
            1,
        ),
        ([], [["+optimizer.named=1"], ["~data.languages"], ["++seed=3"], ["seed=1", "seed=2"]], 1),
        (["experiment=paper"], [["seed=1"], ["model=e5_small", "seed=2"], ["data=mini_nli"]], 3),
        ([], [["study='${source_language}_${model.name}'"], ["output_dir='${study}/x'", "study=y"]], 1),
        (["study='${hydra:job.override_dirname}'"], [["seed=1"], ["seed=2"]], None),
        (["study='${hydra:runtime.choices.model}'"], [["model=tiny_bert"], ["model=e5_small"]], 2),
    ],
    ids=lambda value: "",
)
def test_jobs_are_composed_as_hydra_composes_them(overrides, jobs, n_composed):
    def settled(job):
        try:
            return composed_by_hydra(overrides, [job])
        except (HydraException, XlingError) as error:
            return type(error), str(error)

    good = [job for job in jobs if isinstance(settled(job)[0], list)]
    assert len(good) >= len(jobs) - 2
    slow, fast, composer = composed_by_hydra(overrides, good)
    assert fast == slow
    if n_composed is not None:
        assert sum(base is not None for base in composer.bases.values()) == n_composed


@pytest.mark.parametrize("wrong", ["sead=1", "freeze=nothing", "trainer.max_epoch=2", "+seed=1", "~sead"])
def test_a_job_that_hydra_refuses_is_refused_in_its_words(wrong):
    with initialize_config_module("xling.conf", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", [], RunMode.MULTIRUN)
        with pytest.raises(HydraException) as expected:
            loader.load_sweep_config(config, [wrong])
        with pytest.raises(HydraException) as found:
            SweepComposer(loader, config).compose([wrong])
    assert str(found.value) == str(expected.value)


def type_again(study, monkeypatch, *more):
    command = ["model=tiny_bert", "study=made_up", f"output_dir={study.parent}", "target_languages=[en,sw,de]"]
    sweep = ["source_language=en,sw", "seed=1,2", "freeze=bottom_k", "freeze.k=2"]
    monkeypatch.setattr("sys.argv", ["xling-train", "-m", *command, *sweep, *more])
    with pytest.raises(SystemExit) as ended:
        train()
    return ended.value.code


@pytest.fixture
def no_job(monkeypatch):
    """A job that starts ends the test: composing it again is what re-typing must not do."""
    monkeypatch.setattr("xling.sweeps.job._check_mode", lambda: pytest.fail("a job was started"))


def test_a_finished_sweep_typed_again_says_so_before_any_job(study, monkeypatch, capsys, no_job):
    monkeypatch.chdir(study.parent)
    assert type_again(study, monkeypatch) == 0
    assert "all 4 runs are complete; nothing to do" in capsys.readouterr().err


def wanted(study, **changes):
    settings = [read_settings(run) for run in find_runs(study)[0]]
    return [one.changed(**changes) for one in settings]


def test_a_sweep_is_finished_when_every_run_is_complete_and_of_these_settings(study, tmp_path):
    copy = tmp_path / "made_up"
    shutil.copytree(study, copy)
    assert all_finished(wanted(study, output_dir=tmp_path))
    assert all_finished(wanted(study, output_dir=tmp_path, trainer={"precision": "auto"}))  # whatever this machine has
    assert not all_finished(wanted(study, output_dir=tmp_path, seed=3))
    assert not all_finished(wanted(study, output_dir=tmp_path, optimizer={"learning_rate": 1.0}))
    run = find_runs(copy)[0][-1]
    (run / TRANSFER_FILE).write_bytes(b"changed")
    assert not all_finished(wanted(study, output_dir=tmp_path))
