"""Starts the two long commands without torch, so that what Hydra answers by itself (help, TAB, ``--cfg``) comes quickly.

What a run or an analysis needs is imported by the first job.
"""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from omegaconf import DictConfig

from xling.commands.parser import told_version
from xling.commands.unchanged import analysis_key, is_unchanged
from xling.sweeps.expand import plain_settings
from xling.sweeps.job import as_task, run_command

log = logging.getLogger(__name__)

_is_first_import = True


@hydra.main(version_base="1.3", config_path="pkg://xling.conf", config_name="train")
@as_task
def _train(config: DictConfig) -> None:
    with without_garbage_collection():
        from xling.commands.train import train_config
    train_config(config)


@hydra.main(version_base="1.3", config_path="pkg://xling.conf", config_name="analyze")
@as_task
def _analyze(config: DictConfig) -> None:
    settings = plain_settings(config)
    key = analysis_key(settings)
    folder = Path(settings["output_dir"])
    if key is not None and not settings["anew"] and is_unchanged(folder, key):
        log.info("%s holds this analysis, and nothing has changed since; anew=true makes it again", folder)
        return
    with without_garbage_collection():
        from xling.commands.analyze import analyze_config
    analyze_config(config, key)


def train() -> None:
    """Run ``xling-train`` or ``python train.py``."""
    if not told_version("xling-train"):
        run_command(_train, "train")


def analyze() -> None:
    """Run ``xling-analyze`` or ``python analyze.py``."""
    if not told_version("xling-analyze"):
        run_command(_analyze, "analyze")


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Import without the garbage collector, which would take an eighth of the time, and exempt the imported objects from it.

    They stay exempt to the end of the process: to collect them then, one by one, would take as long as a third of importing them.

    This is done once per process. A second job must not do it, because it would also exempt what the first job has left behind.
    """
    global _is_first_import
    if not _is_first_import:
        yield
        return
    _is_first_import = False
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
