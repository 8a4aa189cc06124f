"""The runs that a command line asks for, known before the first of them starts."""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.progress import track

from xling.errors import UnreachableError, XlingError, XlingValueError
from xling.freezing import plan_freezing
from xling.runs.plan import RunKey, record_plan
from xling.storage.atomic import write_text

log = logging.getLogger(__name__)


class StudyCallback(Callback):
    """Before a sweep's first job: notes in the study what was asked for; with ``dry_run=true`` prints that and ends.

    Runs where the command was typed, before a launcher is made, so that a dry run submits nothing to a cluster.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """A single run."""
        if config.dry_run:
            do_instead(_print_dry_run, lambda: [plain_config(config)])

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """A sweep."""
        if config.dry_run:
            do_instead(_print_dry_run, lambda: expand_sweep(config))
        try:
            _check_writable(Path(config.hydra.sweep.dir))
            _record(expand_sweep(config))
        except UnreachableError as error:  # Hydra would write next, and show a traceback
            log.error("error: %s", error)
            sys.exit(1)
        except (XlingError, OSError) as error:  # the jobs say themselves what is wrong with a setting or a folder
            log.warning("the study keeps no list of its runs: %s", error)
        except HydraException:
            return  # Hydra validates every job next, and says it


def _check_writable(folder: Path) -> None:
    probe = folder / ".writable"
    write_text(probe, " " * 2**16)  # a full disk takes an empty file
    probe.unlink(missing_ok=True)  # another sweep may start in this moment


def do_instead(action: Callable[[Sequence[dict]], None], configs: Callable[[], Sequence[dict]]) -> NoReturn:
    """Act on all jobs of a command at once and end it: status 0, or 1 and one sentence.

    Hydra turns what a callback raises into a warning, so that it must end here.
    """
    try:
        action(configs())
    except (XlingError, HydraException) as error:
        log.error("error: %s", error)
        sys.exit(1)
    sys.exit(0)


def _print_dry_run(configs: Sequence[dict[str, Any]]) -> None:
    from xling.sweeps.dry_run import print_dry_run  # builds on this module

    print_dry_run(configs)


def _record(configs: Sequence[Mapping[str, Any]]) -> None:
    studies: dict[Path, list[RunKey]] = {}
    for config in configs:
        studies.setdefault(study_folder(config), []).append(run_key(config))
    for folder, runs in studies.items():
        record_plan(folder, runs)


def study_folder(config: Mapping[str, Any]) -> Path:
    """The folder of a run's study."""
    return Path(config["output_dir"]) / config["study"]


def run_key(config: Mapping[str, Any]) -> RunKey:
    """Which run of its study a composed configuration describes."""
    return RunKey(config["source_language"], plan_freezing(**config["freeze"]).name, config["seed"])


def expand_sweep(config: DictConfig) -> list[dict[str, Any]]:
    """Compose every job of a sweep as Hydra's basic sweeper will.

    Args:
        config: what Hydra gives to ``on_multirun_start``, its own node included.

    Returns:
        One plain configuration per job, in order.

    Raises:
        XlingValueError: another sweeper chooses the jobs while it goes.
    """
    sweeper = config.hydra.sweeper
    if not sweeper["_target_"].endswith(BasicSweeper.__name__):
        raise XlingValueError(
            f"the runs of hydra.sweeper={sweeper['_target_']} cannot be known beforehand; use hydra/sweeper=basic"
        )
    loader = GlobalHydra.instance().config_loader()
    arguments = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    arguments += OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    shown = track(jobs, "composing the runs", transient=True, disable=not sys.stdout.isatty())
    return [plain_config(loader.load_sweep_config(config, job)) for job in shown]


def plain_config(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration as a job would see it, without Hydra's own node."""
    hydra_config = HydraConfig.instance()
    before, hydra_config.cfg = hydra_config.cfg, None
    try:
        hydra_config.set_config(config)
        config = config.copy()
        with open_dict(config):
            del config["hydra"]
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    finally:
        hydra_config.cfg = before
