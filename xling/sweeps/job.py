"""Gives both long commands what they share: errors as one sentence, sweeps that go on, launchers, near misses of mistyped keys."""

import functools
import logging
import os
import select
import sys
from collections.abc import Callable
from importlib.resources import files
from typing import IO, Any

from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from xling.errors import XlingError, XlingValueError, close_matches
from xling.machine.launchers import check_launcher
from xling.machine.logs import configure_logging
from xling.sweeps.failures import JobFailed, report_failures
from xling.sweeps.own_configs import check_own_configs, own_folders

log = logging.getLogger(__name__)


def as_task(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Wrap a Hydra task: a user's error becomes one sentence, and in a sweep the other jobs go on."""

    @functools.wraps(function)
    def task(config: DictConfig) -> Any:
        configure_logging()  # a launcher may have started this process
        try:
            _check_mode()
            return function(config)
        except XlingError as error:
            log.error("error: %s", error)
            if not _is_sweep():
                sys.exit(1)
            reason = str(error)
        except Exception as error:
            if not _is_sweep():
                raise
            log.exception("this run failed; the sweep goes on")
            reason = f"{type(error).__name__}: {error}"
        # outside of what caught it: Hydra keeps every job's error, and a kept error keeps its run's tensors
        raise JobFailed(reason)

    return task


def run_command(task: Callable[[], Any], config_name: str) -> None:
    """Run a ``hydra.main`` function; exit with status 1 if a job failed, and name near misses of unknown keys.

    Args:
        task: decorated by ``hydra.main``.
        config_name: its primary configuration.
    """
    configure_logging()
    try:
        check_launcher(sys.argv[1:])
        for folder in own_folders(sys.argv[1:]):
            check_own_configs(folder)
        task()
    except XlingError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == 1:  # Hydra's own; a run that was told to stop ends with another
            _suggest_keys(config_name, [argument for argument in sys.argv[1:] if "=" in argument])
        raise
    except BrokenPipeError:
        if not _is_unread(sys.stdout):
            raise  # a pipe of the work itself, of a data loader for example
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does the interpreter's end complain
        sys.exit(1)
    finally:
        report_failures()


def _is_unread(output: IO[str]) -> bool:
    """Whether the output is a pipe whose reader has gone, as ``| head`` does once it has read enough."""
    poll = select.poll()
    poll.register(output.fileno(), 0)  # errors are told in any case
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _check_mode() -> None:
    """Refuse a launcher without a sweep, since Hydra would then run here, on a login node perhaps."""
    if _is_sweep() or not HydraConfig.initialized():
        return
    launcher = HydraConfig.get().runtime.choices.get("launcher", "basic")
    if launcher != "basic":
        raise XlingValueError(f"launcher={launcher} starts the jobs of a sweep, and this is one run; add -m")


def _is_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _suggest_keys(config_name: str, arguments: list[str]) -> None:
    """Print what each unknown key may have been meant to be, given the groups that were chosen."""
    try:
        overrides = OverridesParser.create().parse_overrides(arguments)
        with initialize_config_module("xling.conf", version_base="1.3"):
            known = _keys(compose(config_name))
            known |= set(_groups())
            chosen = [o for o in overrides if o.key_or_group in known and not o.is_sweep_override()]
            groups = [o.input_line for o in chosen if o.input_line is not None]
            known |= _keys(compose(config_name, groups))
    except HydraException:
        return  # Hydra has said what is wrong with the command line itself
    for override in overrides:
        key = override.key_or_group
        is_known = key in known or key.startswith("hydra.") or override.is_add()
        if not is_known and (hint := close_matches(key, known)):
            print(f"unknown key {key!r}{hint}", file=sys.stderr)


def _groups() -> list[str]:
    """List the folders of the configuration, ``experiment`` among them: each is chosen from, and is no setting."""
    return [entry.name for entry in files("xling.conf").iterdir() if entry.is_dir()]


def _keys(config: DictConfig) -> set[str]:
    """List the dotted names of all settings that are not groups of settings, and of the groups."""
    names: set[str] = set()

    def visit(node: Any, prefix: str) -> None:
        for key, value in node.items():
            names.add(f"{prefix}{key}")
            if isinstance(value, dict):
                visit(value, f"{prefix}{key}.")

    visit(OmegaConf.to_container(config, resolve=False), "")
    return names
