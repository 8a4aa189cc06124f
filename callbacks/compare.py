"""All layers of one loader against the base, streamed: layers of equal width are one stack."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from xling.similarity import Marginal, Moments, Result

Measure = Callable[[Moments, Marginal], Result]


class Comparison:
    """Accumulates paired rows of base and present, then computes measures per layer.

    Args:
        base: per layer, all rows of the base, [n, hidden] on the device.
        measures: by name.
        marginals: self-terms of the base as :attr:`marginals` of an earlier comparison, which saves computing them again.
    """

    def __init__(
        self, base: list[Tensor], measures: Mapping[str, Measure], marginals: list[Marginal] | None = None
    ) -> None:
        self._base, self._measures = base, measures
        self._stacks = _by_width(base)
        self.marginals = marginals or [Marginal.of(self._rows(stack, slice(None))) for stack in self._stacks]
        self._moments: list[Moments] = []
        self._seen: list[Tensor] = []

    def update(self, rows: Tensor, layers: list[Tensor]) -> None:
        """Add a batch.

        Args:
            rows: which rows of the base, [b] int64.
            layers: per layer, the representations of the same examples now, [b, hidden].
        """
        self._seen.append(rows)
        before = [self._rows(stack, rows) for stack in self._stacks]
        now = [torch.stack([layers[index] for index in stack]) for stack in self._stacks]
        if not self._moments:
            self._moments = [Moments.start(*pair) for pair in zip(before, now, self.marginals, strict=True)]
        for moments, x, y in zip(self._moments, before, now, strict=True):
            moments.update(x, y)

    def compute(self) -> list[dict[str, Any]]:
        """Per layer: every measure by name, n_examples, and reason (of the first NaN, else empty)."""
        results: list[dict[str, Any]] = [{"reason": "", "n_examples": int(self._moments[0].n)} for _ in self._base]
        for number, stack in enumerate(self._stacks):
            base = self._self_term(number)
            for name, measure in self._measures.items():
                result = measure(self._moments[number], base)
                for index, value, reason in zip(stack, result.value.tolist(), result.reason, strict=True):
                    results[index] |= {name: value, "reason": results[index]["reason"] or reason}
        return results

    def _self_term(self, number: int) -> Marginal:
        """The base's self-term over the rows seen: the given one if these are all, else of those alone."""
        given = self.marginals[number]
        if int(given.n) == int(self._moments[number].n):
            return given
        seen = Marginal.empty(given.shift)
        seen.update(self._rows(self._stacks[number], torch.cat(self._seen)))
        return seen

    def _rows(self, stack: list[int], rows: Tensor | slice) -> Tensor:
        return torch.stack([self._base[index][rows] for index in stack])


def _by_width(layers: list[Tensor]) -> list[list[int]]:
    """Positions of layers, grouped by width, in order."""
    widths: dict[int, list[int]] = {}
    for index, layer in enumerate(layers):
        widths.setdefault(layer.shape[-1], []).append(index)
    return list(widths.values())
