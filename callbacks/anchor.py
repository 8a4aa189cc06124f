"""Keeps representations near those from before training, by a penalty on their distance."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch import distributed as dist

from xling.callbacks._batches import GroupChoice, group_ids
from xling.callbacks._masks import Masks, decoder_layers
from xling.callbacks._treated_layers import KeepsBase, updated_by
from xling.checks import check_strength
from xling.errors import XlingValueError, check_known
from xling.interventions.during_training import anchor_distance
from xling.interventions.kinds import FORMS
from xling.machine.distributed import is_distributed
from xling.models.pooling import Pooling
from xling.probing.axes import FeatureAxis
from xling.probing.pooling import layer_poolings
from xling.probing.select import LayerChoice, select_layers
from xling.probing.tap import LayerTap

Forward = Callable[[pl.LightningModule, Any], Any]


class Anchor(KeepsBase):
    """A penalty ``strength x mean over layers of distance(now, base)`` on pooled representations of chosen layers.

    Kin of REPINA (arXiv:2205.11603: L2) and TRepLiNa (arXiv:2510.06249: CKA). The distance is
    :func:`xling.interventions.during_training.anchor_distance`. Before every optimiser step one batch is encoded twice more, in
    evaluation mode and float32: by the base without gradients and by the module as it is, with them. The gradient is added to
    the task's before gradients are clipped; the logged loss is the task's alone. With strength 0 nothing is done, to the bit.

    Costs a copy of all trainable weights, and about two forward passes and a backward pass per step. Runs on ``setup``,
    ``on_fit_start``, ``on_train_batch_start`` (remember the batch), ``on_before_optimizer_step``, ``teardown``; put it after
    TrainUsedRows.

    Args:
        strength: factor of the penalty, at least 0.
        layers: which layers are kept near the base, see :class:`TreatsLayers`; with `names`, which of the modules they match.
        form: ``l2`` or ``cka``.
        every_n_steps: optimiser steps from one penalty to the next.
        batches: batches that are encoded in turn, one per penalty, e.g. text of other languages, the same on every process;
            None: the training batch (with accumulated gradients the last one).
        pooling: how a layer's output becomes one vector per example, see :class:`xling.callbacks._probe.RepresentationProbe`.
        groups: which rows are not independent, for ``cka``; see :class:`xling.callbacks._probe.RepresentationProbe`.
        forward: encodes a batch, ``forward(module, batch)``; None: ``module(batch)``.
        names: patterns of module names in a module of any kind; None: an encoder's layers.
        feature_axis: see :class:`xling.callbacks._probe.RepresentationProbe`.

    Raises:
        XlingValueError: `strength` is negative, `form` is unknown, `batches` is empty, or `every_n_steps` is less than 1.
    """

    def __init__(
        self,
        strength: float,
        layers: str | Iterable[int] | None = None,
        form: str = "l2",
        every_n_steps: int = 1,
        batches: Sequence[Any] | None = None,
        pooling: str | Pooling = "mean",
        groups: GroupChoice = None,
        forward: Forward | None = None,
        names: LayerChoice = None,
        feature_axis: FeatureAxis = None,
    ) -> None:
        super().__init__(layers, names)
        check_strength("strength", strength)
        check_known("form of an anchor", form, FORMS)
        if every_n_steps < 1 or (batches is not None and not len(batches)):
            what = f"every_n_steps={every_n_steps}" if every_n_steps < 1 else "no batches"
            raise XlingValueError(
                f"expected an anchor at every 1 or more steps, on at least one batch, got {what}; correct that argument"
            )
        self.strength, self.form, self.every_n_steps = strength, form, every_n_steps
        self.batches, self.pooling, self.groups = batches, pooling, groups
        self.forward, self.feature_axis = forward or (lambda module, batch: module(batch)), feature_axis
        self._batch: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the layers, and copy the weights.

        Raises:
            XlingValueError: `form` is ``cka`` and the training batch is spread over several processes.
        """
        super().setup(trainer, pl_module, stage)
        if stage != "fit" or self.strength == 0:
            return
        if self.form == "cka" and self.batches is None and is_distributed():
            raise XlingValueError(
                "an anchor by CKA needs all rows of its batch in one process; use form=l2, give batches (languages), or one process"
            )
        self.keep(parameter for parameter in pl_module.parameters() if parameter.requires_grad)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch until the optimiser steps."""
        self._batch = batch

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add the penalty's gradient."""
        step = trainer.global_step
        own = updated_by(optimizer, self.kept)
        if self.strength == 0 or step % self.every_n_steps or not own:
            return
        batch = self._batch
        if self.batches is not None:
            batch = trainer.strategy.batch_to_device(self.batches[step // self.every_n_steps % len(self.batches)])
        distance, n_rows = self.distance(pl_module, batch)
        gradients = torch.autograd.grad(self.strength * distance, own, allow_unused=True)
        is_cut = self.batches is None and is_distributed()  # each process has other rows of the batch
        for parameter, gradient in zip(
            own, _over_processes(gradients, own, n_rows) if is_cut else gradients, strict=True
        ):
            if gradient is not None:
                parameter.grad = gradient.to(parameter.dtype) if parameter.grad is None else parameter.grad + gradient

    def distance(self, module: pl.LightningModule, batch: Any) -> tuple[Tensor, int]:
        """Compute the penalty's distance for a batch, in evaluation mode.

        Returns:
            The mean distance over the treated layers, a scalar with its graph, and the number of rows that count.
        """
        training = {part: part.training for part in module.modules()}
        module.eval()
        try:
            with torch.no_grad(), self.as_before_training():
                base = self._representations(module, batch, keeps_graph=False)
            with torch.enable_grad():
                now = self._representations(module, batch, keeps_graph=True)
                groups = group_ids(module, batch, len(now[0]), self.groups) if self.form == "cka" else None
                pairs = zip(now, base, strict=True)
                distances = [anchor_distance(rows, before, self.form, groups) for rows, before in pairs]
                return torch.stack(distances).mean(), _count_rows(module, batch, len(now[0]))
        finally:
            for part, flag in training.items():
                part.training = flag

    def _representations(self, module: pl.LightningModule, batch: Any, *, keeps_graph: bool) -> list[Tensor]:
        every = select_layers(module, self.names)
        chosen = {label: part for index, (label, part) in enumerate(every.items()) if index in self.treated}
        poolings = layer_poolings(self.pooling, module, chosen, self.names, self.feature_axis)
        tap = LayerTap(chosen, poolings, keeps_graph=keeps_graph)
        tap.attach()
        try:
            tap.begin_pass(Masks(module, batch, decoder_layers(module, chosen)))
            with torch.autocast(module.device.type, enabled=False):
                self.forward(module, batch)
            return tap.end_pass()
        finally:
            tap.detach()


def _count_rows(module: pl.LightningModule, batch: Any, n: int) -> int:
    """Count the rows of a batch without those that only fill an empty micro-batch, whose example id is below 0."""
    own = getattr(module, "example_ids", None)
    return int((own(batch) >= 0).sum()) if callable(own) else n


def _over_processes(
    gradients: Sequence[Tensor | None], own: Sequence[nn.Parameter], n_rows: int
) -> list[Tensor | None]:
    """Combine the processes' gradients into those of the mean over all rows.

    Each process has the gradients of the mean over its own rows, so that they are weighted by its number of rows.
    """
    total = torch.tensor(float(n_rows), device=own[0].device)
    dist.all_reduce(total)
    found: list[Tensor | None] = []
    for gradient in gradients:
        if gradient is None:  # the same parameters on every process: a layer that a pass does not reach
            found.append(None)
            continue
        shared = gradient * (n_rows / total)
        dist.all_reduce(shared)
        found.append(shared)
    return found
