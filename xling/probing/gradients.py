"""Computes gradients of one example at a time, and what a set of them says of a layer."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn


def example_gradients(
    loss: Callable[[Any], Tensor], batch: Any, n: int, layers: Sequence[Sequence[nn.Parameter]]
) -> list[list[Tensor]]:
    """Compute the gradient of the loss on each of a batch's first examples.

    Args:
        loss: function from a batch of one example to its loss, a scalar.
        batch: tensors (in dicts, lists or tuples) whose first axis is the example.
        n: number of examples.
        layers: the parameters of each layer.

    Returns:
        Per example and layer one flat float32 tensor, as long as the layer has parameters; those that the loss does not reach
        have a gradient of 0.
    """
    parameters = [parameter for layer in layers for parameter in layer]
    by_example = []
    for index in range(n):
        gradients = torch.autograd.grad(loss(one_example(batch, index)), parameters, allow_unused=True)
        pairs = zip(gradients, parameters, strict=True)
        flat = iter([(torch.zeros_like(p) if g is None else g).flatten().float() for g, p in pairs])
        by_example.append([torch.cat([next(flat) for _ in layer]) for layer in layers])
    return by_example


def one_example(batch: Any, index: int) -> Any:
    """Make the batch that holds one example of `batch` alone; what is no tensor stays as it is."""
    if isinstance(batch, Tensor):
        return batch[index : index + 1].clone()
    if isinstance(batch, dict):
        return {name: one_example(part, index) for name, part in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(one_example(part, index) for part in batch)
    return batch


class GradientSums:
    """Sums gradients of examples and their squared norms, layer by layer.

    Attributes:
        n: number of examples so far.
        sums: sum of the gradients of each layer, one flat float32 tensor per layer.
        squares: sum of the gradients' squared norms, one number per layer.
    """

    def __init__(self) -> None:
        self.n, self.sums, self.squares = 0, [], []  # type: int, list[Tensor], list[float]

    def add(self, gradients: Sequence[Annotated[Tensor, "[_] float"]]) -> None:
        """Add one example's gradients, one flat tensor per layer."""
        squares = [float(gradient.double().square().sum()) for gradient in gradients]
        if self.n == 0:
            self.sums, self.squares = [gradient.clone() for gradient in gradients], squares
        else:
            for total, gradient in zip(self.sums, gradients, strict=True):
                total += gradient
            self.squares = [a + b for a, b in zip(self.squares, squares, strict=True)]
        self.n += 1

    def measures(self, reference: "GradientSums | None" = None) -> list[dict[str, float]]:
        """Describe every layer.

        Args:
            reference: sums of the source language, with which the direction is compared; None: no comparison.

        Returns:
            Per layer gradient_norm (norm of the mean gradient), fisher_trace (mean squared norm of single examples' gradients,
            which is the trace of the empirical Fisher matrix) and, with a reference, gradient_cosine (cosine of the two mean
            gradients, -1..1; NaN where one of them is 0).
        """
        rows = []
        for layer, (total, square) in enumerate(zip(self.sums, self.squares, strict=True)):
            norm = float(total.double().norm())
            row = {"gradient_norm": norm / self.n, "fisher_trace": square / self.n}
            if reference is not None:
                other = reference.sums[layer]
                size = norm * float(other.double().norm())
                row["gradient_cosine"] = float(total.double() @ other.double()) / size if size else float("nan")
            rows.append(row)
        return rows
