"""Packs: a study as one file, read like a folder."""

import json
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pandas.testing import assert_frame_equal

import xling
from xling.commands.pack import pack as pack_command
from xling.commands.pack import unpack_command
from xling.commands.status import main as status_command
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.runs.directory import RunDirectory
from xling.runs.packs import Pack, merge_packs, pack_folder, read_pack, unpack, without_probabilities, write_pack
from xling.runs.tables import PREDICTIONS

RECORDED = Path(__file__).parent / "recorded_0_1_0" / "complete" / "recorded"
GIVEN = "en/none/seed_42"


@pytest.fixture
def study(tmp_path) -> Path:
    """A study of two runs: a recorded one, and the same as German's."""
    folder = tmp_path / "recorded"
    shutil.copytree(RECORDED, folder)
    german = folder / "de" / "none" / "seed_42"
    shutil.copytree(folder / GIVEN, german)
    _rewrite_tables(german, source_language="de")
    return folder


def _rewrite_tables(run: Path, **columns) -> None:
    for file in run.glob("*.parquet"):
        pd.read_parquet(file).assign(**columns).to_parquet(file, index=False)
    facts = {key: value for key, value in json.loads((run / "manifest.json").read_text()).items() if key != "files"}
    RunDirectory(run).complete(facts | columns)


@pytest.fixture
def packed(study, tmp_path) -> Path:
    write_pack(pack_folder(study), tmp_path / "recorded.xling")
    return tmp_path / "recorded.xling"


def test_a_pack_is_loaded_like_its_folder(study, packed):
    folder, pack = xling.load_study(study), xling.load_study(packed)
    for name in ("impact", "transfer", "alignment", "predictions"):
        assert_frame_equal(getattr(pack, name), getattr(folder, name))
    unchanged = folder.runs.columns.drop(["path", "files"])  # config.yaml, without its paths, has another checksum
    assert pack.runs[unchanged].equals(folder.runs[unchanged])
    assert pack.skipped == []


def test_equal_runs_give_equal_bytes(study, packed, tmp_path):
    write_pack(pack_folder(unpack(read_pack(packed), tmp_path / "elsewhere")), tmp_path / "again.xling")
    assert (tmp_path / "again.xling").read_bytes() == packed.read_bytes()


def test_a_pack_holds_what_a_run_names_and_nothing_else(study, packed):
    (study / GIVEN / "run.log").write_text("secret")
    (study / GIVEN / "checkpoints").mkdir(exist_ok=True)
    (study / GIVEN / "checkpoints" / "last.ckpt").write_text("weights")
    names = {Path(name).name for name in pack_folder(study).files}
    assert names <= {
        *("plan.json", "manifest.json", "config.yaml", "data.json", "environment.json"),
        *("impact.parquet", "transfer.parquet", "alignment.parquet", "predictions.parquet"),
    }


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("/home/ann/xnli", "xnli"),
        ("~/xnli", "xnli"),
        ("../../ann/xnli", "xnli"),
        ("C:\\Users\\ann\\xnli", "xnli"),
        ("xnli", "xnli"),
        ("intfloat/multilingual-e5-small", "intfloat/multilingual-e5-small"),
    ],
)
def test_paths_that_lead_elsewhere_are_cut_to_their_last_part(study, path, left):
    config = study / GIVEN / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["model"]["name_or_path"] = path
    settings["logger"] = {"mlflow": {"tracking_uri": "https://ann:secret@example.org"}}
    config.write_text(yaml.safe_dump(settings))
    _rewrite_tables(study / GIVEN)
    kept = yaml.safe_load(pack_folder(study).files[f"{GIVEN}/config.yaml"])
    assert kept["model"]["name_or_path"] == left
    assert kept["logger"] == {}
    assert (kept["output_dir"], kept["cache_dir"]) == ("runs", "cache")


def test_predictions_that_are_text_of_the_data_are_left_out(study):
    predictions = pd.DataFrame({"example_id": ["1"], "gold": [["in Paris"]], "predicted": ["Paris"]})
    predictions.to_parquet(study / GIVEN / "predictions.parquet")
    _rewrite_tables(study / GIVEN)
    files = pack_folder(study).files
    assert f"{GIVEN}/predictions.parquet" not in files
    assert "predictions.parquet" not in json.loads(files[f"{GIVEN}/manifest.json"])["files"]


def test_packs_of_one_study_merge_into_what_packing_all_of_it_gives(study, packed, tmp_path):
    halves = []
    for language in ("en", "de"):
        half = tmp_path / language / "recorded"
        shutil.copytree(study / language, half / language)
        halves.append(pack_folder(half))
    assert merge_packs(halves) == read_pack(packed)
    assert merge_packs([*halves, halves[0]]) == read_pack(packed)


def test_two_different_runs_of_one_name_do_not_merge(study, packed):
    _rewrite_tables(study / GIVEN, n_examples=7)
    with pytest.raises(XlingValueError, match="two different runs under one name"):
        merge_packs([read_pack(packed), pack_folder(study)])


def test_packs_of_two_studies_do_not_merge(packed):
    mine = read_pack(packed)
    with pytest.raises(XlingValueError, match="packs of one study, found other, recorded"):
        merge_packs([mine, Pack("other", mine.files)])


def test_a_folder_of_two_studies_is_no_study(study):
    _rewrite_tables(study / GIVEN, study="other")
    with pytest.raises(XlingValueError, match="runs of one study.*other, recorded"):
        pack_folder(study)


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_runs_is_no_study(tmp_path, folder):
    with pytest.raises(MissingFileError, match="complete runs"):
        pack_folder(tmp_path / folder)


def test_a_pack_that_is_nowhere_is_missing(tmp_path):
    with pytest.raises(MissingFileError, match="packed study"):
        read_pack(tmp_path / "nowhere.xling")


def _rewrite(file: Path, change) -> Path:
    """Write the archive anew; `change` gets its contents by name."""
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file


def _add_to_list(name):
    def change(contents):
        import hashlib

        contents[name] = b"x"
        facts = json.loads(contents["pack.json"])
        facts["files"][name] = hashlib.sha256(b"x").hexdigest()
        contents["pack.json"] = json.dumps(facts).encode()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda contents: contents.update({f"{GIVEN}/impact.parquet": b"x"}), "impact.parquet.*damaged"),
        (lambda contents: contents.pop(f"{GIVEN}/impact.parquet"), "damaged"),
        (lambda contents: contents.pop("pack.json"), "no packed study"),
        (lambda contents: contents.update({"pack.json": b"[1]"}), "no packed study"),
        (lambda contents: contents.update({"pack.json": b'{"format": 2}'}), "format 2.*upgrade xling"),
        (_add_to_list("../../x.json"), "does not belong"),
        (_add_to_list("/x.json"), "does not belong"),
        (_add_to_list("en/../seed_1/x.json"), "does not belong"),
        (_add_to_list("en/none/seed_1/x.py"), "does not belong"),
    ],
)
def test_a_damaged_or_hostile_pack_is_refused_and_nothing_is_written(packed, tmp_path, change, message):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorruptArtefactError, match=message):
        read_pack(_rewrite(packed, change))
    assert unpack_command([str(packed), "--into", str(tmp_path)]) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_rest_of_a_cut_file_is_no_pack(packed):
    packed.write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(CorruptArtefactError, match="no packed study"):
        read_pack(packed)


def test_a_study_that_is_there_is_not_written_over(packed, tmp_path):
    with pytest.raises(XlingValueError, match="there already"):
        unpack(read_pack(packed), tmp_path)


def test_the_commands_pack_unpack_and_tell_the_state(study, tmp_path, capsys):
    file = tmp_path / "out.xling"
    assert pack_command([str(study), "-o", str(file)]) == 0
    assert "2 runs of recorded" in capsys.readouterr().out
    assert status_command([str(file)]) == 0
    assert "2 done" in capsys.readouterr().out
    assert unpack_command([str(file), "--into", str(tmp_path / "runs")]) == 0
    assert len(list((tmp_path / "runs" / "recorded").glob("*/*/seed_42/impact.parquet"))) == 2
    assert unpack_command([str(file), "--into", str(tmp_path / "runs")]) == 1
    assert pack_command([str(tmp_path / "nowhere")]) == 1
    assert "complete runs" in capsys.readouterr().err


def test_a_pack_without_probabilities_is_the_same_study_with_labels_alone(tmp_path, capsys):
    whole = Path(__file__).parents[1] / "studies" / "retest_e5_small_random.xling"
    small = tmp_path / "small.xling"
    assert pack_command([str(whole), "--without-probabilities", "-o", str(small)]) == 0
    assert "3 runs of" in capsys.readouterr().out
    assert small.stat().st_size < whole.stat().st_size / 2
    before, after = xling.load_study(whole), xling.load_study(small)
    assert after.skipped == []
    for name in ("impact", "transfer", "alignment"):
        assert_frame_equal(getattr(after, name), getattr(before, name))
    assert {"p_entailment", "p_neutral"} <= set(before.predictions)
    assert list(after.predictions) == list(PREDICTIONS)
    assert_frame_equal(after.predictions, before.predictions[list(PREDICTIONS)], check_categorical=False)
    assert without_probabilities(read_pack(small)) == read_pack(small)
    with pytest.raises(XlingValueError, match="differs between two packs"):
        merge_packs([read_pack(whole), read_pack(small)])
