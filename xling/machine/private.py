"""Gathers what this project uses of Hydra's private parts, in one place.

Those of torch are in :mod:`xling.machine.private_torch` and those of Lightning in :mod:`xling.machine.lightning`, because a sweep
is composed without importing these two. A new version may move or change private parts. tests/test_private.py checks everything
that is relied on, so that an upgrade fails there and not in the middle of somebody's run.
"""

from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import DictConfig

__all__ = ["BasicSweeper", "apply_overrides", "error_of", "is_group"]


def apply_overrides(overrides: list[Override], config: DictConfig) -> None:
    """Set values in `config` as overrides say, in their order, as Hydra does once it has merged the chosen files.

    Raises:
        HydraException: an override names a setting that does not exist.
    """
    ConfigLoaderImpl._apply_overrides_to_config(overrides, config)


def is_group(loader: ConfigLoader, name: str) -> bool:
    """Whether the configuration has a folder of that name, so that an override of it chooses a file."""
    if not isinstance(loader, ConfigLoaderImpl):
        raise TypeError(f"expected Hydra's ConfigLoaderImpl, got {type(loader).__name__}; see the version of Hydra")
    return loader.repository.group_exists(name)


def error_of(job: JobReturn) -> Any:
    """Return the error of a failed job of Hydra's, where the public property would raise it."""
    return job._return_value
