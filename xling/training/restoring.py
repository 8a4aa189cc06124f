"""Put layers of the base back into a finished run's model, as a whole or by a fraction, and measure what that does."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.models.layers import check_layer, find_layers
from xling.runs.tables import RESTORED
from xling.training.finished import FinishedRun
from xling.training.trainer import build_trainer

log = logging.getLogger(__name__)

State = Mapping[str, Tensor]


def restore_layers(
    finetuned: State, base: State, layer_prefixes: Iterable[str], weight: float = 1.0
) -> dict[str, Tensor]:
    """Put base weights back into some modules: ``weight * base + (1 - weight) * finetuned``.

    Args:
        finetuned: state dict of the fine-tuned model.
        base: state dict of the same model before training.
        layer_prefixes: module names, e.g. ``encoder.encoder.layer.3``; everything below them is restored.
        weight: 0..1; 0 and 1 give the fine-tuned and the base weights exactly.

    Returns:
        A new state dict with the keys of `finetuned`; tensors outside the modules are the same objects. Integer buffers
        are taken from `finetuned`.

    Raises:
        XlingValueError: weight outside 0..1, a prefix without any tensor, or a tensor that `base` lacks or has in
            another shape.

    >>> state = restore_layers({"a.w": torch.tensor([4.0])}, {"a.w": torch.tensor([0.0])}, ["a"], weight=0.25)
    >>> state["a.w"].item()
    3.0
    """
    check_weight(weight)
    restored = dict(finetuned)
    for prefix in layer_prefixes:
        names = [name for name in finetuned if name.startswith(f"{prefix}.")]
        if not names:
            raise XlingValueError(f"no weights below {prefix!r} in the fine-tuned model; name a module that has some")
        restored |= {name: _interpolate(name, finetuned[name], base, weight) for name in names}
    return restored


def check_weight(weight: float) -> None:
    if not 0 <= weight <= 1:
        raise XlingValueError(f"expected a weight of the base model between 0 and 1, got {weight}")


def _interpolate(name: str, finetuned: Tensor, base: State, weight: float) -> Tensor:
    if name not in base or base[name].shape != finetuned.shape:
        found = f"shape {list(base[name].shape)}" if name in base else "no such tensor"
        raise XlingValueError(
            f"expected {name} of shape {list(finetuned.shape)} in the base model, found {found}; "
            "give the base model that this checkpoint was fine-tuned from"
        )
    if not finetuned.is_floating_point():
        return finetuned
    return torch.lerp(finetuned.double(), base[name].double(), weight).to(finetuned.dtype)


def compute_restorations(
    finetuned: State,
    base: State,
    prefixes: Sequence[Sequence[str]],
    restorations: Iterable[tuple[Sequence[int], float]],
    evaluate: Callable[[State], Mapping[str, float]],
    source_language: str,
) -> pd.DataFrame:
    """Measure the fine-tuned model as it is, then with every restoration.

    Args:
        finetuned: state dict of the fine-tuned model.
        base: state dict before training.
        prefixes: per layer, the modules whose parameters make it (:attr:`xling.models.layers.Layers.owners`).
        restorations: pairs of layers to restore together and the weight of the base model, 0..1.
        evaluate: state dict -> target language -> score.
        source_language: language fine-tuned on.

    Returns:
        One row per restoration and target, columns of :data:`xling.runs.tables.RESTORED`; the first rows are
        the fine-tuned model as it is (weight 0).

    Raises:
        XlingValueError: a layer that does not exist, or as in `restore_layers`.
    """
    unrestored = evaluate(finetuned)
    rows = _describe([], 0.0, unrestored, unrestored)
    for layers, weight in restorations:
        for layer in layers:
            check_layer(layer, len(prefixes) - 1)
        modules = [prefix for layer in layers for prefix in prefixes[layer]]
        score = evaluate(restore_layers(finetuned, base, modules, weight))
        rows += _describe(layers, weight, score, unrestored)
    table = pd.DataFrame(rows).assign(source_language=source_language)
    return table.assign(is_in_language=table["target_language"] == source_language)[list(RESTORED)]


def _describe(
    layers: Sequence[int], weight: float, score: Mapping[str, float], unrestored: Mapping[str, float]
) -> list[dict]:
    key = {"restored_layers": "+".join(map(str, layers)), "weight": float(weight)}
    return [
        key | {"target_language": target, "score": value, "change": value - unrestored[target]}
        for target, value in score.items()
    ]


def restore_run(run: FinishedRun, restorations: Sequence[tuple[Sequence[int], float]], path: Path) -> pd.DataFrame:
    """Measure a run's model with every restoration on all its targets.

    Args:
        run: from :func:`xling.training.finished.load_run`.
        restorations: as in `compute_restorations`.
        path: folder for the trainer; nothing is written there.

    Returns:
        Columns of :data:`xling.runs.tables.RESTORED`.
    """
    base = {name: tensor.clone() for name, tensor in run.module.state_dict().items()}
    alone = {"strategy": "auto", "devices": 1, "num_nodes": 1}  # however many processes trained it
    trainer = build_trainer(run.settings.changed(trainer=alone), [], path)
    prefixes = find_layers(run.module, run.settings.model.layers).owners

    def evaluate(state: State) -> dict[str, float]:
        run.module.load_state_dict(state)
        trainer.validate(run.module, run.datamodule, verbose=False)
        metric = run.module.transfer_metric
        return {language: measured[metric] for language, measured in run.module.transfer.items()}

    def announced() -> Iterable[tuple[Sequence[int], float]]:
        for done, (layers, weight) in enumerate(restorations):
            log.info("restoring layers %s, weight %g (%d of %d)", layers, weight, done + 1, len(restorations))
            yield layers, weight

    source_language = run.settings.source_language
    return compute_restorations(run.finetuned, base, prefixes, announced(), evaluate, source_language)
