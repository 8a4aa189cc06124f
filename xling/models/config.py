"""Gives a Hugging Face encoder's configuration its type, since to torch every attribute of a module is a tensor or a module."""

from typing import cast

from torch import nn
from transformers import PretrainedConfig


def config_of(encoder: nn.Module) -> PretrainedConfig:
    """Return the encoder's own ``config``, not a copy of it."""
    return cast(PretrainedConfig, encoder.config)
