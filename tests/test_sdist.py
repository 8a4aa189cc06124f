"""The source distribution is the repository: whoever has it can run its tests."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).parents[1]
LINKS = ("xling/callbacks", "xling/conf")
"""Links of the repository, which the distribution has as folders."""


@pytest.mark.slow
@pytest.mark.skipif(int(setuptools.__version__.split(".")[0]) < 77, reason="the build needs setuptools 77")
def test_everything_in_the_repository_is_in_the_source_distribution(tmp_path):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone: git lists nothing")
    files = set(listed.stdout.split("\n")) - {"", *LINKS}
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(tmp_path / 'dist')!r}))"
    subprocess.run(["git", "clone", "-q", ROOT, tmp_path / "clone"], check=True)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "clone", check=True, capture_output=True)
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {"/".join(member.name.split("/")[1:]) for member in packed.getmembers()}
    committed = subprocess.run(["git", "ls-files"], cwd=tmp_path / "clone", capture_output=True, text=True, check=True)
    missing = (files & set(committed.stdout.split("\n"))) - names
    assert not missing
    assert {f"{link}/__init__.py" for link in LINKS} <= names
