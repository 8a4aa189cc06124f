"""An analysis of what has not changed is not made again, and one of anything else is."""

import shutil
import subprocess
import sys

import pytest

from benchmarks.made_up_study import write_study
from xling.commands import unchanged
from xling.commands.unchanged import RECORD_FILE, analysis_key, is_unchanged
from xling.distances import SOURCES
from xling.runs.directory import MANIFEST_FILE
from xling.runs.finding import find_runs
from xling.runs.tables import TRANSFER_FILE

OURS = {"_target_": "xling.distances.compute_distances", "source": "repaired"}


@pytest.fixture(autouse=True)
def clean_code(monkeypatch):
    """The checkout that is tested may have changes, which give no key."""
    monkeypatch.setattr(unchanged, "code_commit", lambda: "0123abc")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("runs"), sources=["en", "sw"], targets=["en", "sw"], seeds=[1, 2])


@pytest.fixture
def settings(written, tmp_path):
    shutil.copytree(written, tmp_path / "study")
    return {"runs": str(tmp_path / "study"), "output_dir": "results", "anew": False, "distances": OURS, "seed": 0}


def change_nothing(settings, folder):
    pass


def look_elsewhere(settings, folder):
    settings |= {"output_dir": "elsewhere", "anew": True}


def change_a_setting(settings, folder):
    settings["seed"] = 1


def change_distances(settings, folder):
    settings["distances"] = OURS | {"source": "individual"}


def add_a_run(settings, folder):
    shutil.copytree(folder / "sw", folder / "de")


def lose_a_run(settings, folder):
    shutil.rmtree(folder / "sw")


def unfinish_a_run(settings, folder):
    (find_runs(folder)[0][0] / MANIFEST_FILE).unlink()


def change_a_table(settings, folder):
    (find_runs(folder)[0][0] / TRANSFER_FILE).write_bytes(b"x")


def change_a_manifest(settings, folder):
    path = find_runs(folder)[0][0] / MANIFEST_FILE
    path.write_text(path.read_text(encoding="utf-8").replace("0.0", "0.1", 1), encoding="utf-8")


def leave_a_link_to_nowhere(settings, folder):
    (folder / "lost").symlink_to(folder / "nowhere")


@pytest.mark.parametrize("act", [change_nothing, look_elsewhere])
def test_the_key_stays_where_nothing_counts(act, settings, tmp_path):
    before = analysis_key(settings)
    act(settings, tmp_path / "study")
    assert before is not None
    assert analysis_key(settings) == before


@pytest.mark.parametrize(
    "act",
    [
        change_a_setting, change_distances, add_a_run, lose_a_run, unfinish_a_run, change_a_table, change_a_manifest,
        leave_a_link_to_nowhere,
    ],
)  # fmt: skip
def test_whatever_changes_the_analysis_changes_the_key(act, settings, tmp_path):
    before = analysis_key(settings)
    act(settings, tmp_path / "study")
    assert analysis_key(settings) not in (None, before)


@pytest.mark.parametrize("name", ["transfer_csv", "pretraining_size", "claims_from", "more_distances"])
def test_a_file_that_a_setting_names_counts_by_its_content(name, tmp_path):
    file = tmp_path / "file.csv"
    file.write_text("1", encoding="utf-8")
    settings = {"distances": OURS, name: {"lexical": str(file)} if name == "more_distances" else str(file)}
    before = analysis_key(settings)
    file.write_text("2", encoding="utf-8")
    assert analysis_key(settings) not in (None, before)


@pytest.mark.parametrize(
    "change",
    [
        {"sections": ["my.package:section"]},
        {"distances": {"_target_": "xling.distances.representation_distances"}},
        {"distances": {"_target_": "my.package.distances"}},
    ],
)
def test_what_cannot_be_told_has_no_key(settings, change):
    assert analysis_key(settings | change) is None


@pytest.mark.parametrize("changed", [{"code_commit": lambda: "0123abc-dirty"}, {"code_commit": lambda: "456"}])
def test_other_code_is_another_analysis(settings, monkeypatch, changed):
    before = analysis_key(settings)
    for name, value in changed.items():
        monkeypatch.setattr(unchanged, name, value)
    assert analysis_key(settings) != before


def test_a_damaged_manifest_is_left_to_the_analysis(settings, tmp_path):
    (find_runs(tmp_path / "study")[0][0] / MANIFEST_FILE).write_text("[]", encoding="utf-8")
    assert analysis_key(settings) is None


def test_only_a_folder_whose_files_are_as_they_were_written_is_unchanged(tmp_path):
    (tmp_path / "tables").mkdir()
    for name in ("report.html", "tables/pairs.csv"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    assert not is_unchanged(tmp_path, "key")
    unchanged.record_analysis(tmp_path, "key")
    assert is_unchanged(tmp_path, "key")
    assert not is_unchanged(tmp_path, "another")
    (tmp_path / "tables" / "pairs.csv").write_text("2", encoding="utf-8")
    assert not is_unchanged(tmp_path, "key")
    (tmp_path / "tables" / "pairs.csv").unlink()
    assert not is_unchanged(tmp_path, "key")
    (tmp_path / RECORD_FILE).write_text("[]", encoding="utf-8")
    assert not is_unchanged(tmp_path, "key")


CODE = """
import sys
from xling.commands import start, unchanged
unchanged.code_commit = lambda: "0123abc"
start.analyze()
print("PANDAS", "pandas" in sys.modules)
"""


def test_the_command_says_that_nothing_has_changed(tmp_path):
    csv = tmp_path / "transfer.csv"
    rows = ["en,en,0.8", "en,de,0.7", "en,ru,0.65", "en,tr,0.6", "en,sw,0.5"]
    csv.write_text("\n".join(["source_language,target_language,accuracy", *rows]), encoding="utf-8")

    def analyse(*more):
        fast = ["distances=individual", "permutations=50", "bootstraps=20", "mode=default"]
        command = [sys.executable, "-c", CODE, f"transfer_csv={csv}", f"output_dir={tmp_path / 'out'}", *fast, *more]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    first = analyse()
    assert "Report: " in first.stderr
    assert RECORD_FILE in {path.name for path in (tmp_path / "out").iterdir()}
    again = analyse()
    assert "holds this analysis, and nothing has changed since; anew=true makes it again" in again.stderr
    assert "Report: " not in again.stderr
    assert again.stdout == "PANDAS False\n"
    assert "Report: " in analyse("anew=true").stderr
    assert "Report: " in analyse("seed=1").stderr


def test_sources_of_the_specification_curve_that_are_measured_or_of_others_give_no_key(settings):
    assert set(unchanged._OWN_SOURCES) == set(SOURCES)
    assert analysis_key(settings | {"specification_distances": ["individual", "knn"]}) is not None
    for source in ("vocabulary_overlap", "somebody.else:distances"):
        assert analysis_key(settings | {"specification_distances": [source]}) is None
    assert analysis_key(settings | {"more_distances": {"script": "registered:script"}}) is not None
    assert analysis_key(settings | {"more_distances": {"mine": "registered:somebody.else:distances"}}) is None
