"""A module with one layer of any kind, and what the callbacks store of it."""

from dataclasses import dataclass

import torch
from foreign import fit_by_default
from strangers import Stranger
from torch import nn
from torch.utils.data import TensorDataset

from xling.callbacks import RepresentationWriter
from xling.probing.representations import load_representations


@dataclass
class OnlyHidden:
    hidden: torch.Tensor


class OneLayer(Stranger):
    """Reads batches of one input through `layer`, which comes with its own shape."""

    def __init__(self, layer, shape):
        super().__init__()
        self.layer, self.shape = layer, shape
        self.scale = nn.Parameter(torch.ones(()))

    def loss(self, batch):
        self.forwards += 1
        return first_tensor(self.layer(batch[0])).abs().mean() * self.scale

    def data(self, n=40):
        return TensorDataset(torch.randn(n, *self.shape, generator=torch.Generator().manual_seed(1)))


def first_tensor(output):
    """The tensor that an output is or begins with, whatever holds it."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, dict):
        output = list(output.values())
    elif isinstance(output, OnlyHidden):
        output = [output.hidden]
    return next(first_tensor(part) for part in output if part is not None)


def stored(module, folder, name="layer", validation=None, **options):
    """What is written of one layer after a fit."""
    writer = RepresentationWriter(folder / "rows", [name], dtype="float32", **options)
    fit_by_default(module, folder, [writer], validation)
    (path,) = (folder / "rows" / "step_000010").glob("*.safetensors")
    return load_representations(path).layers[name]


def outputs(module):
    """What the layer gives for the module's first examples."""
    module.eval()
    with torch.no_grad():
        return module.layer(module.data(26).tensors[0])
