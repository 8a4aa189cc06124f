"""Wraps other packages that compute CKA, each as one function of features ``[L, n, d]``; they are imported only where installed."""

from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Stored(nn.Module):
    """A model whose layers return stored features for a batch of row numbers, for peers that hook models."""

    def __init__(self, features: Tensor):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        for i, table in enumerate(features):
            self.add_module(f"layer{i}", _Rows(table))

    def forward(self, rows: Tensor) -> Tensor:
        return [layer(rows) for layer in self.children()][-1]


class _Rows(nn.Module):
    def __init__(self, table: Tensor):
        super().__init__()
        self.table = table

    def forward(self, rows: Tensor) -> Tensor:
        return self.table[rows]


def peers(n_layers: int, batch_size: int) -> dict[str, tuple[bool, Callable[[Tensor, Tensor], Tensor]]]:
    """Find the installed peers by name: (whether debiased, function from features to the CKA of each layer)."""
    found = {}
    names = [f"layer{i}" for i in range(n_layers)]

    def loader(x: Tensor) -> DataLoader:
        rows = torch.arange(x.shape[1])
        return DataLoader(TensorDataset(rows, rows), batch_size=batch_size)

    if find_spec("cka"):
        from cka import cka_from_features

        found[f"pytorch-cka {version('pytorch-cka')}"] = True, lambda x, y: cka_from_features(x, y).diagonal()
    if find_spec("ckatorch"):
        from ckatorch.core import cka_base

        found[f"ckatorch {version('ckatorch')}"] = (
            False,
            lambda x, y: torch.stack([cka_base(*pair) for pair in zip(x, y, strict=True)]),
        )
    if find_spec("torch_cka"):
        from torch_cka import CKA as TorchCKA  # noqa: N811

        def torch_cka(x: Tensor, y: Tensor) -> Tensor:
            compare = TorchCKA(Stored(x), Stored(y), model1_layers=names, model2_layers=names, device="cpu")
            try:
                with torch.no_grad(), redirect_stderr(StringIO()):  # its progress bar
                    compare.compare(loader(x))
            except AssertionError:  # "HSIC computation resulted in NANs", at large means
                return torch.full((n_layers,), torch.nan)
            return compare.export()["CKA"].diagonal()

        found[f"torch-cka {version('torch-cka')}"] = True, torch_cka
    if find_spec("cka_pytorch"):
        from cka_pytorch.cka import CKACalculator

        def cka_pytorch(x: Tensor, y: Tensor) -> Tensor:
            models = Stored(x), Stored(y)
            compare = CKACalculator(*models, model1_layers=names, model2_layers=names, verbose=False)
            return compare.calculate_cka_matrix(loader(x), num_epochs=1).diagonal()

        found[f"cka-pytorch {version('cka-pytorch')}"] = True, cka_pytorch
    return found
