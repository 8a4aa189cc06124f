"""Phrases what a run logs at its start and end: what is trained on what, how large it is, and how far the sweep is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xling.runs.outlook import Outlook, planned_outlook
from xling.runs.planned_runs import run_key
from xling.runs.subject import describe_subject
from xling.settings import RunSettings
from xling.sweeps.status_table import phrase_duration

_MOST_NAMED = 20
"""Languages that a line of the log names; of more than these only the first."""


def phrase_start(settings: RunSettings) -> str:
    """Phrase data set, task, encoder, languages, strategy and seed of a run in one line."""
    subject, key = describe_subject(settings), run_key(settings)
    return (
        f"{subject['data_set']}, {subject['task']}, {settings.model.name}: {key.source_language} -> "
        f"{phrase_languages(settings.target_languages)}; freezing {key.strategy}, seed {key.seed}"
    )


def phrase_sizes(data: Mapping[str, Mapping[str, Any]], model: Mapping[str, Any]) -> str:
    """Phrase the numbers of examples and weights.

    Args:
        data: role -> facts, from :func:`xling.training.parts.data_facts`.
        model: facts about the encoder, from :func:`xling.models.encoders.describe_encoder`.
    """
    sizes = [facts["n_examples"] for role, facts in data.items() if role.startswith("probe.")]
    each = f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
    languages = f"{len(sizes)} language{'s' if len(sizes) > 1 else ''}"
    return (
        f"{data['train']['n_examples']:,} training examples; probe: {each} examples in each of {languages}; "
        f"encoder: {_phrase_weights(model['n_parameters'])}"
    )


def _phrase_weights(n: int) -> str:
    return f"{n / 1e6:,.1f} million parameters" if n > 1e6 else f"{n:,} parameters"


def phrase_languages(languages: Sequence[str]) -> str:
    """List languages; of many only the first ones are named.

    >>> phrase_languages(["ar", "de"]), phrase_languages([f"l{i}" for i in range(40)])[-17:]
    ('ar, de (2 targets)', 'more (40 targets)')
    """
    named = ", ".join(languages[:_MOST_NAMED])
    more = f" and {len(languages) - _MOST_NAMED} more" if len(languages) > _MOST_NAMED else ""
    return f"{named}{more} ({len(languages)} target{'s' if len(languages) != 1 else ''})"


def phrase_place(folder: Path, settings: RunSettings) -> str:
    """Say which run of its study this one is, counting finished and running ones; empty where no sweep asked for several."""
    outlook = planned_outlook(folder)
    if outlook is None or outlook.n_runs < 2:
        return ""
    place = min(outlook.n_done + max(1, outlook.n_running), outlook.n_runs)
    return f"run {place} of {outlook.n_runs} of the study {settings.study}{_phrase_left(outlook)}"


def phrase_rest(folder: Path, settings: RunSettings) -> str:
    """Say at a run's end how much of the study is left; empty where no sweep asked for several runs."""
    outlook = planned_outlook(folder)
    if outlook is None or outlook.n_runs < 2:
        return ""
    return f"{outlook.n_done} of {outlook.n_runs} runs of the study {settings.study} are done{_phrase_left(outlook)}"


def _phrase_left(outlook: Outlook) -> str:
    """Phrase the time left for all runs; empty before the first run has ended and after the last."""
    return f", about {phrase_duration(outlook.seconds_left)} left for all of it" if outlook.seconds_left else ""
