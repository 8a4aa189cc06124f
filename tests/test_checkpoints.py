"""Checkpoint files: whole, verified, and without code."""

import pickle

import pytest
import torch

from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError
from xling.training.checkpoints import load_checkpoint, save_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    """A small checkpoint file."""
    path = tmp_path / "last.ckpt"
    save_checkpoint({"state_dict": {"weight": torch.arange(1000.0)}, "step": 3}, path)
    return path


def test_what_was_saved_comes_back(checkpoint):
    loaded = load_checkpoint(checkpoint)
    assert loaded["step"] == 3
    assert torch.equal(loaded["state_dict"]["weight"], torch.arange(1000.0))
    assert [path.name for path in checkpoint.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_flipped_bit_is_found(checkpoint, share):
    content = bytearray(checkpoint.read_bytes())
    content[int(len(content) * share)] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(
        CorruptArtefactError, match=r"last\.ckpt cannot be read as a checkpoint .*delete it and run again"
    ):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_found(checkpoint, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CorruptArtefactError, match="delete it and run again"):
        load_checkpoint(checkpoint)


class Payload:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("executed",))


def test_no_code_is_executed(tmp_path, capsys):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": Payload()}, path)
    with pytest.raises(CorruptArtefactError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CorruptArtefactError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="keep_checkpoint=true"):
        load_checkpoint(tmp_path / "last.ckpt")


def test_a_disk_that_refuses_gives_one_sentence():
    with pytest.raises(UnreachableError, match="cannot write /dev/full.*free some space"):
        save_checkpoint({}, "/dev/full/last.ckpt")
