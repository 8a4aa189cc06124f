"""Reverts layers of finished runs, swaps them between runs, and averages runs; every result is recorded as a run of its own."""

import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from torch import Tensor

from xling.errors import XlingValueError
from xling.freezing.strategies import random_k
from xling.interventions.layer_shares import HEAD, Shares, format_shares, scaled
from xling.interventions.plan import plan_intervention
from xling.interventions.weights import State, average_states, blend_layers
from xling.models.layers import find_layers
from xling.runs.directory import DATA_FILE, RunDirectory
from xling.runs.planned_runs import identity_of
from xling.runs.tables import RESTORED, TRANSFER_FILE
from xling.storage.atomic import read_json
from xling.training.checkpoints import load_checkpoint
from xling.training.derived import derive_run, read_parent
from xling.training.finished import FinishedRun, load_run

log = logging.getLogger(__name__)


class Restoration(NamedTuple):
    """Layers to put back to the weights from before training, each by its share (0..1) times `weight` (0..1).

    `draw` is the seed that drew them where they were drawn at random.
    """

    shares: Shares
    weight: float = 1.0
    draw: int | None = None


def draw_restorations(n_layers: int, size: int, count: int, chosen: Iterable[Shares] = ()) -> list[Restoration]:
    """Draw different sets of layers at random, for chosen ones to be judged among.

    The seeds 1, 2, 3, ... are tried in turn, so that all runs of one encoder are given the same sets.

    Args:
        n_layers: number of blocks of the encoder; layer 0 is never drawn.
        size: layers in a set.
        count: number of sets.
        chosen: sets that must not be among them.

    Raises:
        XlingValueError: there are not that many sets of that size.
    """
    taken = {frozenset(shares) for shares in chosen if len(shares) == size}
    free = math.comb(n_layers, max(size, 0)) - len(taken) if size > 0 else 0
    if not 0 < count <= free:
        raise XlingValueError(
            f"expected at least one random set, and no more than the {free} of {size} of {n_layers} layers that are not chosen, "
            f"got {count}"
        )
    drawn: list[Restoration] = []
    seeds = itertools.count(1)
    while len(drawn) < count:
        seed = next(seeds)
        layers = random_k(n_layers, size, seed)
        if frozenset(layers) not in taken:
            taken.add(frozenset(layers))
            drawn.append(Restoration(dict.fromkeys(layers, 1.0), draw=seed))
    return drawn


def base_state(run: FinishedRun) -> dict[str, Tensor]:
    """Copy the run's weights from before training; call this before anything else is loaded into the run's module."""
    return {name: tensor.clone() for name, tensor in run.module.state_dict().items()}


def revert_run(
    run: FinishedRun, base: State, restorations: Sequence[Restoration], output_dir: Path
) -> list[RunDirectory]:
    """Put the weights from before training back into a run's model, once for each of `restorations`.

    Args:
        run: finished run, from :func:`xling.training.finished.load_run`.
        base: state dict from before training, from :func:`base_state`.
        restorations: which layers to put back, and by how much.
        output_dir: see :func:`xling.training.derived.derive_run`.

    Returns:
        The record of each restoration, in their order.

    Raises:
        XlingValueError: a restoration names a layer that does not exist.
    """
    owners = find_layers(run.module, run.settings.model.layers).owners
    records = []
    for done, (shares, weight, draw) in enumerate(restorations):
        log.info("reverting layers %s, share %g (%d of %d)", format_shares(shares), weight, done + 1, len(restorations))
        blend = scaled(shares, weight)
        drawn = {} if draw is None else {"draw": draw}
        plan = plan_intervention("revert", layers=format_shares(blend), **drawn)
        records.append(
            derive_run(run, base, plan, partial(blend_layers, run.finetuned, base, owners, blend), output_dir)
        )
    return records


def swap_run(
    run: FinishedRun, base: State, donor: FinishedRun, layer_sets: Sequence[Shares], output_dir: Path
) -> list[RunDirectory]:
    """Put layers of another run's model into a run's model, e.g. the lowest layers of a run on another source language.

    Args:
        run: run that receives the layers; its head stays unless ``head`` is among the parts.
        base: state dict from before training, from :func:`base_state`.
        donor: run that gives the layers, of the same base and measured on the same probe sets.
        layer_sets: one set of layers per swap; each layer has the donor's share of its new weights, 0..1.
        output_dir: see :func:`xling.training.derived.derive_run`.

    Returns:
        The record of each set, under the run's source language and seed.

    Raises:
        XlingValueError: the two runs are not of one base, or were not probed on the same examples.
    """
    check_of_one_base(run, donor)
    owners = find_layers(run.module, run.settings.model.layers).owners
    records = []
    for shares in layer_sets:
        plan = plan_intervention(
            "swap", layers=format_shares(shares), donor=name_run(donor), whose=differing(run, donor)
        )

        def swapped(parts: Shares = shares) -> dict[str, Tensor]:
            return blend_layers(run.finetuned, donor.finetuned, owners, parts, name_run(donor))

        seconds = _train_seconds([run.path, donor.path])
        records.append(derive_run(run, base, plan, swapped, output_dir, seconds))
    return records


def average_runs(run: FinishedRun, base: State, others: Sequence[Path], output_dir: Path) -> RunDirectory:
    """Average a run's weights, head included, with those of other runs or of checkpoint files.

    Args:
        run: the first of the runs; the record stands under its source language and seed.
        base: state dict from before training, from :func:`base_state`.
        others: run directories, or checkpoint files of this run, e.g. copies of ``last.ckpt`` made during its training.
        output_dir: see :func:`xling.training.derived.derive_run`.

    Raises:
        XlingValueError: a run was fine-tuned from another base, or measured on other probe sets.
    """
    states, names, words, paths = [run.finetuned], [name_run(run)], [_words_of(run)], [run.path]
    for path in others:
        if path.is_file():
            states.append(load_checkpoint(path)["state_dict"])
            names.append(path.name)
            words.append({"checkpoint": path.stem})
            continue
        other = load_run(path)
        check_of_one_base(run, other)
        states.append(other.finetuned)
        names.append(name_run(other))
        words.append(_words_of(other))
        paths.append(path)
    plan = plan_intervention("average", models=names, whose=_tell_apart(words))
    return derive_run(run, base, plan, lambda: average_states(states), output_dir, _train_seconds(paths))


def check_of_one_base(run: FinishedRun, other: FinishedRun) -> None:
    """Refuse two runs whose weights cannot be mixed or whose scores cannot be compared.

    Raises:
        XlingValueError: the runs have different base models or different probe sets.
    """
    pair = f"{name_run(run)} and {name_run(other)}"
    if run.model["content_hash"] != other.model["content_hash"]:
        raise XlingValueError(f"{pair} were fine-tuned from different bases; give two runs of one base")
    ours, theirs = (read_json(each.path / DATA_FILE) for each in (run, other))
    probes = [role for role in {**ours, **theirs} if role.startswith("probe.")]
    for role in probes:
        found = [facts.get(role, {}).get("fingerprint") for facts in (ours, theirs)]
        if found[0] != found[1]:
            raise XlingValueError(f"{pair} were not measured on the same {role}; give two runs of one design")


def name_run(run: FinishedRun) -> str:
    """``study/source/strategy/seed_n`` of a run: where it came from, whatever folder it lies in."""
    identity = identity_of(run.settings)
    return f"{identity['study']}/{identity['source_language']}/{identity['strategy']}/seed_{identity['seed']}"


def differing(run: FinishedRun, other: FinishedRun) -> str:
    """What tells another run from this one, e.g. ``sw`` or ``seed_2``; it becomes a part of the record's name.

    Nothing that the runs have in common is in it, so that the same swap has the same name in all pairs of a study.
    """
    own, theirs = _words_of(run), _words_of(other)
    return "_".join(word for key, word in theirs.items() if word != own[key]) or "itself"


def _words_of(run: FinishedRun) -> dict[str, str]:
    identity = identity_of(run.settings)
    return {
        "study": str(identity["study"]),
        "source": str(identity["source_language"]),
        "strategy": str(identity["strategy"]),
        "seed": f"seed_{identity['seed']}",
    }


def _tell_apart(words: Sequence[Mapping[str, str]]) -> str:
    """Name several runs by the values of whatever differs between them, e.g. ``seeds_1_2_3`` or ``en_ru``."""
    keys = list(dict.fromkeys(key for each in words for key in each))
    parts = []
    for key in keys:
        values = [each[key] for each in words if key in each]
        if key == "checkpoint":
            parts.append("_".join(["checkpoints", *values]))
        elif len(set(values)) > 1:
            seeds = ["seeds", *(value.removeprefix("seed_") for value in values)]
            parts.append("_".join(seeds if key == "seed" else values))
    return "_".join(parts) or "itself"


def _train_seconds(paths: Iterable[Path]) -> float | None:
    seconds = [read_parent(path).get("train_seconds") for path in paths]
    known = [value for value in seconds if value is not None]
    return round(sum(known), 1) if len(known) == len(seconds) else None


def measured_scores(record: RunDirectory) -> dict[str, float]:
    """Read the last scores of a run: target language -> value of the task's transfer metric."""
    transfer = pd.read_parquet(record.path / TRANSFER_FILE)
    last = transfer[transfer["step"] == transfer["step"].max()]
    return last.set_index("target_language")["score"].to_dict()


def tabulate_restorations(
    finetuned: Mapping[str, float],
    restored: Iterable[tuple[Restoration, Mapping[str, float]]],
    source_language: str,
) -> pd.DataFrame:
    """Set scores with restored layers beside those of the fine-tuned model.

    Args:
        finetuned: target language -> score of the fine-tuned model as it is.
        restored: each restoration with the scores after it, target language -> score.
        source_language: language the model was fine-tuned on.

    Returns:
        One row per restoration and target, columns of :data:`xling.runs.tables.RESTORED`; the first rows are the fine-tuned
        model as it is (weight 0).
    """
    rows = _describe("", 0.0, finetuned, finetuned)
    for (shares, weight, _), scores in restored:
        rows += _describe(_join(shares), weight, scores, finetuned)
    table = pd.DataFrame(rows).assign(source_language=source_language)
    return table.assign(is_in_language=table["target_language"] == source_language)[list(RESTORED)]


def _join(shares: Shares) -> str:
    """Write layers as the column `restored_layers` has them, joined by ``+``, each with its share where that is not 1."""
    return "+".join(
        part if part == HEAD else str(part) if share == 1 else f"{part}:{share:g}" for part, share in shares.items()
    )


def _describe(layers: str, weight: float, score: Mapping[str, float], finetuned: Mapping[str, float]) -> list[dict]:
    key = {"restored_layers": layers, "weight": float(weight)}
    return [
        key | {"target_language": target, "score": value, "change": value - finetuned[target]}
        for target, value in score.items()
    ]


def restore_run(run: FinishedRun, base: State, restorations: Sequence[Restoration], output_dir: Path) -> pd.DataFrame:
    """Measure a run's model with every restoration on all its targets, beside what the run itself recorded.

    Args:
        run: finished run, from :func:`xling.training.finished.load_run`.
        base: state dict from before training, from :func:`base_state`.
        restorations: which layers to put back, and by how much.
        output_dir: folder that receives the records, see :func:`xling.training.derived.derive_run`.

    Returns:
        Columns of :data:`xling.runs.tables.RESTORED`.
    """
    records = revert_run(run, base, restorations, output_dir)
    finetuned = measured_scores(RunDirectory(run.path))
    scores = zip(restorations, map(measured_scores, records), strict=True)
    return tabulate_restorations(finetuned, scores, run.settings.source_language)
