"""A measure: the mean cosine of each example's two centred vectors."""

import torch
from torch import Tensor

from xling.similarity.registry import Measure


def mean_cosine(x: Tensor, y: Tensor) -> Tensor:
    """Mean over examples of the cosine between centred rows x and y, each [n, d]; a float64 scalar in -1..1."""
    return torch.nn.functional.cosine_similarity(x.double(), y.double(), dim=1).mean()


COSINE = Measure(
    "cosine", frozenset({"translation", "isotropic_scaling", "joint_row_permutation"}), of_centred_rows=mean_cosine
)
