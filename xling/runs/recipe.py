"""A run's settings as the sentences of a methods section."""

from collections.abc import Mapping
from typing import Any

from xling.machine.precision import probe_precision


def describe_recipe(config: Mapping[str, Any], environment: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Say what was trained on what and how, from what a run directory records.

    Args:
        config: config.yaml.
        environment: environment.json.
        data: data.json.

    Returns:
        Sentences that do not depend on the run's languages and seed, so that runs of one design say the same.
    """
    return f"{_encoder(config['model'], environment)} {_fine_tuning(config, data)} {_probe(config, data)}"


def _encoder(model: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    weights = "" if model["weights"] == "pretrained" else f", {model['weights']} weights"
    pooler = ", its pre-trained pooler kept" if model["pooler"] else ""
    content = environment["model"]["content_hash"][:12]
    return (
        f"Encoder: {model['name']} ({model['name_or_path']}{weights}; content hash {content}), "
        f"{model['pooling']} pooling{pooler}."
    )


def _fine_tuning(config: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    optimizer, trainer = config["optimizer"], config["trainer"]
    return (
        f"Fine-tuning: {_count(data['train']['n_examples'])} examples of “{config['data']['train_split']}”, "
        f"{_count_of(trainer['max_epochs'], 'epoch')}, batch {config['data']['batch_size']}, AdamW, "
        f"learning rate {optimizer['learning_rate']:g}, {optimizer['schedule']} schedule, "
        f"warm-up {optimizer['warmup_fraction']:g}, weight decay {optimizer['weight_decay']:g}, "
        f"gradient clipping {trainer['gradient_clip_val'] or 0:g}, precision {trainer['precision']}, "
        f"freezing {config['freeze']['strategy']}."
    )


def _probe(config: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    n_probe = sorted({entry["n_examples"] for role, entry in data.items() if role.startswith("probe.")})
    is_float32 = probe_precision(config["trainer"]["precision"], config["probe"]["autocast"]) == "32-true"
    return (
        f"Probe: {' or '.join(map(_count, n_probe))} examples of “{config['data']['probe_split']}” per language, "
        f"{config['probe']['pooling']} pooling of every layer in {'float32' if is_float32 else 'training precision'}, "
        f"at most {config['data']['max_length']} tokens."
    )


def _count(n: int) -> str:
    return f"{n:,}"


def _count_of(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
