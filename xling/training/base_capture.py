"""Captures the representations from before training once, and keeps them for every run of the same model and probe."""

import copy
import logging
from collections.abc import Sequence
from typing import cast

import pytorch_lightning as pl

from xling.callbacks.impact import ImpactMonitor
from xling.data.datamodule import TransferDataModule
from xling.errors import MissingFileError
from xling.machine.processes import entered_on_rank_zero, on_every_rank, on_rank_zero, shards_parameters
from xling.probing.base_store import BaseStore
from xling.settings import RunSettings
from xling.storage.atomic import write_json
from xling.storage.cache_marks import ABOUT_FILE, mark_in_use
from xling.storage.locks import waiting_lock
from xling.tasks.transfer_module import TransferModule
from xling.training.trainer import build_trainer

log = logging.getLogger(__name__)


def capture_base(
    settings: RunSettings,
    module: TransferModule,
    datamodule: TransferDataModule,
    monitor: ImpactMonitor,
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """Store the representations from before training.

    Every run of a study compares with the same base, so that of several runs that start together one computes it, and the
    others wait for that one.

    Args:
        settings: settings of the run.
        module: encoder and head, with the weights from before training.
        datamodule: data module that has the probe sets.
        monitor: impact monitor whose store receives the representations.
        callbacks: further callbacks that run meanwhile, e.g. one that stops on a signal.

    Raises:
        MissingFileError: a process does not see what process 0 stored.
    """
    store = cast(BaseStore, monitor.base)  # build_monitor gave it one
    mark_in_use(store.folder)
    if not on_rank_zero(lambda: _missing(store, datamodule)):  # perhaps in a cache that one may only read
        on_every_rank(lambda: check_base(monitor, datamodule))
        return
    on_rank_zero(lambda: store.folder.mkdir(parents=True, exist_ok=True))
    with entered_on_rank_zero(waiting_lock(store.folder / ".lock")):
        missing = on_rank_zero(lambda: _missing(store, datamodule))
        if missing:
            log.info("base representations of %s: computing them once, into %s", ", ".join(missing), store.folder)
            about = {"model": settings.model.name, "pooling": monitor.pooling}
            on_rank_zero(lambda: write_json(store.folder / ABOUT_FILE, about))
            trainer = build_trainer(settings, [*callbacks, monitor], settings.cache_dir)
            # FSDP shards in place, for one trainer; another could not use what is left
            used = copy.deepcopy(module) if shards_parameters(settings.trainer) else module
            with monitor.capturing():
                trainer.validate(used, datamodule, verbose=False)
    on_every_rank(lambda: check_base(monitor, datamodule))


def _missing(store: BaseStore, datamodule: TransferDataModule) -> list[str]:
    return [loader for loader in datamodule.target_languages if not store.has(loader)]


def check_base(monitor: ImpactMonitor, datamodule: TransferDataModule) -> None:
    """Refuse to continue if this process cannot find the base of a target, e.g. because nodes do not share a disk.

    Raises:
        MissingFileError: the base of a target is not where process 0 stored it.
    """
    store = cast(BaseStore, monitor.base)
    for loader in datamodule.target_languages:
        if not store.has(loader):
            raise MissingFileError(
                f"expected the base representations of {loader} at {store.path(loader)}, where process 0 has "
                "them, found none; put cache_dir and output_dir on a disk that all nodes share"
            )
