"""Gives lower layers smaller learning rates."""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from xling.callbacks._treated_layers import TreatsLayers, updated_by
from xling.errors import XlingValueError
from xling.interventions.during_training import rate_factor, shorten_steps
from xling.interventions.parameters import LayerNames, copies_of


class LayerwiseRates(TreatsLayers):
    """Multiplies layer i's learning rate by ``decay ** (n - i)``, n being the top layer; parameters in no layer keep their rate.

    The optimiser's step is shortened after it was made, which is the same for SGD and Adam(W) and works under any schedule.
    With decay 1 nothing is done, to the bit. Costs a copy of the treated weights per step. Runs on ``setup``,
    ``on_before_optimizer_step`` (copy), ``on_train_batch_end`` (shorten), ``teardown``.

    Args:
        decay: 0..1, e.g. 0.9; 0 trains the top layer and the head alone.
        names: see :class:`TreatsLayers`.

    Raises:
        XlingValueError: `decay` is outside 0..1.
    """

    def __init__(self, decay: float, names: LayerNames = None) -> None:
        super().__init__(None, names)
        if isinstance(decay, bool) or not 0 <= decay <= 1:
            raise XlingValueError(f"expected decay between 0 and 1, got {decay!r}")
        self.decay = decay
        self._before: dict[nn.Parameter, Tensor] = {}

    def factors(self) -> dict[nn.Parameter, float]:
        """The factor of every trainable parameter whose rate changes."""
        n_layers = len(self.by_layer) - 1
        factors = {
            parameter: rate_factor(layer, n_layers, self.decay)
            for layer in self.treated
            for parameter in self.parameters([layer])
        }
        return {parameter: factor for parameter, factor in factors.items() if factor != 1}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Copy the parameters that the step will change; if the batch has several steps, keep the copy from before the first."""
        own = [parameter for parameter in updated_by(optimizer, self.factors()) if parameter not in self._before]
        self._before |= dict(zip(own, copies_of(own), strict=True))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Scale the change that the step has made by each layer's factor."""
        if self._before:
            factors = self.factors()
            changed = list(self._before)
            shorten_steps(changed, list(self._before.values()), [factors[parameter] for parameter in changed])
            self._before = {}
