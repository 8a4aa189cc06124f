"""Interventions in two processes (gloo) train what they train in one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ddp_intervening_worker import interventions

from xling.callbacks import Anchor
from xling.errors import XlingValueError

WORKER = Path(__file__).with_name("ddp_intervening_worker.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Final weights by number of processes and intervention."""
    found = {}
    for n_processes, launcher in ((1, []), (2, TORCHRUN)):
        folder = tmp_path_factory.mktemp(f"processes_{n_processes}")
        command = [sys.executable, *launcher, str(WORKER), str(folder), str(n_processes)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        found[n_processes] = torch.load(folder / "weights.pt", weights_only=True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", interventions())
def test_two_processes_end_with_the_weights_of_one(weights, name):
    one, two = weights[1][name], weights[2][name]
    for key, value in one.items():
        assert torch.allclose(value, two[key], atol=1e-5), key


@pytest.mark.slow
def test_the_interventions_end_with_different_weights(weights):
    ends = [state["encoder.embeddings.word_embeddings.weight"] for state in weights[1].values()]
    assert all(not torch.equal(a, b) for i, a in enumerate(ends) for b in ends[:i])


def test_an_anchor_by_cka_on_training_batches_is_refused_in_several_processes(monkeypatch):
    from strangers import Tagger, make_trainer

    trainer = make_trainer(None)
    monkeypatch.setattr("xling.callbacks.anchor.is_distributed", lambda: True)
    with pytest.raises(XlingValueError, match="needs all rows of its batch in one process"):
        Anchor(1.0, form="cka").setup(trainer, Tagger(), "fit")
