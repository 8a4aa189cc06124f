"""The Hydra callback that records, before a sweep's first job, which runs were asked for."""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from xling.errors import UnreachableError, XlingError, XlingValueError
from xling.machine.passwords import refuse_passwords
from xling.runs.folder_names import check_folder_name
from xling.runs.planned_runs import RunKey, record_plan, run_key, study_folder
from xling.settings import RunSettings
from xling.storage.atomic import write_text
from xling.sweeps.expand import expand_sweep, settings_of_job
from xling.sweeps.finished import all_finished

log = logging.getLogger(__name__)


class StudyCallback(Callback):
    """Records in the study which runs a sweep asks for; with ``dry_run=true`` it prints them and ends the command.

    It runs where the command was typed, before a launcher is made, so that a dry run submits nothing to a cluster.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """With ``dry_run=true``, print what a single run would do and end the command."""
        if config.dry_run:
            do_instead(_print_dry_run, lambda: [settings_of_job(config)])

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Record in the study which runs a sweep asks for; with ``dry_run=true``, print what they would do and end the command."""
        if config.dry_run:
            do_instead(_print_dry_run, lambda: expand_sweep(config))
        try:
            if isinstance(study := config.get("study"), str) and "${" not in study:
                check_folder_name(study, "study")  # before anything is written, e.g. into ../elsewhere
            # before Hydra writes them into its own record of the sweep
            refuse_passwords(cast(dict[str, Any], OmegaConf.to_container(config.logger, resolve=True)))
            _check_writable(Path(config.hydra.sweep.dir))
            runs = expand_sweep(config)
            _record(runs)
            is_finished = all_finished(runs)
        except (UnreachableError, XlingValueError) as error:  # Hydra would write files next, and end with a traceback
            log.error("error: %s", error)
            sys.exit(1)
        except (XlingError, OSError) as error:  # the jobs will report what is wrong with a setting or a folder
            log.warning("the study keeps no list of its runs: %s", error)
        except HydraException:
            return  # Hydra validates every job next, and reports the error
        else:
            if is_finished:
                log.info("%s: all %d runs are complete; nothing to do", study_folder(runs[0]), len(runs))
                sys.exit(0)  # Hydra would compose all of them twice more


def _check_writable(folder: Path) -> None:
    probe = folder / ".writable"
    write_text(probe, " " * 2**16)  # not an empty file, which even a full disk takes
    probe.unlink(missing_ok=True)  # another sweep that starts at this moment may have removed it


def do_instead(action: Callable[[Sequence[RunSettings]], None], runs: Callable[[], Sequence[RunSettings]]) -> NoReturn:
    """Act on all jobs of a command at once, and end the command in place of running them.

    The exit status is 0, or 1 after an error, which is logged in one sentence. Hydra turns errors of a callback into warnings, so
    that the process has to be ended here.

    Args:
        action: function of the settings of all jobs.
        runs: function that gives these settings; its errors end the command as well.
    """
    try:
        action(runs())
    except (XlingError, HydraException) as error:
        log.error("error: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("this failed, and nothing was started")
        sys.exit(1)
    sys.exit(0)


def _print_dry_run(runs: Sequence[RunSettings]) -> None:
    from xling.sweeps.dry_run import print_dry_run  # builds on this module

    print_dry_run(runs)


def _record(runs: Sequence[RunSettings]) -> None:
    studies: dict[Path, list[RunKey]] = {}
    for settings in runs:
        studies.setdefault(study_folder(settings), []).append(run_key(settings))
    for folder, keys in studies.items():
        record_plan(folder, keys)
