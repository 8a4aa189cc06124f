"""Builds the callbacks that measure a run without changing it: impact, alignment, gradients and linear probes."""

import logging
from dataclasses import dataclass

import pytorch_lightning as pl

from xling.callbacks._other_pooling import OtherPoolingMonitor
from xling.callbacks.alignment import AlignmentMonitor
from xling.callbacks.gradients import GradientMonitor
from xling.callbacks.impact import ImpactMonitor
from xling.callbacks.linear_probes import LinearProbes
from xling.data.datamodule import TransferDataModule
from xling.errors import XlingValueError
from xling.models.pooling import WORD_POOLINGS
from xling.probing.base_store import shared_store
from xling.settings import RunSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observers:
    """The measuring callbacks of one run. Impact is always measured; each of the others may be switched off (None).

    Attributes:
        monitor: impact of every layer on every target.
        alignment: similarity of source and target, example by example.
        gradients: angle between the gradients of source and target.
        linear_probes: accuracy of linear classifiers on every layer.
        other_poolings: impact by further poolings.
    """

    monitor: ImpactMonitor
    alignment: AlignmentMonitor | None
    gradients: GradientMonitor | None
    linear_probes: LinearProbes | None
    other_poolings: tuple[ImpactMonitor, ...] = ()

    def in_order(self) -> list[pl.Callback]:
        """List those that measure, in the order in which Lightning has to call them.

        The gradients' backward passes must come after the monitor has read a batch's layers.
        """
        observers = (self.alignment, self.monitor, *self.other_poolings, self.gradients, self.linear_probes)
        return [observer for observer in observers if observer is not None]


def build_observers(
    settings: RunSettings, datamodule: TransferDataModule, model_hash: str, is_aligned: bool
) -> Observers:
    """Make the measuring callbacks that the settings ask for.

    Args:
        settings: settings of the run.
        datamodule: its training and probe sets.
        model_hash: content hash of the encoder before training, which names the shared base.
        is_aligned: whether source and target can be compared, see :func:`why_not_aligned`.

    Raises:
        XlingValueError: gradients are asked for, and the source is not among the targets; or a further pooling is the main one.
    """
    monitor = build_monitor(settings, datamodule, model_hash)
    alignment = build_alignment(settings, monitor) if is_aligned else None
    gradients = build_gradients(settings, datamodule)
    others = build_other_poolings(settings, datamodule, model_hash)
    return Observers(monitor, alignment, gradients, build_linear_probes(settings, monitor), others)


def build_monitor(settings: RunSettings, datamodule: TransferDataModule, model_hash: str) -> ImpactMonitor:
    """Make the impact monitor, with the base store that all runs share."""
    probe, layers = settings.probe, settings.representation_layers
    base = shared_store(settings, model_hash, datamodule.probe_fingerprints)
    return ImpactMonitor(layers, probe.pooling, probe.similarity, probe.uncertainty, base, chance=probe.chance)


def build_other_poolings(
    settings: RunSettings, datamodule: TransferDataModule, model_hash: str
) -> tuple[OtherPoolingMonitor, ...]:
    """Make an impact monitor for each of ``probe.further_poolings``, with a base store of its own and without uncertainty.

    Raises:
        XlingValueError: a pooling is named twice, or is the main one.
    """
    probe, monitors = settings.probe, []
    for i, pooling in enumerate(probe.further_poolings):
        if pooling in (probe.pooling, *probe.further_poolings[:i]):
            raise XlingValueError(
                f"expected probe.further_poolings to name poolings beside probe.pooling={probe.pooling}, each once, found "
                f"{pooling!r}; leave it out"
            )
        own = settings.changed(probe={"pooling": pooling})
        base = shared_store(own, model_hash, datamodule.probe_fingerprints)
        monitors.append(
            OtherPoolingMonitor(
                settings.representation_layers, pooling, probe.similarity, base=base, chance=probe.chance
            )
        )
    return tuple(monitors)


def build_gradients(settings: RunSettings, datamodule: TransferDataModule) -> GradientMonitor | None:
    """Make the monitor of gradients, where it is asked for.

    Raises:
        XlingValueError: the source is not among the targets.
    """
    n_examples, source = settings.probe.gradients, settings.source_language
    if not n_examples:
        return None
    if source not in datamodule.probes:
        raise XlingValueError(
            f"probe.gradients compares targets with the source {source}, which is not among the target languages; add it, or set "
            "probe.gradients=0"
        )
    return GradientMonitor(source, n_examples, names=settings.model.layers)


def build_linear_probes(settings: RunSettings, monitor: ImpactMonitor) -> LinearProbes | None:
    """Make the callback of the linear classifiers, where they are asked for."""
    if not settings.probe.linear_probes:
        return None
    pooling = settings.probe.pooling
    return LinearProbes(monitor.layers, pooling, monitor.base, "labels" if pooling in WORD_POOLINGS else "label")


def why_not_aligned(settings: RunSettings, datamodule: TransferDataModule) -> str:
    """Say why source and targets are not compared example by example; empty where they are."""
    probe, source = settings.probe, settings.source_language
    if not probe.alignment:
        return "not asked for (probe.alignment)"
    if source not in datamodule.probes:
        return f"the source {source} is not among the targets"
    if probe.pooling in WORD_POOLINGS:
        reason = "words have no counterparts in another language; probe.pooling=mean compares sentences"
    else:
        others = [language for language in datamodule.probes if language != source]
        unmatched = [language for language in others if not datamodule.is_parallel(source, language)]
        for language in unmatched:
            log.warning("no alignment of %s with %s: their probe sets have different example ids", source, language)
        if not others or len(unmatched) < len(others):
            return ""
        reason = "no target's probe set has the source's example ids: the data are not parallel"
    log.warning("alignment of source and targets is not measured: %s", reason)
    return reason


def build_alignment(settings: RunSettings, monitor: ImpactMonitor) -> AlignmentMonitor:
    """Make the monitor that compares source and target example by example."""
    probe = settings.probe
    return AlignmentMonitor(settings.source_language, monitor.layers, probe.pooling, probe.alignment, monitor.base)
