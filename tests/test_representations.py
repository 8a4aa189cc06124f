"""Representation files: what is stored comes back, what is damaged or foreign is refused."""

import pytest
import torch

from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.probing.representations import Representations, load_representations, save_representations


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    layers = {"layer_00": torch.randn(5, 3), "layer_01": torch.randn(5, 7).half()}
    representations = Representations(layers, torch.tensor([2, 3, 5, 7, 11]), {"fingerprint": "abc", "pooling": "mean"})
    save_representations(representations, tmp_path / "a.safetensors")
    return representations, tmp_path / "a.safetensors"


def test_representations_come_back(saved):
    representations, path = saved
    loaded = load_representations(path, {"fingerprint": "abc"})
    assert loaded.facts == representations.facts
    assert loaded.example_ids.tolist() == [2, 3, 5, 7, 11]
    assert all(torch.equal(loaded.layers[label], layer) for label, layer in representations.layers.items())


def test_rows_are_found_by_id(saved):
    representations, _ = saved
    assert representations.rows(torch.tensor([11, 2, 5])).tolist() == [4, 0, 2]
    with pytest.raises(XlingValueError, match="example 4 has no base representation: the probe set differs"):
        representations.rows(torch.tensor([2, 4]))
    with pytest.raises(XlingValueError, match="example 99 has no base"):
        representations.rows(torch.tensor([99]))


def test_another_probe_set_is_refused(saved):
    with pytest.raises(CorruptArtefactError, match="made with fingerprint = abc, expected xyz"):
        load_representations(saved[1], {"fingerprint": "xyz"})


@pytest.mark.parametrize("at", [-1, -20, 30, 3])
def test_a_flipped_bit_is_refused(saved, at):
    content = bytearray(saved[1].read_bytes())
    content[at] ^= 4
    saved[1].write_bytes(content)
    with pytest.raises(CorruptArtefactError, match="delete it and run again"):
        load_representations(saved[1])


def test_a_truncated_file_is_refused(saved):
    saved[1].write_bytes(saved[1].read_bytes()[:-8])
    with pytest.raises(CorruptArtefactError, match="not a whole representations file"):
        load_representations(saved[1])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="expected representations at"):
        load_representations(tmp_path / "none.safetensors")
