"""The configuration of a Hugging Face encoder, with its type: torch knows attributes of a module as tensors or modules."""

from typing import cast

from torch import nn
from transformers import PretrainedConfig


def config_of(encoder: nn.Module) -> PretrainedConfig:
    """The encoder's own ``config``, not a copy of it."""
    return cast(PretrainedConfig, encoder.config)
