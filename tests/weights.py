"""Reads the final weights of runs, and compares those of two runs."""

import torch

from xling.commands.train import train
from xling.runs.directory import CHECKPOINTS


def weights_after(config):
    """Read the final weights of a run, which is made first unless it is complete."""
    return weights_of(train(config))


def weights_of(run):
    """Read the final weights of a run's directory: name -> tensor on the CPU."""
    path = run.path / CHECKPOINTS / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def assert_same_weights(one, other, atol=2e-5):
    """Compare weights up to rounding; in the runs that tests compare, training moves every tensor by much more than `atol`."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            other[name], value, atol=atol, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
