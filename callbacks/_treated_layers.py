"""Base classes of the callbacks that intervene: they find the parameters to treat, and keep them as they were before training."""

from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.interventions.parameters import LayerNames, choose_layers, copies_of, parameters_by_layer, trainable
from xling.machine.processes import shards_parameters
from xling.models.encoders import content_hash
from xling.models.layers import looking_in_setup


class TreatsLayers(pl.Callback):
    """Base class: finds the parameters of chosen layers in ``setup``, which runs before ``configure_optimizers``.

    Args:
        layers: which of the module's layers are treated, e.g. ``"1-4"`` or ``[1, 2]``, 0 = embeddings; None: all.
        names: where the module's layers are, see :func:`xling.interventions.parameters.parameters_by_layer`; None: those of the
            encoder inside it.

    Attributes:
        by_layer: parameters of every layer, lowest first; empty outside a fit.
        treated: indices of the treated layers.
    """

    def __init__(self, layers: str | Iterable[int] | None = None, names: LayerNames = None) -> None:
        self.layers, self.names = layers, names
        self.by_layer: list[list[nn.Parameter]] = []
        self.treated: tuple[int, ...] = ()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the layers when a fit begins.

        Raises:
            XlingValueError: a layer does not exist, no parameter of the treated layers trains, or the trainer's strategy shards
                parameters.
        """
        if stage != "fit":
            return
        who = type(self).__name__
        if shards_parameters(trainer):
            raise XlingValueError(
                f"{who} treats whole parameters, and {type(trainer.strategy).__name__} shards them; use DDP"
            )
        with looking_in_setup(pl_module, who):
            self.by_layer = parameters_by_layer(pl_module, self.names)
        self.treated = choose_layers(self.layers, len(self.by_layer) - 1)
        trainable([parameter for layer in self.treated for parameter in self.by_layer[layer]], who)

    def parameters(self, layers: Iterable[int] | None = None) -> list[nn.Parameter]:
        """Trainable parameters of `layers`; None: of the treated layers."""
        chosen = self.treated if layers is None else layers
        return [parameter for layer in chosen for parameter in self.by_layer[layer] if parameter.requires_grad]

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Drop the references to the parameters."""
        self.by_layer = []


class KeepsBase(TreatsLayers):
    """Base class: also keeps copies of parameters as they were before training.

    A checkpoint holds only the copies' fingerprint, because a resumed fit builds the module anew, with the weights from before
    training, before Lightning loads the checkpoint into it. The fingerprint shows whether they are the same weights.
    """

    def __init__(self, layers: str | Iterable[int] | None = None, names: LayerNames = None) -> None:
        super().__init__(layers, names)
        self.kept: list[nn.Parameter] = []
        self.origins: list[Tensor] = []
        self._fingerprint = ""

    def keep(self, parameters: Iterable[nn.Parameter]) -> None:
        """Copy parameters; to be called in ``setup``, which runs before a checkpoint is loaded."""
        self.kept = list(parameters)
        self.origins = copies_of(self.kept)
        self._fingerprint = content_hash(nn.ParameterList(self.origins))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the copies to the devices of the parameters."""
        pairs = zip(self.origins, self.kept, strict=True)
        self.origins = [origin.to(parameter.device) for origin, parameter in pairs]

    @contextmanager
    def as_before_training(self):
        """Have the module compute with the copies within the block, in a pass without gradients.

        The data of the parameters are exchanged in place, so that a graph built inside would refer to the wrong weights outside.
        """
        now = [parameter.data for parameter in self.kept]
        try:
            for parameter, origin in zip(self.kept, self.origins, strict=True):
                parameter.data = origin
            yield
        finally:
            for parameter, data in zip(self.kept, now, strict=True):
                parameter.data = data

    def state_dict(self) -> dict[str, Any]:
        """Return the fingerprint of the copies."""
        return {"base": self._fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that the copies are those of the fit that goes on.

        Raises:
            XlingValueError: the module had other weights before training.
        """
        if self._fingerprint and state_dict["base"] != self._fingerprint:
            raise XlingValueError(
                f"{type(self).__name__} goes on from a checkpoint of a fit that began with other weights; build the module "
                "with the weights it had before training (the same base, the same seed)"
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Drop the references to parameters and copies."""
        super().teardown(trainer, pl_module, stage)
        self.kept, self.origins = [], []


def updated_by(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """The parameters that this optimiser updates; a module may have several optimisers."""
    stepped = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    return [parameter for parameter in parameters if parameter in stepped]
