"""Writes a run's settings as the sentences of a methods section."""

from collections.abc import Mapping
from typing import Any

from xling.machine.run_precision import probe_precision
from xling.models.spec import EncoderSpec
from xling.settings import RunSettings


def describe_recipe(settings: RunSettings, environment: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Say what was trained on what and how, from what a run directory records.

    Args:
        settings: settings of the run.
        environment: content of environment.json.
        data: content of data.json.

    Returns:
        Sentences that do not depend on the run's languages and seed, so that runs of one design say the same.
    """
    return f"{_encoder(settings.model, environment)} {_fine_tuning(settings, data)} {_probe(settings, data)}"


def _encoder(model: EncoderSpec, environment: Mapping[str, Any]) -> str:
    weights = "" if model.weights == "pretrained" else f", {model.weights} weights"
    pooler = ", its pre-trained pooler kept" if model.pooler else ""
    content = environment["model"]["content_hash"][:12]
    return (
        f"Encoder: {model.name} ({model.name_or_path}{weights}; content hash {content}), "
        f"{model.pooling} pooling{pooler}."
    )


def _fine_tuning(settings: RunSettings, data: Mapping[str, Any]) -> str:
    optimizer, trainer = settings.optimizer, settings.trainer
    return (
        f"Fine-tuning: {_count(data['train']['n_examples'])} examples of “{settings.data.train_split}”, "
        f"{_count_of(trainer.max_epochs, 'epoch')}, batch {settings.data.batch_size}, AdamW, "
        f"learning rate {optimizer.learning_rate:g}, {optimizer.schedule} schedule, "
        f"warm-up {optimizer.warmup_fraction:g}, weight decay {optimizer.weight_decay:g}, "
        f"gradient clipping {trainer.gradient_clip_val or 0:g}, precision {trainer.precision}, "
        f"freezing {settings.freeze.strategy}{_intervention(settings)}."
    )


def _intervention(settings: RunSettings) -> str:
    plan = settings.intervention
    when = "" if plan.trains else " after training"
    return f", intervention {plan.name.replace('_', ' ')}{when}" if plan.name else ""


def _probe(settings: RunSettings, data: Mapping[str, Any]) -> str:
    n_probe = sorted({entry["n_examples"] for role, entry in data.items() if role.startswith("probe.")})
    is_float32 = probe_precision(str(settings.trainer.precision), settings.probe.autocast) == "32-true"
    return (
        f"Probe: {' or '.join(map(_count, n_probe))} examples of “{settings.data.probe_split}” per language, "
        f"{settings.probe.pooling} pooling of every layer in {'float32' if is_float32 else 'training precision'}, "
        f"at most {settings.data.max_length} tokens."
    )


def _count(n: int) -> str:
    return f"{n:,}"


def _count_of(n: int | None, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
