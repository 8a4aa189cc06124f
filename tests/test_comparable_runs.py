"""What is analysed together is of one design; what cannot be read is left out with its reason; links are followed."""

import json
import shutil

import pandas as pd
import pytest

import xling
from xling.analysis.inputs.gather import gather_studies
from xling.commands.train import train
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.runs.cache_users import find_users
from xling.runs.comparable import check_comparable, design_of, find_mixed
from xling.runs.directory import ENVIRONMENT_FILE, MANIFEST_FILE, RunDirectory
from xling.runs.tables import IMPACT_FILE, TRANSFER_FILE
from xling.storage.hashing import file_sha256


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def study(make_config, trained, tmp_path):
    """Two complete runs of one study, trained once, copied for every test."""
    if not any(trained.iterdir()):
        for source in ("en", "de"):
            settings = make_config("trainer.max_epochs=1", f"source_language={source}", "probe.predictions=labels")
            train(settings.changed(output_dir=trained))
    shutil.copytree(trained / "test", tmp_path / "copy" / "test")
    return tmp_path / "copy" / "test"


def run_of(study, source="en"):
    return RunDirectory(study / source / "none" / "seed_42")


def rewrite_manifest(run, **changes):
    """Make the manifest fit the files again, as somebody does who alters a run on purpose."""
    manifest = json.loads((run.path / MANIFEST_FILE).read_text())
    manifest["files"] = {
        name: file_sha256(run.path / name) for name in manifest["files"] if (run.path / name).is_file()
    }
    (run.path / MANIFEST_FILE).write_text(json.dumps(manifest | changes))


def alter_environment(run, **changes):
    path = run.path / ENVIRONMENT_FILE
    environment = json.loads(path.read_text())
    for name, value in changes.items():
        group, _, key = name.partition("__")
        environment[group] = environment[group] | {key: value} if key else value
    path.write_text(json.dumps(environment))
    rewrite_manifest(run)


def test_runs_of_one_design_are_analysed_together(study):
    studies, _ = gather_studies([study])
    assert studies["test"].mixed == ()
    assert len(studies["test"].runs) == 2


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"model__content_hash": "another"}, "model.content_hash"),
        ({"packages__torch": "2.0.0"}, "versions.torch"),
        ({"xling": "0.1.0"}, "versions.xling"),
        ({"python": "3.9.0"}, "versions.python"),
    ],
)
def test_runs_that_differ_are_refused_by_name_or_said_where_it_is_allowed(study, changes, name):
    alter_environment(run_of(study, "de"), **changes)
    with pytest.raises(XlingValueError, match=rf"differ in more than .* {name}: .*allow_mixed=\[{name}\]"):
        gather_studies([study])
    for allowed in (name, name.partition(".")[0]):
        (sentence,) = gather_studies([study], [allowed])[0]["test"].mixed
        assert name in sentence
        assert "de/none/seed_42" in sentence


def test_other_settings_are_refused(study, make_config):
    settings = make_config("trainer.max_epochs=1", "source_language=sw", "optimizer.learning_rate=5e-3")
    train(settings.changed(output_dir=study.parent))
    with pytest.raises(XlingValueError, match=r"optimizer\.learning_rate: 0\.001 .* 0\.005 \(sw/none/seed_42\)"):
        gather_studies([study])


def test_another_processor_is_said_and_not_refused(study):
    alter_environment(run_of(study, "de"), machine__processor_model="another processor")
    (sentence,) = gather_studies([study])[0]["test"].mixed
    assert "another processor" in sentence


def test_what_older_runs_did_not_record_is_no_difference(study):
    run = run_of(study, "de")
    environment = json.loads((run.path / ENVIRONMENT_FILE).read_text())
    older = {name: value for name, value in environment.items() if name not in ("machine", "commit")}
    (run.path / ENVIRONMENT_FILE).write_text(json.dumps(older))
    rewrite_manifest(run)
    assert gather_studies([study])[0]["test"].mixed == ()


def test_an_unknown_name_in_allow_mixed_is_named(study):
    with pytest.raises(XlingValueError, match=r"expected allow_mixed to name what runs record, got 'learning_rat'"):
        gather_studies([study], ["learning_rat"])


def test_strategies_differ_in_their_own_settings_alone(make_config):
    def design(*overrides):
        settings = make_config(*overrides)
        return design_of(settings, {"model": {"content_hash": "1"}}, {})

    plain, frozen = design(), design("freeze=bottom_k", "freeze.k=2")
    assert find_mixed({"a": plain, "b": frozen}) == []
    guided = [design("freeze=guided", f"freeze.suggestion={name}") for name in ("one", "two")]
    assert [mixed.name for mixed in find_mixed(dict(zip("ab", guided, strict=True)))] == [
        "freeze of guided_genetic.suggestion"
    ]


def test_a_source_behind_a_link_is_analysed_and_its_cache_is_in_use(study, tmp_path, cache_dir):
    elsewhere = tmp_path / "scratch"
    shutil.move(study / "en", elsewhere)
    (study / "en").symlink_to(elsewhere)
    (study / "again").symlink_to(study)  # a circle, and every run a second time
    loaded = xling.load_study(study)
    assert sorted(loaded.runs["source_language"]) == ["de", "en"]
    assert find_users(study, cache_dir)


def test_a_link_that_leads_nowhere_is_named(study, tmp_path):
    (study / "sw").symlink_to(tmp_path / "gone")
    assert xling.load_study(study).skipped == [
        (str(study / "sw"), f"a link to {tmp_path / 'gone'}, which is not there")
    ]


def test_a_copied_run_does_not_count_twice(study):
    shutil.copytree(study / "en", study / "copy")
    loaded = xling.load_study(study)
    assert len(loaded.runs) == 2
    ((_, reason),) = loaded.skipped
    assert "it is the same run as" in reason


FILES = ("config.yaml", "environment.json", "data.json", "manifest.json", "impact.parquet", "transfer.parquet")
DAMAGE = {
    "empty": b"",
    "binary": bytes(range(256)),
    "a number": b"3",
    "a list": b"[1, 2]",
    "nested": b"[" * 5000,
    "an empty object": b"{}",
}


@pytest.mark.parametrize("is_signed", [False, True], ids=["manifest as it was", "manifest made to fit"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_run_is_skipped_with_its_reason_and_the_rest_goes_on(study, name, damage, is_signed):
    run = run_of(study)
    (run.path / name).write_bytes(DAMAGE[damage])
    if is_signed and name != MANIFEST_FILE:
        rewrite_manifest(run)
    loaded = xling.load_study(study)
    assert list(loaded.runs["source_language"]) == ["de"]
    ((path, reason),) = loaded.skipped
    assert path == str(run.path)
    assert reason
    assert "\n" not in reason


def test_a_table_without_a_row_per_target_is_no_complete_run(study):
    for name in (IMPACT_FILE, TRANSFER_FILE):
        run = run_of(study, "en" if name == IMPACT_FILE else "de")
        frame = pd.read_parquet(run.path / name)
        frame[frame["target_language"] != "sw"].to_parquet(run.path / name)
        rewrite_manifest(run)
    with pytest.raises(MissingFileError, match="has no row of sw at its last validation"):
        xling.load_study(study)


def test_a_table_of_another_run_is_not_taken_for_this_ones(study):
    shutil.copy(run_of(study, "de").path / IMPACT_FILE, run_of(study).path / IMPACT_FILE)
    rewrite_manifest(run_of(study))
    ((_, reason),) = xling.load_study(study).skipped
    assert "has rows of another source_language than its manifest, en" in reason


@pytest.mark.parametrize("files", [{}, [], None])
def test_a_manifest_without_files_is_none(study, files):
    run = run_of(study)
    manifest = json.loads((run.path / MANIFEST_FILE).read_text())
    (run.path / MANIFEST_FILE).write_text(json.dumps(manifest | {"files": files}))
    with pytest.raises(CorruptArtefactError, match="is no manifest of a complete run"):
        run.read_manifest()


def test_predictions_that_go_while_a_study_is_analysed_are_left_out(study):
    loaded = xling.load_study(study)
    (run_of(study).path / "predictions.parquet").unlink()
    assert set(loaded.predictions["source_language"]) == {"de"}
    assert "its predictions are left out" in loaded.skipped[-1][1]


def test_one_folder_spelled_twice_is_one_study(study, tmp_path):
    (tmp_path / "link").symlink_to(study)
    assert list(gather_studies([study, f"{study}/.", tmp_path / "link"])[0]) == ["test"]


def test_runs_without_records_are_comparable():
    assert check_comparable("x", {"a": {}, "b": {}}) == []
