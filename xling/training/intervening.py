"""Makes the callback that intervenes in a run's training, from the plan in its settings."""

import importlib
import inspect
from typing import Any

import pytorch_lightning as pl

from xling.data.datamodule import TransferDataModule
from xling.errors import XlingValueError
from xling.interventions.plan import INTERVENTIONS
from xling.settings import RunSettings


def check_intervention(settings: RunSettings) -> None:
    """Refuse an intervention that training cannot do.

    Raises:
        XlingValueError: the intervention acts on trained weights, or it reads layers that are not computed in training.
    """
    plan = settings.intervention
    if plan.name and not plan.trains:
        raise XlingValueError(
            f"intervention={plan.kind} acts on a finished run's weights, and no training does it; train with "
            "intervention=none keep_checkpoint=true, then run xling-restore"
        )
    if plan.kind == "anchor" and settings.cache_frozen:
        raise XlingValueError(
            "intervention=anchor encodes training batches, and cache_frozen=true leaves their frozen layers out; set "
            "cache_frozen=false"
        )


def build_intervention(settings: RunSettings, datamodule: TransferDataModule) -> pl.Callback:
    """Make the callback that ``conf/intervention`` asks for.

    Args:
        settings: settings of the run, whose intervention acts in training.
        datamodule: data module that gives text of other languages to an intervention that has the setting `languages`.
    """
    plan = settings.intervention
    module, _, name = str(INTERVENTIONS.find(plan.kind).callback).partition(":")
    make = getattr(importlib.import_module(module), name)
    arguments: dict[str, Any] = plan.settings | {"names": settings.model.layers}
    if "languages" in arguments:
        languages = arguments.pop("languages")
        arguments["batches"] = datamodule.unlabelled_batches(languages) if languages else None
    if "pooling" in inspect.signature(make).parameters:
        arguments["pooling"] = settings.probe.pooling
    return make(**arguments)
