"""Builds the loggers that ``logger=`` adds to a run's CSV file, in which runs are grouped by study.

At the end the last figures are logged under ``final/``: ``final/<metric>/<target>`` and ``final/impact/layer_07``, the mean over
targets.
"""

import importlib.util
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from xling.errors import UnreachableError
from xling.storage.hashing import content_key

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""Logger -> package it needs; the extra has the logger's name."""


def build_loggers(settings: Mapping[str, Mapping[str, Any]], study: str, run: Path) -> list[Logger]:
    """Make the loggers of one run beside its CSV file.

    Args:
        settings: name of each logger -> its settings, see ``conf/logger``.
        study: name of the study.
        run: the run's directory, ``.../<source_language>/<strategy>/seed_<seed>``, which gives the name.

    Raises:
        UnreachableError: a logger's package is not installed.
    """
    check_packages(settings)
    return [BUILDERS[name](study, "-".join(run.parts[-3:]), **values) for name, values in settings.items()]


def check_packages(names: Sequence[str] | Mapping[str, Any]) -> None:
    """Refuse loggers whose package is not installed; call this before anything slow is loaded.

    Args:
        names: names of loggers, keys of :data:`PACKAGES`.

    Raises:
        UnreachableError: a package is missing.
    """
    for name in names:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise UnreachableError(
                f"logger={name} needs the package {PACKAGES[name]}, which is not installed; pip install 'xling[{name}]'"
            )


def _tensorboard(study: str, name: str, folder: str) -> Logger:
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name=name, version="", default_hp_metric=False)


def _wandb(study: str, name: str, project: str, entity: str | None, offline: bool, folder: str) -> Logger:
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    class OneRun(WandbLogger):
        """A logger whose wandb run ends when its fit ends, because a sweep trains further runs in the same process."""

        def finalize(self, status: str) -> None:
            super().finalize(status)
            wandb.finish(exit_code=int(status != "success"), quiet=True)

    Path(folder).mkdir(parents=True, exist_ok=True)
    quiet = wandb.Settings(silent=True, console="off")  # our own log is the run's log
    same_after_resuming: dict[str, Any] = {"id": content_key(study, name), "resume": None if offline else "allow"}
    return OneRun(
        name,
        folder,
        offline=offline,
        project=project,
        entity=entity,
        group=study,
        settings=quiet,
        **same_after_resuming,
    )


def _mlflow(study: str, name: str, tracking_uri: str) -> Logger:
    if tracking_uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow 3 asks for it before it writes a folder
    from mlflow.tracking import MlflowClient
    from pytorch_lightning.loggers import MLFlowLogger

    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name(study)
    known = client.search_runs([experiment.experiment_id], f"tags.`mlflow.runName` = '{name}'") if experiment else []
    return MLFlowLogger(study, name, tracking_uri, run_id=known[0].info.run_id if known else None)


BUILDERS: dict[str, Callable[..., Logger]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


class FinalFigures(pl.Callback):
    """Logs the run's settings and its final figures to every logger beside the CSV file.

    Runs on ``on_fit_start`` (settings as hyper-parameters) and ``on_fit_end`` (keys ``final/...``). Writes no file itself.

    Args:
        settings: the run's settings as a plain dictionary.
        figures: function that gives the final figures by name; it is called when the fit ends.
    """

    def __init__(self, settings: Mapping[str, Any], figures: Callable[[], Mapping[str, float]]) -> None:
        self.settings, self.figures = settings, figures

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the settings."""
        for logger in trainer.loggers[1:]:
            logger.log_hyperparams(dict(self.settings))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the final figures, at the last step."""
        for logger in trainer.loggers[1:]:
            logger.log_metrics(dict(self.figures()), step=trainer.global_step)


def final_figures(transfer: Sequence[Mapping[str, Any]], impact: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Figures of the last validation, by the name under which they are logged.

    Args:
        transfer: rows with target_language, step, metric (its name) and score.
        impact: rows with layer, step and impact.

    Returns:
        ``final/<metric>/<target>`` and ``final/impact/layer_<layer>``, the mean over targets; what is NaN is left out.
    """
    figures = {f"final/{row['metric']}/{row['target_language']}": row["score"] for row in _last(transfer)}
    layers: dict[int, list[float]] = {}
    for row in _last(impact):
        layers.setdefault(row["layer"], []).append(row["impact"])
    figures |= {f"final/impact/layer_{layer:02d}": fmean(values) for layer, values in sorted(layers.items())}
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def _last(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    last = max((row["step"] for row in rows), default=None)
    return [row for row in rows if row["step"] == last]
