"""Holds all settings of one run in one tree."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xling.freezing.plan import FreezePlan, plan_freezing
from xling.interventions.plan import InterventionPlan, plan_intervention
from xling.models.spec import EncoderSpec
from xling.moved import current_paths
from xling.settings.parts import CheckpointSettings, DataSettings, OptimizerSettings, ProbeSettings, TrainerSettings
from xling.settings.plain import to_plain
from xling.settings.typed import hints_of, make, typed


@dataclass(frozen=True)
class RunSettings:
    """All settings of one run (``conf/train.yaml``).

    Attributes:
        data, model, freeze, intervention, optimizer, trainer, probe, checkpoint: the groups of settings.
        study: name of the study, whose runs share a folder.
        source_language: language the model is fine-tuned on.
        target_languages: languages that are probed; empty: those that the data source has.
        seed: seed of data order, head and dropout.
        output_dir: folder of the studies.
        cache_dir: folder of what all runs share.
        logger: name of each further logger -> its settings (``conf/logger``).
        dry_run, compile, packed, cache_frozen, keep_checkpoint: see ``conf/train.yaml``.
        named: settings that others refer to, such as ``frozen_blocks`` of ``conf/experiment/freezing.yaml``.
    """

    data: DataSettings
    model: EncoderSpec
    freeze: FreezePlan
    study: str
    source_language: str
    seed: int
    output_dir: Path
    cache_dir: Path
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    intervention: InterventionPlan = field(default_factory=InterventionPlan)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    logger: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target_languages: tuple[str, ...] = ()
    dry_run: bool = False
    compile: bool = False
    packed: bool = False
    cache_frozen: bool = False
    keep_checkpoint: bool = True
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    named: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_plain(cls, config: Mapping[str, Any]) -> "RunSettings":
        """Check plain settings and give them types.

        Args:
            config: a composed configuration as plain values, or the content of a run's config.yaml, class paths of
                version 0.1.0 included.

        Raises:
            XlingValueError: a setting is missing, unknown or of another type; the message names it.
        """
        config = current_paths(dict(config))
        parts: dict[str, Any] = {name: make(kind, config.get(name) or {}, name) for name, kind in _PARTS.items()}
        if "freeze" in config:
            parts["freeze"] = plan_freezing(**config["freeze"])
        if "intervention" in config:
            parts["intervention"] = plan_intervention(**config["intervention"])
        return make(cls, {**config, **parts}, "")

    def to_plain(self) -> dict[str, Any]:
        """Give the settings as plain values, as they are written to config.yaml; :meth:`from_plain` reads them."""
        return to_plain(self)

    def changed(self, **values: Any) -> "RunSettings":
        """Replace settings; those of a part by ``part=dict(name=value)``.

        >>> settings.changed(seed=7, trainer={"max_epochs": 1}).trainer.max_epochs  # doctest: +SKIP
        1
        """
        parts = {name: replace(getattr(self, name), **value) for name, value in values.items() if name in _PARTS}
        return replace(self, **values | parts)

    @property
    def representation_layers(self) -> Any:
        """The layers that are read: the patterns of ``probe.layers``, or else where ``model.layers`` says the encoder's are.

        None: they are found by the encoder's architecture.
        """
        return self.probe.layers or self.model.layers


_PARTS: dict[str, type] = {
    "data": DataSettings,
    "model": EncoderSpec,
    "optimizer": OptimizerSettings,
    "trainer": TrainerSettings,
    "probe": ProbeSettings,
    "checkpoint": CheckpointSettings,
}


def checked(name: str, value: Any) -> Any:
    """Check one value of :class:`RunSettings` against its type and range, and give it its type.

    Raises:
        XlingValueError: the value is of another type, or out of its range.
    """
    return typed(value, hints_of(RunSettings)[name], name)
