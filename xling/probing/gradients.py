"""Gradients of one example at a time, and what a set of them says of a layer."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn


def example_gradients(
    loss: Callable[[Any], Tensor], batch: Any, n: int, layers: Sequence[Sequence[nn.Parameter]]
) -> list[list[Tensor]]:
    """Gradients of each of a batch's first examples.

    Args:
        loss: of a batch of one example, a scalar.
        batch: tensors (in dicts, lists or tuples) whose first axis is the example.
        n: how many examples.
        layers: per layer the parameters.

    Returns:
        Per example and layer one flat float32 tensor; parameters that the loss does not reach count as 0.
    """
    every = [parameter for layer in layers for parameter in layer]
    found = []
    for index in range(n):
        gradients = torch.autograd.grad(loss(one_example(batch, index)), every, allow_unused=True)
        pairs = zip(gradients, every, strict=True)
        flat = iter([(torch.zeros_like(p) if g is None else g).flatten().float() for g, p in pairs])
        found.append([torch.cat([next(flat) for _ in layer]) for layer in layers])
    return found


def one_example(batch: Any, index: int) -> Any:
    """The batch that holds one example of a batch alone."""
    if isinstance(batch, Tensor):
        return batch[index : index + 1].clone()
    if isinstance(batch, dict):
        return {name: one_example(part, index) for name, part in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(one_example(part, index) for part in batch)
    return batch


class GradientSums:
    """Sums over examples of gradients and of their squared norms, layer by layer."""

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
            reference: the source's sums.

        Returns:
            Per layer gradient_norm (of the mean gradient), fisher_trace (mean squared norm of single examples' gradients: the
            trace of the empirical Fisher matrix) and, beside a reference, gradient_cosine of the two mean gradients, -1..1; NaN
            where one is 0.
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
