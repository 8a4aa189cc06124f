"""Files appear whole or not at all."""

import os
import subprocess

import pytest

from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError
from xling.storage.atomic import atomic_path, read_json, write_json, write_text


def test_a_file_appears_when_the_block_ends(tmp_path):
    with atomic_path(tmp_path / "new" / "file.txt") as temporary:
        temporary.write_text("content")
        assert not (tmp_path / "new" / "file.txt").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "file.txt", "old")
    with pytest.raises(KeyError), atomic_path(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert (tmp_path / "file.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_replaces_a_folder(tmp_path):
    for content in ("one", "two"):
        with atomic_path(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["two"]


def test_a_full_disk_gives_one_sentence_and_no_file(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode
    ):
        pytest.skip("mounting a small tmpfs needs root")
    try:
        with pytest.raises(UnreachableError, match="no space is left on its disk; free some space"):
            write_text(disk / "file.txt", "x" * 1_000_000)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_read_only_place_gives_one_sentence(tmp_path):
    with pytest.raises(UnreachableError, match=r"cannot write .*choose another folder"):
        write_text("/proc/nowhere/file.txt", "x")


def test_json_comes_back_and_damage_is_named(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"language": "ไทย"})
    assert read_json(path) == {"language": "ไทย"}
    path.write_text(path.read_text()[:-4])
    with pytest.raises(CorruptArtefactError, match="not valid JSON"):
        read_json(path)
    with pytest.raises(MissingFileError, match="expected a JSON file"):
        read_json(tmp_path / "none.json")
