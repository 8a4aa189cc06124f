"""A run's settings as the sentences of a methods section."""

from collections.abc import Mapping
from typing import Any


def describe_recipe(config: Mapping[str, Any], environment: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Say what was trained on what and how, from what a run directory records.

    Args:
        config: config.yaml.
        environment: environment.json.
        data: data.json.

    Returns:
        Sentences that do not depend on the run's languages and seed, so that runs of one design say the same.
    """
    model, optimizer, trainer, probe = (config[name] for name in ("model", "optimizer", "trainer", "probe"))
    facts = environment["model"]
    n_probe = sorted({entry["n_examples"] for role, entry in data.items() if role.startswith("probe.")})
    weights = "" if model["weights"] == "pretrained" else f", {model['weights']} weights"
    pooler = ", its pre-trained pooler kept" if model["pooler"] else ""
    return (
        f"Encoder: {model['name']} ({model['name_or_path']}{weights}; content hash {facts['content_hash'][:12]}), "
        f"{model['pooling']} pooling{pooler}. Fine-tuning: {_count(data['train']['n_examples'])} examples of "
        f"“{config['data']['train_split']}”, {_count_of(trainer['max_epochs'], 'epoch')}, batch {config['data']['batch_size']}, AdamW, "
        f"learning rate {optimizer['learning_rate']:g}, {optimizer['schedule']} schedule, warm-up "
        f"{optimizer['warmup_fraction']:g}, weight decay {optimizer['weight_decay']:g}, gradient clipping "
        f"{trainer['gradient_clip_val'] or 0:g}, precision {trainer['precision']}, freezing {config['freeze']['strategy']}. "
        f"Probe: {' or '.join(map(_count, n_probe))} examples of “{config['data']['probe_split']}” per language, {probe['pooling']} pooling "
        f"of every layer in {'training precision' if probe['autocast'] else 'float32'}, at most {config['data']['max_length']} tokens."
    )


def _count(n: int) -> str:
    return f"{n:,}"


def _count_of(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
