"""Writes the run directories of a study that was never trained: numbers are drawn, everything else is as runs leave it.

For measuring what is done with many runs: ``python -m benchmarks.made_up_study FOLDER --sources 15 --seeds 5``.
"""

import argparse
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import xling
from xling.data.sources.xnli import XNLI_LANGUAGES
from xling.machine.description import describe_environment
from xling.runs.directory import DATA_FILE, ENVIRONMENT_FILE, RunDirectory
from xling.runs.planned_runs import identity_of, record_plan, run_key, study_folder
from xling.runs.tables import IMPACT_FILE, TRANSFER_FILE
from xling.settings import RunSettings
from xling.storage.atomic import write_json

_CODES = (
    "af am az be bn ca cs cy da eo et eu fa fi fo ga gl gu he hr hu hy id is it ja ka kk km kn "
    "ko ku ky la lo lt lv mg mk ml mn mr ms mt my ne nl nn no oc or pa pl ps pt qu ro sa sd si "
    "sk sl so sq sr sv ta te tg tk tl tt ug uk uz yi yo zu ha ig mi rw sn wo xh"
)
MORE_LANGUAGES = tuple(_CODES.split())
"""Languages besides XNLI's, 100 in all; every one has features in URIEL."""

_PLAIN = ("model=tiny_bert", "study=made_up", "trainer.precision=32-true")

MEASURES = ("cka_grouped", "cka_debiased", "cka_biased")
N_LAYERS, N_PROBE, N_GROUPS, N_STEPS = 12, 450, 150, 157


def write_study(
    output_dir: Path,
    sources: Sequence[str],
    targets: Sequence[str],
    strategies: Sequence[str] = ("none",),
    seeds: Sequence[int] = (1,),
    validations: int = 1,
) -> Path:
    """Write a complete run for every source, strategy and seed.

    Args:
        output_dir: folder that receives the study's folder, ``made_up``.
        sources: languages fine-tuned on.
        targets: languages evaluated.
        strategies: overrides of ``conf/freeze``: ``none``, or ``bottom_3`` and the like.
        seeds: seeds of the runs.
        validations: number of validations with impact of every target and layer, besides the one before training.

    Returns:
        The study's folder.
    """
    rng = np.random.default_rng(0)
    effects = {language: rng.normal(size=2) for language in {*sources, *targets}}
    plans = {strategy: _composed(output_dir, targets, strategy) for strategy in strategies}
    environment = describe_environment() | {
        "model": {"name": "made up", "revision": "made-up-v1", "content_hash": _hash("model")},
        "precision": "32-true",
        "alignment": "",
    }
    runs = [
        plans[strategy].changed(source_language=source, seed=seed)
        for source, strategy, seed in itertools.product(sources, strategies, seeds)
    ]
    for settings in runs:
        run = RunDirectory.of(settings.output_dir, **identity_of(settings))
        run.write_settings(settings)
        write_json(run.path / ENVIRONMENT_FILE, environment)
        write_json(run.path / DATA_FILE, _data_of(settings.source_language, targets))
        run.write_tables(_tables(settings, effects, validations, rng))
        facts = {"transfer_metric": "accuracy", "n_train": 5010, "model": "tiny_bert", "noise_floor": 0.0}
        frozen = {"frozen_layers": list(settings.freeze.layers_of(N_LAYERS)), "alignment": "", "seconds": 500.0}
        run.complete(identity_of(settings) | facts | frozen | {"train_seconds": 300.0})
    folder = study_folder(runs[0])
    record_plan(folder, [run_key(settings) for settings in runs])
    return folder


def _composed(output_dir: Path, targets: Sequence[str], strategy: str) -> RunSettings:
    name, _, k = strategy.rpartition("_")
    freeze = [f"freeze={name}_k", f"freeze.k={k}"] if k.isdigit() else [f"freeze={strategy}"]
    languages = f"target_languages=[{','.join(repr(target) for target in targets)}]"
    return xling.compose([*_PLAIN, f"output_dir={output_dir}", languages, *freeze])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _data_of(source: str, targets: Sequence[str]) -> dict[str, Any]:
    data = {"train": {"name": f"test.{source}", "n_examples": 5010, "fingerprint": _hash(f"test.{source}")}}
    for target in targets:
        name = f"dev.{target}"
        data[f"probe.{target}"] = {"name": name, "n_examples": N_PROBE, "fingerprint": _hash(name)}
    return data


def _tables(
    settings: RunSettings, effects: dict[str, np.ndarray], validations: int, rng: np.random.Generator
) -> dict[str, pd.DataFrame]:
    """Make the tables of one run: transfer after every validation, and impact also before training, where it is 0."""
    targets = list(settings.target_languages)
    keys = pd.DataFrame({"target_language": targets}).assign(**identity_of(settings))
    keys["is_in_language"] = keys["target_language"] == settings.source_language
    of_pair = np.array([effects[settings.source_language][0] + effects[target][1] for target in targets])
    steps = [N_STEPS * (at + 1) // validations for at in range(validations)]
    transfer = pd.concat([
        keys.assign(
            epoch=step / N_STEPS, step=step, metric="accuracy", n_examples=N_PROBE, reason="",
            score=0.6 + 0.05 * of_pair + 0.02 * rng.normal(size=len(targets)),
        )
        for step in steps
    ])  # fmt: skip
    impact = pd.concat([_impact(keys, step, settings.freeze.layers_of(N_LAYERS), of_pair, rng) for step in (0, *steps)])
    return {TRANSFER_FILE: transfer, IMPACT_FILE: impact}


def _impact(
    keys: pd.DataFrame, step: int, frozen: Sequence[int], of_pair: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    layers = np.arange(N_LAYERS + 1)
    moved = 0.3 + 0.05 * of_pair[:, None] + 0.02 * rng.normal(size=(len(keys), len(layers)))
    moved *= (step > 0) * (~np.isin(layers, frozen) | (layers > max(frozen, default=-1)))
    at = np.arange(len(keys)).repeat(len(layers) * len(MEASURES))
    table = keys.iloc[at].reset_index(drop=True)
    layer = np.tile(layers.repeat(len(MEASURES)), len(keys))
    value = moved.repeat(len(MEASURES), axis=1).ravel()
    is_main = np.tile(np.arange(len(MEASURES)) == 0, len(keys) * len(layers))
    spread: dict[str, Any] = {"impact_se": 0.01, "impact_low": value - 0.02, "impact_high": value + 0.02}
    of_main = {name: np.where(is_main, column, np.nan) for name, column in spread.items()}
    return table.assign(
        epoch=step / N_STEPS, step=step, layer=layer, is_frozen=np.isin(layer, frozen),
        measure=np.tile(MEASURES, len(keys) * len(layers)), n_examples=N_PROBE, n_groups=N_GROUPS, impact=value, reason="",
        **of_main,
    )  # fmt: skip


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="receives made_up/")
    parser.add_argument("--sources", type=int, default=15)
    parser.add_argument("--targets", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--validations", type=int, default=1)
    parser.add_argument(
        "--strategies", nargs="+", default=["none", "embeddings", *(f"bottom_{k}" for k in (2, 4, 6, 8)), "top_4"]
    )
    options = parser.parse_args()
    languages = (*XNLI_LANGUAGES, *MORE_LANGUAGES)
    chosen = languages[: options.sources], languages[: options.targets]
    seeds = range(1, options.seeds + 1)
    print(write_study(options.folder, *chosen, options.strategies, list(seeds), options.validations))


if __name__ == "__main__":
    main()
