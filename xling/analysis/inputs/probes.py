"""Supplies distances that are measured on a study itself: on its probe sets' sub-words or the base model's representations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xling.distances import Distances, feed_of
from xling.distances.registry import LANGUAGES, TOKEN_COUNTS
from xling.errors import XlingValueError
from xling.runs.directory import ENVIRONMENT_FILE, read_settings_to_build
from xling.settings import RunSettings
from xling.storage.atomic import read_json

# torch, transformers and what needs them are imported where they are used: most analyses do without


def supply_probes(compute: Callable[..., Distances], run: Path | str | None) -> Callable[..., Distances]:
    """Give a measured distance what it measures; leave other distances as they are.

    Args:
        compute: function of distances, which declares what it must be given (:func:`xling.distances.computed_from`).
        run: directory of a complete run of the study, whose probe sets and base model are those of all runs; None: there is none.

    Returns:
        A function of distances that is called with ``languages=[...]`` alone.

    Raises:
        XlingValueError: a measured distance is asked for without a study, or a language has no probe set.
    """
    feed = feed_of(compute)
    if feed == LANGUAGES:
        return compute
    if run is None:
        raise XlingValueError("distances measured on probe sets need a study: give runs=DIR, or choose other distances")
    read = _count_tokens if feed == TOKEN_COUNTS else _read_base

    def measure(languages: list[str]) -> Distances:
        return compute(**read(*_load_probes(Path(run), languages)))

    return measure


def _load_probes(run: Path, languages: list[str]) -> tuple[Path, RunSettings, Any, list[str]]:
    """Load the run's settings and its :class:`~xling.data.datamodule.TransferDataModule`."""
    from xling.training.parts import build_data

    settings = read_settings_to_build(run)
    missing = [language for language in languages if language not in settings.target_languages]
    if missing:
        raise XlingValueError(f"{run} has probe sets of {', '.join(settings.target_languages)}, not of {missing[0]!r}")
    return run, settings, build_data(settings), languages


def _count_tokens(run: Path, settings: RunSettings, data: Any, languages: list[str]) -> dict:
    """Count how often each token id occurs in the probe sets; special tokens count as 0."""
    counts = {}
    for language in languages:
        ids = np.concatenate([np.asarray(row) for row in data.probes[language].rows["input_ids"]])
        counts[language] = np.bincount(ids, minlength=len(data.tokenizer))
        counts[language][data.tokenizer.all_special_ids] = 0
    return {"token_counts": counts}


def _read_base(run: Path, settings: RunSettings, data: Any, languages: list[str]) -> dict:
    """Read the representations from before training, which the runs stored."""
    import torch

    from xling.probing.base_store import shared_store

    model_hash = read_json(run / ENVIRONMENT_FILE)["model"]["content_hash"]
    store = shared_store(settings, model_hash, data.probe_fingerprints)
    bases = {language: store.load(language, torch.device("cpu")) for language in languages}
    stacked = {language: torch.stack([*base.layers.values()]).float().numpy() for language, base in bases.items()}
    return {
        "representations": stacked,
        "ids": {language: base.example_ids.tolist() for language, base in bases.items()},
    }
