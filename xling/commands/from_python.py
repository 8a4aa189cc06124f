"""Gives the two long commands to Python and notebooks, as ``xling.train([...])`` and ``xling.analyze([...])``."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from xling.errors import XlingValueError
from xling.machine.logs import configure_logging
from xling.settings import RunSettings
from xling.sweeps.expand import settings_of_job
from xling.sweeps.own_configs import check_own_configs

if TYPE_CHECKING:
    from xling.analysis.schema import Analysis
    from xling.runs.directory import RunDirectory


def train(overrides: Iterable[str] = (), config_dir: Path | str | None = None) -> "RunDirectory":
    """Make one run, as ``xling-train`` with the same settings does: fine-tune, measure, record.

    >>> run = xling.train(["model=e5_small", "source_language=de", "study=mine"])  # doctest: +SKIP

    Args:
        overrides: settings as they are typed, ``key=value``.
        config_dir: folder with configuration files of one's own, as ``--config-dir``.

    Returns:
        The run's directory, complete; a run that was complete is not repeated. With ``dry_run=true`` nothing is trained.

    Raises:
        XlingError: a setting, file or directory does not fit, or the settings are those of a sweep, since this makes one run.
    """
    from xling.commands.train import train as train_run
    from xling.runs.directory import RunDirectory
    from xling.runs.planned_runs import identity_of
    from xling.sweeps.dry_run import print_dry_run

    configure_logging()
    settings = compose(overrides, config_dir)
    if settings.dry_run:
        print_dry_run([settings])
        return RunDirectory.of(settings.output_dir, **identity_of(settings))
    return train_run(settings)


def compose(overrides: Iterable[str] = (), config_dir: Path | str | None = None) -> RunSettings:
    """Put the settings of one run together without starting it; the arguments are those of :func:`train`.

    Raises:
        XlingValueError: a setting is unknown or does not fit, or the settings are those of a sweep.
    """
    with _composed("train", overrides, config_dir) as config:
        if config.hydra.mode is not None and config.hydra.mode.name == "MULTIRUN":
            varied = ", ".join(config.hydra.sweeper.params or {})
            raise XlingValueError(
                f"expected settings of one run, found an experiment that is a sweep over {varied or 'some'}; add "
                "hydra.mode=RUN for its first settings and say the others, or start all of it with xling-train -m"
            )
        return settings_of_job(config)


def analyze(overrides: Iterable[str] = (), config_dir: Path | str | None = None) -> "Analysis":
    """Analyse a study, as ``xling-analyze`` with the same settings does, and write tables, figures and report.

    >>> xling.analyze(["runs=runs/mine", "output_dir=results/mine"]).tables["correlations"]  # doctest: +SKIP

    Args:
        overrides: settings as they are typed, ``key=value``.
        config_dir: folder with configuration files of one's own, as ``--config-dir``.

    Returns:
        The analysis, with its tables by name.

    Raises:
        XlingError: an input is missing or does not fit, or nothing is left to analyse.
    """
    from xling.commands.analyze import analyze_config

    configure_logging()
    with _composed("analyze", overrides, config_dir) as config:
        return analyze_config(config)


class _composed(AbstractContextManager):  # noqa: N801  (used as a function)
    """Compose a command's configuration; Hydra's own state is as it was afterwards, and its errors are one sentence."""

    def __init__(self, command: str, overrides: Iterable[str], config_dir: Path | str | None) -> None:
        if isinstance(overrides, str):
            raise XlingValueError(f"expected a list of settings, e.g. [{overrides!r}], got the text {overrides!r}")
        self.command, self.overrides = command, list(overrides)
        if config_dir is not None:
            folder = Path(config_dir).expanduser().absolute()
            check_own_configs(folder)
            self.overrides.append(f"hydra.searchpath=[file://{folder}]")
        self._stack = ExitStack()

    def __enter__(self) -> DictConfig:
        if GlobalHydra.instance().is_initialized():
            raise XlingValueError(
                "xling.train, xling.compose and xling.analyze put settings together with Hydra, which this program uses already; "
                "call them outside of hydra.main and of initialize(), or start the commands"
            )
        try:
            self._stack.enter_context(initialize_config_module("xling.conf", version_base="1.3"))
            return hydra_compose(self.command, self.overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            self._stack.close()
            raise XlingValueError(f"these settings do not go together: {_in_one_line(error)}") from error

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _in_one_line(error: Exception) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
