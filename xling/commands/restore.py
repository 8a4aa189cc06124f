"""Training-free causal check: put base-model layers back into a fine-tuned model and measure transfer again.

If layer i's change is what hurts distant languages, undoing it should help them more than near ones. Layers are put
back as a whole or by a fraction: interpolation between fine-tuned and base weights. (Bandarkar 2025, arXiv:2410.01335,
swaps layers between two fine-tuned models; here one of the two is the base.) The head stays fine-tuned, so restoring
many layers also takes away what the head relies on: the change on the source language, in the same table, is the
yardstick.

``python -m xling.commands.restore RUN --layers 1,2 --layers 6 --weights 0.5 1``
"""

import argparse
import itertools
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from xling.analysis.questions.restoration import RESTORED, compute_trend
from xling.distances import KINDS, SOURCES, DistanceWarning, distance_table
from xling.errors import XlingError, XlingValueError
from xling.machine.logs import configure_logging
from xling.models.layers import check_layer, find_layers
from xling.storage.atomic import write_text
from xling.training.finished import FinishedRun, load_run
from xling.training.parts import build_trainer

log = logging.getLogger("xling.commands.restore")  # __name__ is "__main__" where this is the command

State = Mapping[str, Tensor]
RESTORED_FILE = "restored.csv"
TREND_FILE = "restored_trend.csv"


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
    _check_weight(weight)
    restored = dict(finetuned)
    for prefix in layer_prefixes:
        names = [name for name in finetuned if name.startswith(f"{prefix}.")]
        if not names:
            raise XlingValueError(f"no weights below {prefix!r} in the fine-tuned model; name a module that has some")
        restored |= {name: _interpolate(name, finetuned[name], base, weight) for name in names}
    return restored


def _check_weight(weight: float) -> None:
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
        One row per restoration and target, columns of :data:`xling.analysis.questions.restoration.RESTORED`; the first rows are
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
        Columns of :data:`xling.analysis.questions.restoration.RESTORED`.
    """
    base = {name: tensor.clone() for name, tensor in run.module.state_dict().items()}
    alone = {"strategy": "auto", "devices": 1, "num_nodes": 1}  # however many processes trained it
    trainer = build_trainer(run.config | {"trainer": run.config["trainer"] | alone}, [], path)
    prefixes = find_layers(run.module, run.config["model"]["layers"]).owners

    def evaluate(state: State) -> dict[str, float]:
        run.module.load_state_dict(state)
        trainer.validate(run.module, run.datamodule, verbose=False)
        metric = run.module.transfer_metric
        return {language: measured[metric] for language, measured in run.module.transfer.items()}

    def announced() -> Iterable[tuple[Sequence[int], float]]:
        for done, (layers, weight) in enumerate(restorations):
            log.info("restoring layers %s, weight %g (%d of %d)", layers, weight, done + 1, len(restorations))
            yield layers, weight

    source_language = run.config["source_language"]
    return compute_restorations(run.finetuned, base, prefixes, announced(), evaluate, source_language)


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words of the command line; None = those of this process.

    Returns:
        Exit status: 0, or 1 after an error, which stands on stderr in one sentence.
    """
    options = _parser().parse_args(arguments)
    configure_logging()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=DistanceWarning)
        warnings.showwarning = lambda message, *_: log.warning("warning: %s", message)
        try:
            _restore_and_write(options.run, options.layers, options.weights, options.distances)
        except XlingError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def _restore_and_write(path: Path, layer_sets: list[list[int]] | None, weights: list[float], source: str) -> None:
    run = load_run(path)
    n_layers = find_layers(run.module, run.config["model"]["layers"]).n_layers
    layer_sets = layer_sets or [[layer] for layer in range(n_layers + 1)]
    restorations = list(itertools.product(layer_sets, weights))
    for layers, weight in restorations:  # before the first evaluation, which takes a while
        _check_weight(weight)
        for layer in layers:
            check_layer(layer, n_layers)
    table = restore_run(run, restorations, path)
    languages = list(dict.fromkeys([run.config["source_language"], *run.config["target_languages"]]))
    distances = distance_table(languages, source=source)[["source_language", "target_language", *KINDS]]
    table = table.merge(distances, on=["source_language", "target_language"], how="left")
    trend = compute_trend(table, KINDS)
    for name, frame in ((RESTORED_FILE, table), (TREND_FILE, trend)):
        write_text(path / name, frame.to_csv(index=False))
        log.info("wrote %s", path / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xling.commands.restore",
        description="Put base-model layers back into a fine-tuned model and measure transfer on all its targets again; "
        f"writes {RESTORED_FILE} and {TREND_FILE} into the run's directory.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a finished run that kept its checkpoint")
    parser.add_argument(
        "--layers",
        type=lambda text: sorted({int(layer) for layer in text.split(",")}),
        action="append",
        metavar="1,2,6",
        help="layers to restore together, 0 = embeddings; may be repeated; default: every layer by itself",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="W",
        help="share of the base weights, 0..1; default 1",
    )
    parser.add_argument("--distances", default="repaired", choices=SOURCES, help="distance source; default repaired")
    return parser


if __name__ == "__main__":
    sys.exit(main())
