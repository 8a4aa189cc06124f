"""``xling-fetch``: what it downloads, checks and records, and that nothing is asked of a hub afterwards."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from hub_imitation import serve_model

from xling.commands.train import train
from xling.data.mini_nli.source import MiniNliSource
from xling.errors import CorruptArtefactError
from xling.models.encoders import content_hash, load_encoder, load_tokenizer
from xling.models.spec import EncoderSpec
from xling.models.tiny import tiny_tokenizer
from xling.runs.directory import RunDirectory
from xling.settings import ObjectSettings
from xling.storage.fetched import FetchedFirst, data_folder, find_fetched_model, read_record
from xling.sweeps.fetching import fetch, fetch_data, fetch_model

COMMIT = "b" * 40
REPO = "someone/tiny"
calls: list[tuple[str, str]] = []


class FromAfar(MiniNliSource):
    """Stands for a source on a hub: counts what it is asked for."""

    is_local = False

    def __init__(self, revision=None):
        super().__init__({"train": 30, "probe": 12})

    def __call__(self, language, split):
        calls.append((language, split))
        return super().__call__(language, split)


FAR = ObjectSettings(f"{__name__}.FromAfar", {"revision": "v1"})


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    load_encoder(EncoderSpec("tiny", "bert", weights="tiny"), tmp_path).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"the second kind of weights, not wanted")
    return folder


def fetch_from(endpoint, tmp_path, *arguments):
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    model = ["model=encoder", f"model.name_or_path={REPO}", "model.name=tiny", f"dest={tmp_path}/dest"]
    command = [sys.executable, "-m", "xling.commands.fetch", *model, *arguments]
    return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240)


def test_a_model_is_downloaded_recorded_and_used_without_the_hub(checkpoint, tmp_path):
    with serve_model(REPO, COMMIT, checkpoint) as (endpoint, asked):
        done = fetch_from(endpoint, tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"cache_dir={tmp_path}/dest" in done.stdout
        assert f"/{REPO}/resolve/{COMMIT}/model.safetensors" in asked
        assert not any(path.endswith("pytorch_model.bin") for path in asked)
    spec, dest = EncoderSpec("tiny", REPO), tmp_path / "dest"
    folder, commit = find_fetched_model(dest, REPO, None)
    assert commit == COMMIT
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(read_record(folder)["files"])
    original = load_encoder(EncoderSpec("tiny", str(checkpoint)), tmp_path)
    assert content_hash(load_encoder(spec, dest)) == content_hash(original)  # this process has no hub
    assert load_tokenizer(spec, dest)("a")["input_ids"] == tiny_tokenizer()("a")["input_ids"]
    assert fetch_model(spec, dest).state == "there, verified"


def test_a_fetched_file_that_changed_is_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("xling.sweeps.fetching.checkpoint_folder", lambda *args, **options: (checkpoint, COMMIT))
    spec = EncoderSpec("tiny", "someone/other")
    assert fetch_model(spec, tmp_path).state == "fetched, verified"
    folder, _ = find_fetched_model(tmp_path, "someone/other", None)
    assert find_fetched_model(tmp_path, "someone/other", "another-branch") is None
    moved = folder.rename(folder.with_name("someone--third@main"))  # hashed once per process and path
    (moved / "config.json").write_text("{}")
    with pytest.raises(
        CorruptArtefactError, match=r"config\.json is missing or has changed since it was fetched; delete"
    ):
        find_fetched_model(tmp_path, "someone/third", None)


def test_a_download_that_is_not_what_the_hub_said_is_refused(checkpoint, tmp_path, monkeypatch):
    blob = tmp_path / ("0" * 64)
    (checkpoint / "config.json").rename(blob)
    (checkpoint / "config.json").symlink_to(blob)
    monkeypatch.setattr("xling.sweeps.fetching.checkpoint_folder", lambda *args, **options: (checkpoint, COMMIT))
    with pytest.raises(CorruptArtefactError, match=r"config\.json is not what the hub sent"):
        fetch_model(EncoderSpec("tiny", REPO), tmp_path / "dest")
    assert find_fetched_model(tmp_path / "dest", REPO, None) is None


def test_data_are_fetched_once_and_then_read_from_the_folder(tmp_path):
    calls.clear()
    wanted = [("en", "train"), ("de", "probe")]
    assert fetch_data(FAR, wanted, tmp_path)[0].state == "fetched, verified"
    assert fetch_data(FAR, [*wanted, ("sw", "probe")], tmp_path)[0].state == "fetched, verified"
    assert fetch_data(FAR, wanted, tmp_path)[0].state == "there, verified"
    assert calls == [*wanted, ("sw", "probe")]
    source = FetchedFirst(FromAfar(), data_folder(tmp_path, FAR.to_plain()))
    pd.testing.assert_frame_equal(source("de", "probe"), MiniNliSource({"probe": 12})("de", "probe"))
    assert len(calls) == 3
    source("ru", "probe")
    assert calls[-1] == ("ru", "probe")  # what was not fetched is asked for


def test_other_settings_of_a_source_are_other_data(tmp_path):
    fetch_data(FAR, [("en", "probe")], tmp_path)
    assert read_record(data_folder(tmp_path, FAR.to_plain() | {"revision": "v2"})) == {"files": {}}


def test_a_run_from_fetched_data_equals_one_from_the_source(make_config, tmp_path):
    config = make_config("trainer.max_epochs=1")
    config = config.changed(data={"source": FAR})
    first = train(config)
    dest = tmp_path / "dest"
    items = fetch([config, config.changed(source_language="de")], dest)
    assert [item.state for item in items] == ["", "fetched, verified"]
    calls.clear()
    second = train(config.changed(cache_dir=dest, output_dir=tmp_path / "offline"))
    assert calls == []
    first, second = (pd.read_parquet(RunDirectory(run.path).path / "impact.parquet") for run in (first, second))
    pd.testing.assert_frame_equal(first, second)


def test_what_needs_no_download_says_so(make_config, tmp_path, checkpoint):
    (tiny, data) = fetch([make_config()], tmp_path / "dest")
    assert (tiny.folder, data.folder, data.state) == (None, None, "readable")
    local = fetch_model(EncoderSpec("mine", str(checkpoint)), tmp_path / "dest")
    assert "a folder already" in local.what
    assert not (tmp_path / "dest").exists()


def test_a_hub_that_does_not_answer_is_one_sentence(tmp_path):
    done = fetch_from("http://127.0.0.1:9", tmp_path)
    assert done.returncode == 1
    assert "the model hub cannot be reached for someone/tiny" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "dest").exists()
