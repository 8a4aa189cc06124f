"""Names the settings of each part of a run, with their types and defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xling.errors import XlingError, XlingValueError
from xling.settings.plain import to_plain


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
        return {"_target_": self.target, **to_plain(self.arguments)}

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


to_plain.register(ObjectSettings, ObjectSettings.to_plain)


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
