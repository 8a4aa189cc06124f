"""Lets the processes of one training act as one: they gather values, and follow the mean loss over all of them."""

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
    """Gather every process's `value`, which must be picklable, in the order of ranks; every process must call this."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def sum_over_processes(values: Tensor) -> Tensor:
    """Add up every process's `values` (any shape); `values` itself where there is one process."""
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
    """Mixin of a LightningModule by which each optimiser step follows the mean loss over all examples of that step.

    Lightning averages gradients over processes and over the parts of ``accumulate_grad_batches`` as if all were of one
    size. Here a part is weighted by its number of items (examples, labelled tokens), so that a step does not depend on how its
    batch was cut into micro-batches, of which one may be smaller than another, or empty.

    ``training_step`` returns ``self.step_mean(summed loss, number of items)``.
    """

    _reference: Tensor | None = None
    _so_far: Tensor | None = None

    def step_mean(self, loss_sum: Tensor, n_items: Tensor | int) -> Tensor:
        """Compute the loss to return from ``training_step`` and to log.

        Its value is the mean over all processes and over the parts of this step so far. Its gradient, after Lightning has
        averaged it and :meth:`on_before_optimizer_step` has rescaled it, is that of the mean over the whole step.

        Args:
            loss_sum: sum of the losses of this process's items in this part, a scalar that has a graph even without items.
            n_items: number of these items.
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
        """Rescale gradients to the number of items in the step, which is known only now if the step had several parts."""
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
        """Clip gradients as Lightning does, and also in two cases that it refuses.

        Sharded parameters are clipped by the norm over all shards. A fused optimizer is clipped where gradients are not scaled
        (as under bfloat16 autocast), so that there is no scale which the optimizer would have to undo first.
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
