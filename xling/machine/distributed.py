"""Several processes as one: a loss over all of them, decisions that all follow, errors that all share."""

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.utilities.enums import GradClipAlgorithmType
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel

from xling.machine.private_torch import multiply_in_place

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether this process is one of several that are connected."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def gather_objects(value: T) -> list[T]:
    """Every process's `value`, which can be pickled, in the order of ranks; every process must call it."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of every process's `values` (any shape); `values` itself where there is one process."""
    if not is_distributed():
        return values
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total


if TYPE_CHECKING:
    from pytorch_lightning import LightningModule as _LightningModule
else:
    _LightningModule = object  # a mixin at run time: what it is mixed into brings trainer and clip_gradients


class StepMeanLoss(_LightningModule):
    """Mixin of a LightningModule: each optimiser step follows the mean loss over everything that step covers.

    Lightning averages gradients over processes and over the parts of ``accumulate_grad_batches`` as if all were of one
    size. Here a part counts by its items (examples, labelled tokens), so a step does not depend on how its batch was cut
    into micro-batches, of which one may be smaller than another, or empty.

    ``training_step`` returns ``self.step_mean(summed loss, number of items)``.
    """

    _reference: Tensor | None = None
    _so_far: Tensor | None = None

    def step_mean(self, loss_sum: Tensor, n_items: Tensor | int) -> Tensor:
        """The loss to return and to log.

        Its value is the mean over all processes and over the parts of this step so far; its gradient, averaged by
        Lightning and put right before the optimiser steps, is that of the mean over the whole step.

        Args:
            loss_sum: sum of the losses of this process's items in this part, scalar with a graph even where there are none.
            n_items: how many items that is.
        """
        own = torch.stack([loss_sum.detach().float(), torch.as_tensor(n_items).to(loss_sum.device).float()])
        part = sum_over_processes(own)
        parts = self.trainer.accumulate_grad_batches
        reference, so_far = self._reference, self._so_far
        if reference is None or so_far is None:
            reference, so_far = (part[1] * parts).clamp(min=1), torch.zeros_like(part)
        so_far = so_far + part
        self._reference, self._so_far = reference, so_far
        loss = loss_sum * (self.trainer.world_size * parts) / reference
        mean = so_far[0] / so_far[1].clamp(min=1)
        return loss + (mean - loss).detach()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide by the number of items the step really had; it is known only now where there are several parts."""
        if self.trainer.accumulate_grad_batches > 1:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            if gradients and self._reference is not None and self._so_far is not None:
                multiply_in_place(gradients, self._reference / self._so_far[1].clamp(min=1))
        self._reference = self._so_far = None

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, and where it refuses to: by the norm over all shards of sharded parameters, and for a fused
        optimizer under bfloat16 autocast, which scales nothing that the optimizer would have to undo first.
        """
        if gradient_clip_val is None:
            return
        if isinstance(self.trainer.model, FullyShardedDataParallel):
            self.trainer.model.clip_grad_norm_(gradient_clip_val)
        elif self.trainer.scaler is None:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(self.trainer.precision_plugin, optimizer, gradient_clip_val, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
