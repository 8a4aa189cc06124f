"""A sweep by joblib and by Ray, for real: killed once, started again, it ends as one run after another does."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_launchers import has_plugin

ROOT = Path(__file__).parents[1]
TINY = [
    *("model=tiny_bert", "study=s", "trainer.max_epochs=1", "target_languages=[de,en,sw]"),
    *("data.source.n_premises={train: 30, probe: 8}", "source_language=de,en,ru,sw", "seed=1,2,3,4"),
]
OF_LAUNCHER = {
    "joblib": ["launcher=joblib", "hydra.launcher.n_jobs=2"],
    "ray": ["launcher=ray", "hydra.launcher.ray.remote.num_cpus=1"],
}
TABLES = ("transfer.parquet", "impact.parquet", "predictions.parquet")
N_RUNS = 16


def start(folder, cache, *launcher):
    command = [sys.executable, str(ROOT / "train.py"), "-m", *launcher, *TINY, f"cache_dir={cache}"]
    environment = os.environ | {"RAY_TMPDIR": f"/tmp/ray_{os.getpid()}", "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        [*command, f"output_dir={folder}"], cwd=folder, start_new_session=True, text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finished(folder):
    return sorted(path.parent.relative_to(folder) for path in folder.rglob("manifest.json"))


def kill_session(process):
    """All processes of the command: workers of joblib and Ray's own stay in its session."""
    listed = subprocess.run(["ps", "-eo", "pid,sid"], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines()[1:]:
        pid, session = map(int, line.split())
        if session == process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def one_after_another(tmp_path_factory):
    folder = tmp_path_factory.mktemp("basic")
    process = start(folder, folder / "cache")
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("launcher", OF_LAUNCHER)
def test_a_sweep_that_was_killed_ends_as_one_run_after_another(launcher, one_after_another, tmp_path):
    if not has_plugin(launcher):
        pytest.skip(f"the extra {launcher} is not installed: pip install 'xling[{launcher}]'")
    process = start(tmp_path, tmp_path / "cache", *OF_LAUNCHER[launcher])
    try:
        deadline = time.monotonic() + 600
        while len(finished(tmp_path)) < 3:
            assert process.poll() is None, process.stdout.read()[-3000:]
            assert time.monotonic() < deadline, "three runs were not finished within ten minutes"
            time.sleep(0.2)
    finally:
        kill_session(process)
    process.communicate()
    before = finished(tmp_path)
    assert 3 <= len(before) < N_RUNS
    again = start(tmp_path, tmp_path / "cache", *OF_LAUNCHER[launcher])
    output, _ = again.communicate(timeout=900)
    assert again.returncode == 0, output[-3000:]
    runs = finished(one_after_another)
    assert len(runs) == N_RUNS
    assert finished(tmp_path) == runs
    for run in runs:
        for table in TABLES:
            assert (tmp_path / run / table).read_bytes() == (one_after_another / run / table).read_bytes(), (run, table)
