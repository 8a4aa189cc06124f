"""From plain settings to the parts of one run: data, module, callbacks, trainer."""

import logging
from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as pl

from xling.callbacks.alignment import AlignmentMonitor
from xling.callbacks.budget import ImpactBudget
from xling.callbacks.checkpoint import RunCheckpoint
from xling.callbacks.freezing import LayerFreezing
from xling.callbacks.gradients import GradientMonitor
from xling.callbacks.impact import ImpactMonitor
from xling.callbacks.linear_probes import LinearProbes
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
from xling.machine.precision import resolve_precision
from xling.machine.processes import shards_parameters
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
from xling.models.layers import find_layers
from xling.models.limits import check_max_length, check_pieces
from xling.models.pooling import WORD_POOLINGS
from xling.probing.base_store import shared_store
from xling.runs.directory import RunDirectory
from xling.settings import ObjectSettings, RunSettings
from xling.storage.fetched import FetchedFirst, data_folder
from xling.tasks import TASKS
from xling.tasks.transfer_module import TransferModule
from xling.training.intervening import build_intervention, check_intervention
from xling.training.loggers import FinalFigures, check_packages, final_figures
from xling.training.recorder import RunRecorder
from xling.training.validations import check_validates

log = logging.getLogger(__name__)

_DATA_ARGUMENTS = ("train_split", "probe_split", "train_limit", "probe_limit", "limit_seed", "max_length", "batch_size",
                   "eval_batch_size", "eval_tokens", "num_workers", "drop_unlabelled")  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """The parts of one run."""

    datamodule: TransferDataModule
    module: TransferModule
    monitor: ImpactMonitor
    recorder: RunRecorder
    clock: TrainingClock
    callbacks: list[pl.Callback]
    facts: dict[str, Any]

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
    """Load data and model and put the callbacks together."""
    if settings.compile and settings.packed:
        raise XlingValueError(
            "compile=true needs padded batches, and packed=true, which has none, compiles anew for every pattern of equal "
            "lengths; set compile=false or packed=false"
        )
    check_intervention(settings)
    spec, cache_dir = settings.model, settings.cache_dir
    datamodule = build_data(settings)
    check_validates(settings, len(datamodule.training_set))
    encoder = load_encoder(spec, cache_dir)
    _check_takes(encoder, settings, datamodule)
    facts: dict[str, Any] = {
        "model": describe_encoder(spec, encoder, cache_dir),
        "precision": settings.trainer.precision,
    }
    module = build_module(settings, datamodule.task, encoder)
    if settings.compile:
        encoder.compile(dynamic=True)  # in place: names of parameters and modules stay
    plan = settings.freeze
    monitor = build_monitor(settings, datamodule, facts["model"]["content_hash"])
    layers = find_layers(module, spec.layers)
    frozen_layers = plan.layers_of(layers.n_layers)
    facts["intervention"] = settings.intervention.facts(layers.n_layers)
    facts["alignment"] = why_not_aligned(settings, datamodule)
    alignment = None if facts["alignment"] else build_alignment(settings, monitor)
    gradients = build_gradients(settings, datamodule)
    probes = build_linear_probes(settings, monitor)
    recorder = RunRecorder(run, identity, monitor, frozen_layers, alignment, gradients=gradients, linear_probes=probes)
    clock = TrainingClock()
    keeps_rows = settings.optimizer.weight_decay or plan.adapts or shards_parameters(settings.trainer)
    callbacks: list[pl.Callback | None] = [  # in the order in which Lightning calls them
        LayerFreezing(plan, spec.layers),
        None
        if keeps_rows
        else TrainUsedRows(lambda: cast(TokenisedExamples, datamodule.train).pieces, layers.word_embeddings),
        # copies weights: after the rows are taken out
        build_intervention(settings, datamodule) if settings.intervention.trains else None,
        alignment,
        monitor,
        gradients,  # after the monitor has read the layers of a batch, before its records are written
        probes,
        recorder,
        clock,
        _representation_writer(settings, run),
        FinalFigures(settings.to_plain(), lambda: final_figures(recorder.transfer, monitor.records)),
        StopOnDivergence(),
        ProgressFile(run.path),
        # last: it records what the others did
        RunCheckpoint(run.checkpoint, settings.checkpoint.every_seconds, settings.checkpoint.every_n_steps),
    ]
    wanted = [callback for callback in callbacks if callback is not None]
    return Parts(datamodule, module, monitor, recorder, clock, wanted, facts)


def _representation_writer(settings: RunSettings, run: RunDirectory) -> RepresentationWriter | None:
    if not settings.probe.write_representations:
        return None
    return RepresentationWriter(run.path / "representations", settings.model.layers, settings.probe.pooling)


def _check_takes(encoder: Any, settings: RunSettings, datamodule: TransferDataModule) -> None:
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


def build_monitor(settings: RunSettings, datamodule: TransferDataModule, model_hash: str) -> ImpactMonitor:
    """The impact monitor with the base store that all runs share."""
    probe, layers = settings.probe, settings.representation_layers
    base = shared_store(settings, model_hash, datamodule.probe_fingerprints)
    return ImpactMonitor(layers, probe.pooling, probe.similarity, probe.uncertainty, base, chance=probe.chance)


def build_gradients(settings: RunSettings, datamodule: TransferDataModule) -> GradientMonitor | None:
    """The monitor of gradients, where it is asked for.

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
    """The linear classifiers, where they are asked for."""
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
    """The monitor of source against target."""
    probe = settings.probe
    return AlignmentMonitor(settings.source_language, monitor.layers, probe.pooling, probe.alignment, monitor.base)
