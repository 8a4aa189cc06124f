"""The commands as a user types them: what they print and how they exit."""

import gc
import re
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from xling.errors import OutOfMemoryError
from xling.sweeps import job as cli
from xling.sweeps.failures import JobFailed

ROOT = Path(__file__).parents[1]


def call(*arguments, folder):
    script, *rest = arguments
    return subprocess.run(
        [sys.executable, ROOT / script, *rest], cwd=folder, capture_output=True, text=True, timeout=240
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data=xnly"], "Could not find 'data/xnly'"),
        (["data.train_limt=5"], "did you mean 'data.train_limit'"),
        (["data=xnli", "data.rot=x"], "did you mean 'data.root'"),
        (["model=tiny_bert", "source_language=eng"], "no language 'eng'"),
        (["data=xnli", "data.root=nowhere", "model=tiny_bert"], "expected a folder with XNLI's TSV files"),
    ],
)
def test_bad_input_ends_with_a_sentence_and_status_1(arguments, expected, tmp_path):
    done = call("train.py", *arguments, f"cache_dir={tmp_path}/cache", folder=tmp_path)
    assert done.returncode == 1
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("config.yaml"))


def test_the_composed_configuration_is_printed(tmp_path):
    done = call("train.py", "--cfg", "job", "experiment=paper", folder=tmp_path)
    assert done.returncode == 0
    assert "learning_rate: 2.0e-05" in done.stdout


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_failure_and_says_so(tmp_path):
    small = ["data.languages=[en,de]", "data.source.n_premises={train: 20, probe: 8}", "trainer.max_epochs=1"]
    common = ["model=tiny_bert", "study=s", *small, f"cache_dir={tmp_path}/cache"]
    done = call("train.py", "-m", "source_language=xx,en,de", *common, folder=tmp_path)
    assert done.returncode == 1
    assert "1 run(s) failed" in done.stderr
    assert len(list(tmp_path.rglob("manifest.json"))) == 2
    again = call("train.py", "-m", "source_language=en,de", *common, folder=tmp_path)
    assert again.returncode == 0
    assert "all 2 runs are complete; nothing to do" in again.stderr


@pytest.mark.parametrize("kind", [OutOfMemoryError, RuntimeError])
def test_a_failed_job_of_a_sweep_keeps_nothing_of_its_run(monkeypatch, kind):
    class Activations:
        """Stands for what fills a GPU."""

    alive = []

    @cli.as_task
    def job(config):
        activations = Activations()
        alive.append(weakref.ref(activations))
        raise kind("no memory")

    monkeypatch.setattr(cli, "_is_sweep", lambda: True)
    with pytest.raises(JobFailed, match="no memory") as kept:  # Hydra keeps it as well
        job(None)
    gc.collect()
    assert alive[0]() is None
    assert kept.value.__context__ is None


def test_a_whole_run_and_its_analysis_say_nothing_but_their_log(tmp_path):
    """No warning, no dump of a library, no bar: every line has its time, and nothing goes to standard output."""
    tiny = ["model=tiny_bert", "study=t", "source_language=en", "target_languages=[en,de,sw]", "trainer.max_epochs=1"]
    few = ["data.source.n_premises={train: 30, probe: 12}", "trainer.accelerator=cpu", f"cache_dir={tmp_path}/cache"]
    runs = call("train.py", *tiny, *few, folder=tmp_path)
    study = call("analyze.py", "runs=runs/t", "output_dir=out", "permutations=50", "bootstraps=10", folder=tmp_path)
    for done in (runs, study):
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        strange = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d  ", line)]
        assert strange == []
