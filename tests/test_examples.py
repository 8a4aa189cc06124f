"""The examples run as they stand and stay short."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_under_30_lines(path):
    assert len(path.read_text().splitlines()) < 30


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_shows_movement(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", path], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    values = [
        float(line.split("impact")[1])
        for line in done.stdout.splitlines()
        if line.startswith("epoch") and "impact" in line
    ]
    assert max(values) > 0.01
