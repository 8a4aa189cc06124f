"""Reads the outputs of layers during a forward pass that runs anyway."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.models.layers import output_of

Pooling = Callable[[Tensor, Tensor | None], Tensor]
"""Function of hidden states [batch, ...] and their mask that gives [batch, features]."""

MaskOf = Callable[[Any], Tensor | None]
"""Function of a layer's label that gives its padding mask [batch, sequence], or None."""


class LayerTap:
    """Forward hooks that pool each layer's output at once, so that no hidden state outlives its layer.

    An output that cannot be read raises XlingValueError during the forward pass; the message names the layer.

    Args:
        modules: layer label -> module whose output is that layer.
        pooling: function (hidden states, mask) -> [batch, features], one for all layers or one for each label.
        dtype: type to which hidden states are converted before pooling, and in which the pooled vectors are kept.
        keeps_graph: whether gradients can flow back through the pooled vectors.
    """

    def __init__(
        self,
        modules: Mapping[Any, nn.Module],
        pooling: Pooling | Mapping[Any, Pooling],
        dtype: torch.dtype = torch.float32,
        keeps_graph: bool = False,
    ) -> None:
        self.keeps_graph = keeps_graph
        self.modules, self.dtype = dict(modules), dtype
        self.pooling = pooling if isinstance(pooling, Mapping) else dict.fromkeys(self.modules, pooling)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._mask: Tensor | MaskOf | None = None
        self._pooled: dict[Any, Tensor] | None = None

    def attach(self) -> None:
        """Register the hooks (once)."""
        if not self._handles:
            self._handles = [module.register_forward_hook(self._hook(label)) for label, module in self.modules.items()]

    def detach(self) -> None:
        """Remove the hooks, and forget what they have recorded."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._mask, self._pooled = [], None, None

    def begin_pass(self, mask: Tensor | MaskOf | None) -> None:
        """Record the forward pass that follows.

        Args:
            mask: padding mask of the batch [batch, sequence], one for all layers or a function of a layer's label; None: the
                batch has no padding.
        """
        self._mask, self._pooled = mask, {}

    def end_pass(self) -> list[Annotated[Tensor, "[_, _] float"]]:
        """Return the pooled outputs recorded since :meth:`begin_pass`: [batch, features] per layer, in the layers' order.

        Raises:
            XlingValueError: a layer did not run.
        """
        pooled, self._pooled = self._pooled or {}, None
        silent = [label for label in self.modules if label not in pooled]
        if silent:
            raise XlingValueError(
                f"layer {silent[0]} did not run in this validation batch (or runs where hooks are lost, e.g. compiled); "
                "choose layers that the validation step calls"
            )
        return [pooled[label] for label in self.modules]

    def _mask_of(self, label: Any) -> Tensor | None:
        return self._mask if self._mask is None or isinstance(self._mask, Tensor) else self._mask(label)

    def _hook(self, label: Any) -> Callable:
        def pool(module: nn.Module, inputs: tuple, output: Any) -> None:
            if self._pooled is None:
                return
            if label in self._pooled:
                raise XlingValueError(
                    f"layer {label} ran twice in one validation batch, so a row has two representations; choose another layer"
                )
            try:
                hidden_states = output_of(output).to(self.dtype)
                hidden_states = hidden_states if self.keeps_graph else hidden_states.detach()
                mask = self._mask_of(label) if hidden_states.dim() == 3 else None
                # autocast would compute the mean, a matrix product, in its lower precision again
                with torch.autocast(hidden_states.device.type, enabled=False):
                    pooled = self.pooling[label](hidden_states, mask)
            except XlingValueError as error:
                raise XlingValueError(f"layer {label}: {error}") from error
            self._pooled[label] = _in_memory_of_its_own(pooled, hidden_states)

        return pool


def _in_memory_of_its_own(pooled: Tensor, hidden_states: Tensor) -> Tensor:
    """Copy `pooled` if it is a view of the hidden states, all of which it would keep alive, and with which it would change."""
    is_view = pooled.untyped_storage().data_ptr() == hidden_states.untyped_storage().data_ptr()
    return pooled.clone(memory_format=torch.contiguous_format) if is_view else pooled
