"""Finds all runs that a command line asks for, before the first of them starts."""

import sys
from typing import Any, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.progress import track

from xling.errors import XlingValueError
from xling.machine.private import BasicSweeper
from xling.settings import RunSettings
from xling.sweeps.composing import SweepComposer


def expand_sweep(config: DictConfig) -> list[RunSettings]:
    """Compose every job of a sweep as Hydra's basic sweeper will.

    Args:
        config: configuration that Hydra gives to ``on_multirun_start``, with Hydra's own node.

    Returns:
        The settings of every job, in order.

    Raises:
        XlingValueError: another sweeper than the basic one is used, whose jobs are only known as it goes on.
    """
    sweeper = config.hydra.sweeper
    if not sweeper["_target_"].endswith(BasicSweeper.__name__):
        raise XlingValueError(
            f"the runs of hydra.sweeper={sweeper['_target_']} cannot be known beforehand; use hydra/sweeper=basic"
        )
    loader = GlobalHydra.instance().config_loader()
    arguments = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    arguments += cast(list[str], OmegaConf.to_container(config.hydra.overrides.task, resolve=False))
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    shown = track(jobs, "composing the runs", transient=True, disable=not sys.stdout.isatty())
    composer = SweepComposer(loader, config)
    return [settings_of_job(composer.compose(job)) for job in shown]


def settings_of_job(config: DictConfig) -> RunSettings:
    """Resolve a composed configuration as a job would see it, without Hydra's own node."""
    hydra_config = HydraConfig.instance()
    before, hydra_config.cfg = hydra_config.cfg, None
    try:
        hydra_config.set_config(config)
        return RunSettings.from_plain(plain_settings(config))
    finally:
        hydra_config.cfg = before


def plain_settings(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration, without Hydra's own node, into plain values.

    Raises:
        XlingValueError: a setting refers to one that does not exist, e.g. because a user's configuration file lacks it.
    """
    try:
        return {str(name): _plain(config[name]) for name in config if name != "hydra"}  # no copy of hundreds of nodes
    except OmegaConfBaseException as error:
        reason = str(error).strip().splitlines()[0]
        raise XlingValueError(
            f"the setting {error.full_key or '?'} cannot be resolved: {reason}; complete the configuration file that should have it"
        ) from error


def _plain(value: Any) -> Any:
    is_nested = OmegaConf.is_config(value)
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if is_nested else value
