"""Builds the parts of one run from its settings: the data, the module and the callbacks, for Lightning's trainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as pl

from xling.callbacks.budget import ImpactBudget
from xling.callbacks.checkpoint import RunCheckpoint
from xling.callbacks.freezing import LayerFreezing
from xling.callbacks.impact import ImpactMonitor
from xling.callbacks.progress_file import ProgressFile
from xling.callbacks.representation_writer import RepresentationWriter
from xling.callbacks.stop_on_divergence import StopOnDivergence
from xling.callbacks.training_clock import TrainingClock
from xling.callbacks.used_rows import TrainUsedRows
from xling.data.datamodule import TransferDataModule
from xling.data.protocols import ExampleSource, TaskData, languages_of
from xling.data.tokenised import TokenisedExamples
from xling.errors import XlingValueError
from xling.freezing import switch_off_dropout
from xling.machine.passwords import refuse_passwords
from xling.machine.processes import shards_parameters
from xling.machine.run_precision import resolve_precision
from xling.models.encoders import (
    check_pooling,
    describe_encoder,
    lazy_tokenizer,
    load_encoder,
    resolve_weights,
    take_pooler,
)
from xling.models.fast.attention import use_processor_attention
from xling.models.fast.dropout import use_processor_dropout
from xling.models.layers import Layers, find_layers
from xling.models.limits import check_max_length, check_pieces
from xling.runs.directory import RunDirectory
from xling.settings import ObjectSettings, RunSettings
from xling.storage.fetched import FetchedFirst, data_folder
from xling.tasks import TASKS
from xling.tasks.transfer_module import TransferModule
from xling.training.intervening import build_intervention, check_intervention
from xling.training.loggers import FinalFigures, check_packages, final_figures
from xling.training.observers import Observers, build_observers, why_not_aligned
from xling.training.recorder import RunRecorder
from xling.training.validations import check_validates

_DATA_ARGUMENTS = ("train_split", "probe_split", "train_limit", "probe_limit", "limit_seed", "max_length", "batch_size",
                   "eval_batch_size", "eval_tokens", "num_workers", "drop_unlabelled")  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """The parts of one run.

    Attributes:
        datamodule: training and probe sets, tokenised.
        module: encoder and head, before training.
        monitor: measures impact; it is also among `callbacks`.
        other_poolings: measure impact by further poolings; they are also among `callbacks`.
        recorder: writes the run's tables; it is also among `callbacks`.
        clock: counts the seconds of training; it is also among `callbacks`.
        callbacks: all callbacks of the run, in the order in which Lightning calls them.
        facts: what ``environment.json`` records beside package versions: ``model``, ``precision``, ``intervention`` and
            ``alignment`` (why it is not measured; empty where it is).
    """

    datamodule: TransferDataModule
    module: TransferModule
    monitor: ImpactMonitor
    recorder: RunRecorder
    clock: TrainingClock
    callbacks: list[pl.Callback]
    facts: dict[str, Any]
    other_poolings: tuple[ImpactMonitor, ...] = ()

    def data_facts(self) -> dict[str, Any]:
        """Sizes and fingerprints of what is trained on and probed."""
        return data_facts(self.datamodule)

    def summary(self) -> dict[str, Any]:
        """What the manifest says of the run beside its identity."""
        return {
            "transfer_metric": self.module.transfer_metric,
            "n_train": len(self.datamodule.training_set),
            "model": self.facts["model"]["name"],
            "frozen_layers": sorted(self.recorder.frozen_layers),
            "noise_floor": self.monitor.noise_floor(),
            "alignment": self.facts["alignment"] or "measured",
            **self.facts["intervention"],
            **self._budget_events(),
        }

    def _budget_events(self) -> dict[str, list[dict[str, Any]]]:
        """When layers reached their budget of impact, where there is one."""
        budgets = [callback for callback in self.callbacks if isinstance(callback, ImpactBudget)]
        return {"budget_events": budgets[0].events} if budgets else {}


def data_facts(datamodule: TransferDataModule) -> dict[str, Any]:
    """Sizes and fingerprints of what is trained on and probed, by role."""
    sets = {"train": datamodule.training_set, **{f"probe.{t}": p for t, p in datamodule.probes.items()}}
    return {role: {"name": s.name, "n_examples": len(s), "fingerprint": s.fingerprint} for role, s in sets.items()}


def resolve_settings(settings: RunSettings) -> RunSettings:
    """Replace settings that mean "what this machine has" by what it has, so that the record says what was used."""
    refuse_passwords(settings.logger)
    check_packages(settings.logger)
    cache_dir = settings.cache_dir.expanduser()
    return settings.changed(
        trainer={"precision": resolve_precision(settings.trainer.precision, settings.trainer.accelerator)},
        cache_dir=cache_dir,
        target_languages=settings.target_languages or _languages_of(settings.data.source.make()),
        model=vars(resolve_weights(settings.model, cache_dir)),
    )


def _languages_of(source: ExampleSource) -> tuple[str, ...]:
    languages = languages_of(source)
    if not languages:
        raise XlingValueError(
            "expected target_languages: the data source does not say which languages it has; name them"
        )
    return languages


def build_parts(settings: RunSettings, identity: dict[str, Any], run: RunDirectory) -> Parts:
    """Load a run's data and model, and put its callbacks together.

    Args:
        settings: settings of the run, resolved by :func:`resolve_settings`.
        identity: values of study, source_language, strategy and seed, which every row of the run's tables repeats.
        run: directory that the callbacks write into.

    Returns:
        The parts; nothing is trained or measured yet.

    Raises:
        XlingValueError: two settings exclude each other, or the encoder cannot take the data.
    """
    _refuse_compiling_packed(settings)
    check_intervention(settings)
    datamodule = build_data(settings)  # before the model, so that bad data is reported without loading one
    check_validates(settings, len(datamodule.training_set))
    encoder = load_encoder(settings.model, settings.cache_dir)
    _check_encoder_takes(encoder, settings, datamodule)
    facts: dict[str, Any] = {
        "model": describe_encoder(settings.model, encoder, settings.cache_dir),
        "precision": settings.trainer.precision,
    }
    module = build_module(settings, datamodule.task, encoder)
    if settings.compile:
        encoder.compile(dynamic=True)  # in place: names of parameters and modules stay
    layers = find_layers(module, settings.model.layers)
    facts["intervention"] = settings.intervention.facts(layers.n_layers)
    facts["alignment"] = why_not_aligned(settings, datamodule)
    observers = build_observers(settings, datamodule, facts["model"]["content_hash"], not facts["alignment"])
    recorder = _build_recorder(run, identity, observers, settings.freeze.layers_of(layers.n_layers))
    clock = TrainingClock()
    callbacks = [
        *_build_interveners(settings, datamodule, layers),
        *observers.in_order(),
        *_build_writers(settings, run, recorder, clock, observers.monitor),
    ]
    return Parts(datamodule, module, observers.monitor, recorder, clock, callbacks, facts, observers.other_poolings)


def _refuse_compiling_packed(settings: RunSettings) -> None:
    if settings.compile and settings.packed:
        raise XlingValueError(
            "compile=true needs padded batches, and packed=true, which has none, compiles anew for every pattern of equal "
            "lengths; set compile=false or packed=false"
        )


def _build_interveners(settings: RunSettings, datamodule: TransferDataModule, layers: Layers) -> list[pl.Callback]:
    """Make the callbacks that change how the model is trained, in the order in which Lightning calls them."""
    callbacks: list[pl.Callback] = [LayerFreezing(settings.freeze, settings.model.layers)]
    if _trains_used_rows(settings):
        callbacks.append(
            TrainUsedRows(lambda: cast(TokenisedExamples, datamodule.train).pieces, layers.word_embeddings)
        )
    if settings.intervention.trains:
        # an anchor copies weights when it is set up, so that the rows of unused tokens must be gone by then
        callbacks.append(build_intervention(settings, datamodule))
    return callbacks


def _trains_used_rows(settings: RunSettings) -> bool:
    """Whether only those rows of the word-piece table are trained that the training examples use.

    Weight decay would move the other rows as well; under adapters the table is frozen; FSDP shards the table, so that no
    rows can be taken out of it.
    """
    keeps_all_rows = settings.optimizer.weight_decay or settings.freeze.adapts or shards_parameters(settings.trainer)
    return not keeps_all_rows


def _build_recorder(
    run: RunDirectory, identity: dict[str, Any], observers: Observers, frozen_layers: Sequence[int]
) -> RunRecorder:
    return RunRecorder(
        run,
        identity,
        observers.monitor,
        frozen_layers,
        observers.alignment,
        gradients=observers.gradients,
        linear_probes=observers.linear_probes,
        other_poolings=observers.other_poolings,
    )


def _build_writers(
    settings: RunSettings, run: RunDirectory, recorder: RunRecorder, clock: TrainingClock, monitor: ImpactMonitor
) -> list[pl.Callback]:
    """Make the callbacks that write down what the observers measured, and those that watch over the fit.

    They come after the observers. The checkpoint comes last of all, because it holds the state of every other callback.
    """
    callbacks: list[pl.Callback] = [recorder, clock]
    if settings.probe.write_representations:
        folder = run.path / "representations"
        callbacks.append(RepresentationWriter(folder, settings.model.layers, settings.probe.pooling))
    return [
        *callbacks,
        FinalFigures(settings.to_plain(), lambda: final_figures(recorder.transfer, monitor.records)),
        StopOnDivergence(),
        ProgressFile(run.path),
        RunCheckpoint(run.checkpoint, settings.checkpoint.every_seconds, settings.checkpoint.every_n_steps),
    ]


def _check_encoder_takes(encoder: Any, settings: RunSettings, datamodule: TransferDataModule) -> None:
    """Refuse examples for which the encoder has no positions or embeddings, before one of them crashes an epoch."""
    check_max_length(encoder, settings.data.max_length)
    n_embeddings = encoder.get_input_embeddings().num_embeddings
    for examples in (datamodule.training_set, *datamodule.probes.values()):
        check_pieces(n_embeddings, int(cast(TokenisedExamples, examples).pieces[-1]), examples.name)


def build_data(settings: RunSettings) -> TransferDataModule:
    """Load the data module first, so that bad data is reported before a model is loaded."""
    data = settings.data
    datamodule = TransferDataModule(
        FetchedFirst(data.source.make(), data_folder(settings.cache_dir, data.source.to_plain())),
        make_task(data.task),
        lazy_tokenizer(settings.model, settings.cache_dir),
        source_language=settings.source_language,
        target_languages=settings.target_languages,
        seed=settings.seed,
        cache_dir=settings.cache_dir,
        **{name: getattr(data, name) for name in _DATA_ARGUMENTS},
    )
    datamodule.setup()
    return datamodule


def make_task(settings: ObjectSettings) -> TaskData:
    """Make the task of ``data.task``, whose target is a path as Hydra takes it, ``package.module:Name`` or a registered name."""
    if "." in settings.target and ":" not in settings.target:
        return settings.make()
    return TASKS.find(settings.target)(**settings.arguments)


def build_module(settings: RunSettings, task: TaskData, encoder: Any) -> TransferModule:
    """Encoder and head as one LightningModule; `task` knows its labels."""
    spec, optimizer = settings.model, settings.optimizer
    check_pooling(spec, encoder)
    made = task.module(
        encoder,
        pooling=spec.pooling,
        pooler=take_pooler(encoder) if spec.pooler else None,
        target_languages=settings.target_languages,
        evaluation_autocast=settings.probe.autocast,
        packed=settings.packed,
        **vars(optimizer),
    )
    module = cast(TransferModule, made)
    module.keeps_predictions = settings.probe.predictions
    if spec.dropout == "off":
        switch_off_dropout(module)
    use_processor_dropout(module)
    use_processor_attention(encoder)
    return module
