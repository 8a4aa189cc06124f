"""Gathers what this project uses of torch's private parts; see :mod:`xling.machine.private` for other packages.

It is a module of its own because callbacks need it where Hydra is not wanted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase as NormBase
from torch.nn.modules.conv import _ConvNd as ConvNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd
from torch.nn.utils.parametrizations import _SpectralNorm as SpectralNorm

__all__ = ["POOLS", "ConvNd", "NormBase", "SpectralNorm", "forward_pre_hooks", "multiply_in_place"]

POOLS = (_MaxPoolNd, _AvgPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd)
"""Base classes of torch's pooling layers."""


def forward_pre_hooks(module: nn.Module) -> list:
    """List the functions that run before the module's forward pass."""
    return list(module._forward_pre_hooks.values())


def multiply_in_place(tensors: Sequence[Tensor], factor: Tensor) -> None:
    """Multiply many tensors by one scalar tensor, in one call for all of them."""
    torch._foreach_mul_(list(tensors), factor)
