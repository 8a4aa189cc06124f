"""Final weights of runs, and whether two runs end with the same."""

import torch

from xling.commands.train import train
from xling.runs.directory import CHECKPOINTS


def weights_after(config):
    """Those of the run, which is made unless it is complete."""
    return weights_of(train(config))


def weights_of(run):
    """Name -> tensor on the processor."""
    path = run.path / CHECKPOINTS / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def assert_same_weights(one, other, atol=2e-5):
    """Equal up to rounding; of the runs compared with it, every learned tensor moves by much more than `atol`."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            other[name], value, atol=atol, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
