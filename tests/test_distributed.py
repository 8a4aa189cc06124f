"""Two real processes (gloo) against one: the callbacks count every row once and agree."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xling.probing.representations import load_representations

pytestmark = pytest.mark.xdist_group("distributed")  # the fits are made once

TESTS = Path(__file__).parent


def run(folder, n_processes):
    """Records of a fit in `n_processes` processes, started as torchrun does."""
    worker = [str(TESTS / "ddp_worker.py"), str(folder), str(n_processes)]
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"] if n_processes > 1 else []
    )
    done = subprocess.run(
        [sys.executable, *launcher, *worker],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RECORDS "))
    return json.loads(line.removeprefix("RECORDS "))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    return {n: run(folder / str(n), n) for n in (1, 2)}, folder


@pytest.mark.parametrize(
    ("monitor", "columns"),
    [
        ("impact", ["impact", "impact_biased", "rsa"]),
        ("alignment", ["cka_debiased"]),
        ("probes", ["label_after", "language_after", "label_majority"]),
    ],
)
def test_two_processes_record_what_one_does(both, monitor, columns):
    records, _ = both
    one, two = (records[n][monitor] for n in (1, 2))
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert {k: a[k] for k in ("loader", "layer", "step", "n_examples")} == {
            k: b[k] for k in ("loader", "layer", "step", "n_examples")
        }
        assert a["n_examples"] == 25
        for column in columns:
            assert b[column] == pytest.approx(a[column], abs=1e-5)


def test_two_processes_write_the_snapshots_that_one_does(both):
    _, folder = both
    for loader in ("a", "b"):
        one, two = (
            load_representations(folder / n / "representations" / "step_000008" / f"{loader}.safetensors") for n in "12"
        )
        assert one.example_ids.tolist() == two.example_ids.tolist() == list(range(25))
        for layer, other in zip(one.layers.values(), two.layers.values(), strict=True):
            torch.testing.assert_close(layer, other, atol=1e-4, rtol=1e-4)
