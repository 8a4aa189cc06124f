"""Everything this project uses of other packages that they do not promise to keep, in one place.

A new version of one of them may move or change these; tests/test_private.py says what is relied on, so that an upgrade fails there
and not in the middle of somebody's run.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

if TYPE_CHECKING:
    from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher as SubprocessScriptLauncher
    from torch.nn.modules.batchnorm import _NormBase as NormBase
    from torch.nn.utils.parametrizations import _SpectralNorm as SpectralNorm

__all__ = ["BasicSweeper", "NormBase", "SpectralNorm", "SubprocessScriptLauncher", "apply_overrides", "is_group"]


def apply_overrides(overrides: list[Override], config: DictConfig) -> None:
    """Set what the overrides of values say, in their order, as Hydra does once it has merged the chosen files.

    Raises:
        HydraException: there is no such setting.
    """
    ConfigLoaderImpl._apply_overrides_to_config(overrides, config)


def is_group(loader: ConfigLoader, name: str) -> bool:
    """Whether a folder of the configuration has that name, so that an override of it chooses a file."""
    if not isinstance(loader, ConfigLoaderImpl):
        raise TypeError(f"expected Hydra's ConfigLoaderImpl, got {type(loader).__name__}; see the version of Hydra")
    return loader.repository.group_exists(name)


_LATE = {
    "NormBase": ("torch.nn.modules.batchnorm", "_NormBase"),
    "SpectralNorm": ("torch.nn.utils.parametrizations", "_SpectralNorm"),
    "SubprocessScriptLauncher": ("pytorch_lightning.strategies.launchers", "_SubprocessScriptLauncher"),
}


def __getattr__(name: str) -> Any:
    """Import what is torch's and Lightning's on first use: a sweep is composed without them."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _LATE[name]
    return getattr(importlib.import_module(module), own_name)
