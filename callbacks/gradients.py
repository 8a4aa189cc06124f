"""Measures how alike the gradients of source and target are, layer by layer."""

from collections.abc import Callable
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from xling.callbacks._batches import is_fit, loader_names, moment
from xling.callbacks._records import KeepsRecords
from xling.errors import XlingValueError
from xling.interventions.parameters import LayerNames, parameters_by_layer
from xling.probing.gradients import GradientSums, example_gradients

Loss = Callable[[pl.LightningModule, Any], Tensor]


class GradientMonitor(KeepsRecords):
    """Compares the gradients of every validation loader's first examples with the gradients of the source's.

    The task's loss needs labels, so that labels of targets are read here. That makes it a diagnosis, and its results must not
    guide a zero-shot decision. Examples go through the module one by one, in evaluation mode, at every validation within a fit.
    Their gradients never touch ``.grad``, and weights come out as without this callback, to the bit. It costs a forward and a
    backward pass per example. Layers whose parameters are all frozen have no record. Of several processes each reads its own
    part of the examples, and only process 0's is recorded.

    Runs on ``on_validation_start``, ``on_validation_batch_end``, ``on_validation_end``.

    Args:
        reference: name of the source's loader; it must come first.
        n_examples: number of examples per loader, at least 1.
        loss: function ``loss(module, batch)`` that returns a batch's loss, a scalar; None: ``module.loss(batch)``, where a method
            that returns a pair gives the sum of losses and what to divide it by.
        names: where the layers are, see :func:`xling.interventions.parameters.parameters_by_layer`.

    Attributes:
        records: one dict per validation, loader and layer: loader, layer, epoch, step, n_examples, gradient_cosine (with the
            source's; 1 for the source itself), gradient_norm, fisher_trace.

    Raises:
        XlingValueError: `n_examples` is less than 1.
    """

    def __init__(
        self, reference: str, n_examples: int = 16, loss: Loss | None = None, names: LayerNames = None
    ) -> None:
        if n_examples < 1:
            raise XlingValueError(f"expected n_examples of at least 1, got {n_examples}")
        self.reference, self.n_examples = reference, n_examples
        self.loss, self.names = loss or _own_loss, names
        self.records: list[dict[str, Any]] = []
        self._sums: dict[str, GradientSums] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start without records, unless the fit is resumed."""
        self.empty_unless_resumed(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop the sums of an earlier validation."""
        self._sums = {}

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add gradients of the batch's examples until there are enough of this loader.

        Raises:
            XlingValueError: the source's loader does not come first.
        """
        if trainer.sanity_checking or not is_fit(trainer):
            return
        loader = loader_names(trainer)[dataloader_idx]
        if loader != self.reference and self.reference not in self._sums:
            raise XlingValueError(
                f"expected the reference loader {self.reference!r} first, found {loader!r}; reorder them"
            )
        sums = self._sums.setdefault(loader, GradientSums())
        n = min(self.n_examples - sums.n, _size(batch))
        if n <= 0:
            return
        layers = [[p for p in layer if p.requires_grad] for _, layer in self._layers(pl_module)]
        with torch.inference_mode(False), torch.enable_grad():
            for gradients in example_gradients(lambda part: self.loss(pl_module, part), batch, n, layers):
                sums.add(gradients)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record every loader, and drop the sums."""
        reference = self._sums.get(self.reference)
        for loader, sums in self._sums.items():
            for (layer, _), row in zip(self._layers(pl_module), sums.measures(reference), strict=True):
                self.records.append({"loader": loader, "layer": layer} | moment(trainer) | {"n_examples": sums.n} | row)
        self._sums = {}

    def _layers(self, pl_module: pl.LightningModule) -> list[tuple[int, list]]:
        """List index and parameters of every layer in which something trains."""
        every = enumerate(parameters_by_layer(pl_module, self.names))
        return [(layer, own) for layer, own in every if any(parameter.requires_grad for parameter in own)]


def _own_loss(module: pl.LightningModule, batch: Any) -> Tensor:
    found = cast(Any, module).loss(batch)
    return found[0] / found[1] if isinstance(found, tuple) else found


def _size(batch: Any) -> int:
    parts = batch.values() if isinstance(batch, dict) else batch
    return len(next(part for part in parts if isinstance(part, Tensor)))
