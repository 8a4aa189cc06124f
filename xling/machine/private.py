"""What this project uses of Hydra without Hydra's promise to keep it; torch's is in :mod:`xling.machine.private_torch`, Lightning's
in :mod:`xling.machine.lightning`: a sweep is composed without those two.

A new version of one of them may move or change these; tests/test_private.py says what is relied on, so that an upgrade fails there
and not in the middle of somebody's run.
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


def error_of(job: JobReturn) -> Any:
    """What a failed job of Hydra's raised; the public property raises it."""
    return job._return_value
