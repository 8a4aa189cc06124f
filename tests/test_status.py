"""``xling-status``: what is done, running, failed, interrupted and missing, from files and locks alone."""

import json
import re

import pytest

from xling.commands.status import main
from xling.errors import CorruptArtefactError, MissingFileError
from xling.runs.directory import CONFIG_FILE, MANIFEST_FILE, RunDirectory
from xling.runs.planned_runs import PLAN_FILE, RunKey, read_plan, record_plan
from xling.runs.state import write_failure, write_progress
from xling.runs.status import find_studies, read_status, study_status


def make_run(study, key, *files):
    path = study / key.folder
    path.mkdir(parents=True)
    for name in files:
        (path / name).write_text("{}")
    return path


def states(study):
    return {(run.source_language, run.strategy, run.seed): run.state for run in study_status(study)}


def test_every_state_is_told_apart(tmp_path):
    keys = [RunKey("en", "none", seed) for seed in range(5)]
    record_plan(tmp_path, keys)
    make_run(tmp_path, keys[0], CONFIG_FILE, MANIFEST_FILE)
    make_run(tmp_path, keys[1], CONFIG_FILE)
    write_failure(make_run(tmp_path, keys[2], CONFIG_FILE), "no space is left\nTraceback ...")
    running = make_run(tmp_path, keys[3], CONFIG_FILE)
    write_progress(running, epoch=0.5, step=10, total_steps=40, elapsed_s=20.0)
    with RunDirectory(running).lock():
        found = study_status(tmp_path)
    assert [run.state for run in found] == ["done", "interrupted", "failed", "running", "missing"]
    assert found[2].reason == "no space is left"
    assert (found[3].epoch, found[3].seconds_left) == (0.5, 60.0)
    assert study_status(tmp_path)[3].state == "interrupted"


def test_a_run_that_starts_again_after_a_failure_is_running(tmp_path):
    path = make_run(tmp_path, RunKey("en", "none", 1), CONFIG_FILE)
    write_failure(path, "killed")
    with RunDirectory(path).lock():
        assert read_status(tmp_path, RunKey("en", "none", 1)).state == "running"


def test_an_interrupted_run_says_where_it_was_last_heard_of(tmp_path):
    path = make_run(tmp_path, RunKey("en", "none", 1))
    write_progress(path, epoch=1.25, step=5, total_steps=8, elapsed_s=1.0)
    found = read_status(tmp_path, RunKey("en", "none", 1))
    assert (found.state, found.epoch) == ("interrupted", 1.25)
    assert re.match(r"last heard of on \S+ at \d{4}-", found.reason)


def test_damaged_progress_is_named(tmp_path):
    path = make_run(tmp_path, RunKey("en", "none", 1), CONFIG_FILE)
    (path / "progress.json").write_text("{")
    assert "progress.json is not valid JSON" in read_status(tmp_path, RunKey("en", "none", 1)).reason


def test_without_a_plan_every_combination_of_what_is_there_is_expected(tmp_path):
    make_run(tmp_path, RunKey("en", "none", 1), MANIFEST_FILE)
    make_run(tmp_path, RunKey("de", "top_3", 2), MANIFEST_FILE)
    found = states(tmp_path)
    assert len(found) == 8
    assert sorted(found.values()) == ["done"] * 2 + ["missing"] * 6


def test_a_plan_says_exactly_what_is_missing(tmp_path):
    record_plan(tmp_path, [RunKey("en", "none", 1)])
    record_plan(tmp_path, [RunKey("de", "top_3", 2), RunKey("en", "none", 1)])
    assert list(states(tmp_path)) == [("de", "top_3", 2), ("en", "none", 1)]


def test_a_damaged_plan_is_refused(tmp_path):
    (tmp_path / PLAN_FILE).write_text('{"runs": [{"language": "en"}]}')
    with pytest.raises(CorruptArtefactError, match="not a list of runs; delete it"):
        read_plan(tmp_path)


def test_the_folder_of_all_studies_is_taken_too(tmp_path):
    record_plan(tmp_path / "a", [RunKey("en", "none", 1)])
    make_run(tmp_path / "b", RunKey("en", "none", 1), MANIFEST_FILE)
    (tmp_path / "notes").mkdir()
    assert [path.name for path in find_studies(tmp_path)] == ["a", "b"]
    assert find_studies(tmp_path / "b") == [tmp_path / "b"]
    with pytest.raises(MissingFileError, match="expected the folder or pack of a study at .*nowhere"):
        find_studies(tmp_path / "nowhere")


def test_the_command_prints_a_table_or_json(tmp_path, capsys):
    record_plan(tmp_path, [RunKey("en", "none", 1), RunKey("en", "none", 2)])
    write_failure(make_run(tmp_path, RunKey("en", "none", 1)), "CUDA out of memory [rank 0]")
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "seed 1" in printed
    assert "failed  en/none/seed_1: CUDA out of memory [rank 0]" in printed
    assert "2 runs: 1 failed, 1 missing" in printed
    assert main([str(tmp_path), "--json"]) == 0
    (study,) = json.loads(capsys.readouterr().out)
    assert study["counts"] == {"done": 0, "running": 0, "failed": 1, "interrupted": 0, "missing": 1}
    assert study["runs"][0]["reason"] == "CUDA out of memory [rank 0]"


def test_the_command_fails_only_where_the_folder_is_missing(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    assert "no runs" in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "expected the folder or pack of a study" in capsys.readouterr().err


def test_nothing_is_written_by_asking(tmp_path):
    make_run(tmp_path, RunKey("en", "none", 1), CONFIG_FILE)
    before = sorted(tmp_path.rglob("*"))
    main([str(tmp_path)])
    assert sorted(tmp_path.rglob("*")) == before
