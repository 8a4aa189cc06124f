"""Defines the result of a measure: a similarity, or the reason why there is none."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.shapes import PerLayer

ValueT = TypeVar("ValueT")


class UndefinedSimilarityError(XlingValueError):
    """The similarity of these representations does not exist; the message is the reason."""


@dataclass(frozen=True)
class Result:
    """One similarity per layer, never clamped, with a named reason wherever it is NaN.

    Attributes:
        value: float64 ``[...]``, one entry per layer (the leading dimensions of the representations).
        reason: one string per entry of ``value.flatten()``; empty where the value is defined.
    """

    value: PerLayer
    reason: list[str]

    def defined(self) -> PerLayer:
        """Give the values, for callers that need every one of them.

        Raises:
            UndefinedSimilarityError: some layer has no similarity.
        """
        missing = [f"layer {i}: {reason}" if len(self.reason) > 1 else reason for i, reason in enumerate(self.reason)]
        missing = [text for text, reason in zip(missing, self.reason, strict=True) if reason]
        if missing:
            raise UndefinedSimilarityError(
                f"similarity is undefined, {'; '.join(missing)}; leave such layers out, or ask for a Result, which "
                "marks them with NaN"
            )
        return self.value


def collect(compute: Callable[[int], Tensor], shape: tuple[int, ...]) -> Result:
    """Evaluate a function on every layer, and turn each UndefinedSimilarityError into NaN with its reason.

    Args:
        compute: function from a layer's index among the flattened leading dimensions to a scalar.
        shape: the layers' own shape.
    """
    values, reasons = _collect(compute, shape)
    undefined = torch.tensor(math.nan, dtype=torch.float64)
    stacked = torch.stack([undefined if value is None else value.cpu() for value in values])
    return Result(stacked.reshape(shape), reasons)


def collect_numbers(compute: Callable[[int], float], shape: tuple[int, ...]) -> Result:
    """Do what :func:`collect` does with a function that gives Python's floats."""
    values, reasons = _collect(compute, shape)
    numbers = [math.nan if value is None else value for value in values]
    return Result(torch.tensor(numbers, dtype=torch.float64).reshape(shape), reasons)


def _collect(compute: Callable[[int], ValueT], shape: tuple[int, ...]) -> tuple[list[ValueT | None], list[str]]:
    values: list[ValueT | None] = []
    reasons = []
    for layer in range(math.prod(shape)):
        try:
            values.append(compute(layer))
            reasons.append("")
        except UndefinedSimilarityError as undefined:
            values.append(None)
            reasons.append(str(undefined))
    return values, reasons
