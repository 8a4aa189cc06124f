"""How the feature files of lang2vec are found, and what is said where they are not."""

import os
import subprocess
import sys

import pytest

from xling.distances import (
    KINDS,
    compute_distances,
    uriel,
)
from xling.errors import CorruptArtefactError, MissingFileError


def test_lang2vecs_own_code_is_never_imported():
    compute_distances(KINDS, ["de", "en"])
    assert "lang2vec.lang2vec" not in sys.modules


@pytest.fixture
def lang2vec_at(monkeypatch, tmp_path):
    """An installation of lang2vec whose files lie in the test's folder."""

    class Installed:
        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(uriel.importlib.metadata, "distribution", lambda name: Installed())
    return tmp_path / "lang2vec" / "data"


def test_a_missing_or_broken_feature_file_says_how_to_get_it(lang2vec_at):
    with pytest.raises(MissingFileError, match=r"expected .*features\.npz.*pip install .*lang2vec==1\.1\.2"):
        uriel.typology.__wrapped__()
    lang2vec_at.mkdir(parents=True)
    (lang2vec_at / "features.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(CorruptArtefactError, match="force-reinstall"):
        uriel.typology.__wrapped__()


def test_lang2vec_not_installed_is_said_as_that(monkeypatch):
    def not_found(name):
        raise uriel.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(uriel.importlib.metadata, "distribution", not_found)
    with pytest.raises(MissingFileError, match="expected the installed package lang2vec, found none"):
        uriel.typology.__wrapped__()


def test_other_failures_are_not_reported_as_a_missing_file(lang2vec_at, monkeypatch):
    lang2vec_at.mkdir(parents=True)
    (lang2vec_at / "features.npz").write_bytes(b"")

    def refuse(path):
        raise PermissionError(path)

    monkeypatch.setattr(uriel.Path, "read_bytes", refuse)
    with pytest.raises(PermissionError):
        uriel.typology.__wrapped__()


def test_a_script_named_like_the_package_first_on_the_path_hides_no_file(tmp_path):
    (tmp_path / "lang2vec.py").write_text("raise SystemExit('the script was imported')\n")
    code = "from xling.distances.uriel import read_lang2vec_file as read; print(len(read('features.npz')) > 1000)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "True", done.stderr
