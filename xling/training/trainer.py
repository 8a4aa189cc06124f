"""Builds Lightning's trainer with the settings of a run."""

import sys
from pathlib import Path

import pytorch_lightning as pl
from hydra.utils import instantiate
from pytorch_lightning.callbacks import TQDMProgressBar

from xling.callbacks import progress_log
from xling.callbacks.checkpoint import RunCheckpoint
from xling.machine.logs import show_on_terminal
from xling.machine.requeue import slurm_plugins
from xling.settings import RunSettings
from xling.training.checkpoints import VerifiedCheckpointIO
from xling.training.loggers import build_loggers
from xling.training.metrics_file import MetricsFile


def build_trainer(
    settings: RunSettings, callbacks: list[pl.Callback], path: Path, *, is_resumed: bool = False
) -> pl.Trainer:
    """Make Lightning's trainer with the settings of a run.

    Progress is shown as a bar on a terminal, and as lines elsewhere and in the run's log.

    Args:
        settings: settings of the run.
        callbacks: callbacks in the order in which Lightning shall call them. Logs and files are written only where a
            :class:`~xling.callbacks.RunCheckpoint` is among them, so that a mere measurement leaves no traces.
        path: directory of the run.
        is_resumed: whether the fit goes on from a checkpoint, whose sanity check would measure trained weights.
    """
    has_bar = settings.trainer.enable_progress_bar and sys.stderr.isatty()
    show_on_terminal(progress_log.__name__, not has_bar)
    bar = [TQDMProgressBar(refresh_rate=10)] if has_bar else []
    keeps_files = any(isinstance(callback, RunCheckpoint) for callback in callbacks)
    arguments = settings.to_plain()["trainer"] | {"_target_": "pytorch_lightning.Trainer"}
    return instantiate(
        arguments | {"enable_progress_bar": has_bar},
        callbacks=[*callbacks, *bar, progress_log.ProgressLog()],
        logger=[MetricsFile(path), *build_loggers(settings.logger, settings.study, path)] if keeps_files else False,
        enable_checkpointing=False,  # RunCheckpoint writes them
        plugins=[VerifiedCheckpointIO(), *slurm_plugins()],
        enable_model_summary=False,
        default_root_dir=path,
        use_distributed_sampler=False,  # our batches are dealt to processes by the data module
        num_sanity_val_steps=0 if is_resumed else 1,  # one batch per target against the stored base: the noise floor
        _convert_="all",
    )
