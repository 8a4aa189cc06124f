"""Gives the settings of one run their types; they are made once from Hydra's configuration, or from what a finished run recorded.

All other code takes a :class:`RunSettings`, or the part of it that it needs; ``to_plain`` gives the values that are written to
config.yaml. A recorded configuration may be older than a setting and lack it. The default of a setting therefore has to be what was
done before the setting existed.
"""

import functools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from xling.checks import check_bounds, check_choice, check_relative_folder, language_name
from xling.errors import XlingError, XlingValueError, close_matches
from xling.freezing.plan import FreezePlan, plan_freezing
from xling.interventions.plan import InterventionPlan, plan_intervention
from xling.models.spec import EncoderSpec
from xling.moved import current_paths

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectSettings:
    """A class or function of the user's choice with its arguments, as Hydra's ``instantiate`` takes it.

    Attributes:
        target: ``package.module.Name``.
        arguments: keyword arguments; nested ones may name further objects by ``_target_``.
    """

    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "ObjectSettings":
        """Separate plain values into ``_target_`` and the arguments."""
        return cls(values.get("_target_", ""), {key: value for key, value in values.items() if key != "_target_"})

    def to_plain(self) -> dict[str, Any]:
        """Give ``_target_`` and the arguments as plain values."""
        return {"_target_": self.target, **_plain(self.arguments)}

    def make(self) -> Any:
        """Make the object.

        Raises:
            XlingError: the object itself raised it; it comes as it is, and not as text inside an error of Hydra's.
            XlingValueError: the target cannot be imported, or does not take the arguments.
        """
        from hydra.errors import InstantiationException  # slow to import, and settings alone need none of it
        from hydra.utils import instantiate

        try:
            return instantiate(self.to_plain(), _convert_="all")
        except InstantiationException as error:
            if isinstance(error.__cause__, XlingError):
                raise error.__cause__ from None
            if isinstance(error.__cause__, TypeError | ImportError | AttributeError) or error.__cause__ is None:
                reason = str(error.__cause__ or error).strip().splitlines()[0]
                raise XlingValueError(f"cannot make {self.target}: {reason}; see its arguments") from error
            raise


@dataclass(frozen=True)
class DataSettings:
    """What is trained on and probed, and in which batches (``conf/data``).

    Attributes:
        source: object that gives the examples of a language and split, see :data:`xling.data.protocols.ExampleSource`.
        task: task that is learnt from them, see :class:`xling.data.protocols.TaskData`.
        languages: languages of the data set; empty: those that the source names.
        train_split, probe_split: names of the splits that are trained on and probed.
        train_limit, probe_limit: largest number of rows, in whole groups; None: all.
        limit_seed: seed of the choice of groups that a limit makes.
        max_length: largest number of tokens per example, at least 3.
        batch_size: examples per optimiser step, over all processes.
        eval_batch_size: examples per batch of a probe set.
        eval_tokens: largest number of tokens per batch of a probe set, in place of `eval_batch_size`; None: not used.
        num_workers: number of processes that read examples.
        drop_unlabelled: whether examples without a label are left out and not refused.
        named: settings that `source` and `task` refer to, such as ``root``.
    """

    source: ObjectSettings
    task: ObjectSettings
    languages: tuple[str, ...] = ()
    train_split: str = "train"
    probe_split: str = "test"
    train_limit: int | None = None
    probe_limit: int | None = None
    limit_seed: int = 0
    max_length: int = 128
    batch_size: int = 32
    eval_batch_size: int = 64
    eval_tokens: int | None = None
    num_workers: int = 0
    drop_unlabelled: bool = False
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its schedule (``conf/optimizer``).

    Attributes:
        learning_rate: largest learning rate, after the warm-up, at least 0.
        weight_decay: weight decay, at least 0.
        warmup_fraction: fraction of all optimiser steps over which the rate rises from 0, 0..1.
        schedule: ``linear`` decay to 0, or ``constant``.
    """

    learning_rate: float = 2e-5
    weight_decay: float = 0.0
    warmup_fraction: float = 0.0
    schedule: str = "linear"


@dataclass(frozen=True)
class TrainerSettings:
    """Arguments of ``pytorch_lightning.Trainer`` (``conf/trainer``); `named` holds those that are not listed."""

    accelerator: str = "auto"
    devices: int | str | Sequence[int] = 1
    num_nodes: int = 1
    strategy: str | Mapping[str, Any] = "auto"
    precision: str | int = "auto"
    max_epochs: int | None = 3
    max_steps: int = -1
    gradient_clip_val: float | None = 1.0
    accumulate_grad_batches: int = 1
    val_check_interval: int | float | None = None
    check_val_every_n_epoch: int | None = 1
    log_every_n_steps: int = 10
    enable_progress_bar: bool = True
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProbeSettings:
    """How representations are read and compared (``conf/probe``).

    Attributes:
        pooling: how a layer's output becomes one vector per example or word, see :mod:`xling.models.pooling`.
        similarity: measures by which impact is recorded, names in :data:`xling.similarity.registry.MEASURES`.
        uncertainty: kinds of interval, names in :data:`xling.probing.uncertainty.UNCERTAINTY`.
        alignment: measures of source against target; empty: alignment is not measured.
        layers: patterns of module names to read in place of the encoder's layers; None: its layers.
        autocast: whether the probe runs in the training's mixed precision; False: in float32.
        write_representations: whether the pooled representations are written to files.
        predictions: whether predictions are recorded; ``labels``: without probabilities.
        chance: whether every measure is also recorded for rows whose pairing is shuffled, see
            :class:`~xling.callbacks.ImpactMonitor`.
        gradients: number of examples per language whose gradients are compared, see
            :class:`~xling.callbacks.GradientMonitor`; 0: none.
        linear_probes: whether linear classifiers are fitted, see :class:`~xling.callbacks.LinearProbes`.
    """

    pooling: str = "mean"
    further_poolings: tuple[str, ...] = ()
    similarity: tuple[str, ...] = ("cka_debiased", "cka_biased")
    uncertainty: tuple[str, ...] = ("jackknife",)
    alignment: tuple[str, ...] = ("cka_debiased",)
    layers: str | Sequence[str] | None = None
    autocast: bool = False
    write_representations: bool = False
    predictions: bool | Literal["labels"] = False
    chance: bool = False
    gradients: int = 0
    linear_probes: bool = False


@dataclass(frozen=True)
class CheckpointSettings:
    """When a checkpoint is written, from which an interrupted run goes on.

    Attributes:
        every_seconds: seconds between two checkpoints; None: time plays no role.
        every_n_steps: optimiser steps between two checkpoints; None: steps play no role.
        stop_on: names of the signals on which the run writes a checkpoint and stops.
    """

    every_seconds: float | None = 300
    every_n_steps: int | None = None
    stop_on: tuple[str, ...] = ("SIGTERM",)


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
        parts: dict[str, Any] = {name: _make(kind, config.get(name) or {}, name) for name, kind in _PARTS.items()}
        if "freeze" in config:
            parts["freeze"] = plan_freezing(**config["freeze"])
        if "intervention" in config:
            parts["intervention"] = plan_intervention(**config["intervention"])
        return _make(cls, {**config, **parts}, "")

    def to_plain(self) -> dict[str, Any]:
        """Give the settings as plain values, as they are written to config.yaml; :meth:`from_plain` reads them."""
        return _plain(self)

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
_EMPTY_MEANS_NULL = ("languages", "target_languages")


def _make(kind: type[T], values: Mapping[str, Any], group: str) -> T:
    """Make a part of the settings from plain values."""
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # a type variable cannot be bound to dataclasses
    unknown = {name: value for name, value in values.items() if name not in known}
    given = {name: value for name, value in values.items() if name in known}
    if "named" in known:
        given["named"] = dict(values.get("named", {})) | unknown
    elif unknown:
        name = next(iter(unknown))
        raise XlingValueError(f"unknown setting {_dotted(group, name)}{close_matches(name, list(known))}")
    required = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING]
    for name in required:
        if name not in given:
            raise XlingValueError(f"expected the setting {_dotted(group, name)}, found none; set it")
    hints = _hints_of(cast(Hashable, kind))
    return kind(**{name: _typed(value, hints[name], _dotted(group, name)) for name, value in given.items()})


@functools.cache
def _hints_of(kind: Any) -> dict[str, Any]:
    """Types of a part's settings; looking them up takes longer than checking values against them."""
    return get_type_hints(kind)


def checked(name: str, value: Any) -> Any:
    """Check one value of :class:`RunSettings` against its type and range, and give it its type.

    Raises:
        XlingValueError: the value is of another type, or out of its range.
    """
    return _typed(value, _hints_of(RunSettings)[name], name)


def _typed(value: Any, kind: Any, name: str) -> Any:
    """Check one value against its type, and turn plain containers into those of the dataclass."""
    if kind is ObjectSettings and isinstance(value, Mapping):
        if not isinstance(value.get("_target_"), str):
            raise XlingValueError(f"expected {name} to name its class by _target_, found none; see conf/data")
        return ObjectSettings.from_plain(value)
    if name == "source_language":
        return language_name(value, name)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind == tuple[str, ...]:
        return _names(value, name)
    if _fits(value, kind):
        check_bounds(name, value)
        if name == "study":
            check_relative_folder(name, value)
        if name == "optimizer.schedule":
            check_choice(name, value, ("linear", "constant"))
        return value
    raise XlingValueError(f"expected {name} to be {_phrase(kind)}, got {value!r}")


def _names(value: Any, name: str) -> tuple[str, ...]:
    if value is None and name.rpartition(".")[2] in _EMPTY_MEANS_NULL:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise XlingValueError(f"expected {name} to be a list, e.g. [{value}], got {value!r}")
    if name.rpartition(".")[2] not in _EMPTY_MEANS_NULL:
        return tuple(value)
    if not value:
        raise XlingValueError(f"expected {name} to be a list of languages or null, which means all there are, got []")
    return tuple(language_name(language, name) for language in value)


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if kind in (int, float):  # True is a number to Python, and a slip here
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def _phrase(kind: Any) -> str:
    """Say what a value of a type is.

    >>> _phrase(int | None)
    'a whole number or null'
    """
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_phrase, get_args(kind)))
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        NoneType: "null",
        Path: "a path",
    }
    return words.get(kind, "a list" if get_origin(kind) is Sequence else "a group of settings")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, FreezePlan):
        # written only where it is set, since the records of older versions lack it and must stay equal
        table = {"word_embeddings": True} if value.with_word_embeddings else {}
        return {"strategy": value.strategy, "dropout": value.dropout, **table, **_plain(value.options)}
    if isinstance(value, InterventionPlan):
        return {"kind": value.kind, **_plain(value.options)}
    if isinstance(value, ObjectSettings):
        return value.to_plain()
    if is_dataclass(value) and not isinstance(value, type):
        plain = {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
        plain |= {name: None for name in _EMPTY_MEANS_NULL if plain.get(name) == []}
        return plain | plain.pop("named", {})
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _dotted(group: str, name: str) -> str:
    return f"{group}.{name}" if group else name
