"""Reads settings from the text of a run's config.yaml, and texts of one design only once.

The runs of a study differ in two lines, source language and seed, and parsing and checking all others is most of what reading a
configuration costs. What the other lines say is therefore remembered.
"""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

import yaml

from xling.errors import XlingValueError
from xling.freezing.plan import FreezePlan
from xling.freezing.strategies import STRATEGIES
from xling.interventions.plan import INTERVENTIONS, InterventionPlan
from xling.settings import RunSettings, checked
from xling.storage.yaml_text import parse_yaml

NO_SETTINGS = (XlingValueError, TypeError, ValueError, AttributeError, KeyError)
"""Errors of a YAML text that does not hold the settings of a run."""

_LINE_OF_A_RUN = re.compile(r"^(source_language|seed): ([A-Za-z0-9_'-]+)$", re.MULTILINE)
_PLACEHOLDERS = {"source_language": "placeholder", "seed": 1234567890}
_DESIGNS = 512


def settings_of(text: str, strategy_name: str) -> RunSettings:
    """Make settings from the text of a config.yaml without importing anything.

    Args:
        text: content of the file.
        strategy_name: name of the folder of the run's strategy. A strategy or intervention of another package cannot be asked for
            its name without importing it. It stays a path, and its name is taken from that folder.

    Raises:
        yaml.YAMLError: the text is no YAML.
        RecursionError: the text is nested too deeply.
        XlingValueError, TypeError, ValueError, AttributeError, KeyError: the text holds no settings of a run.
    """
    lines = [match[0] for match in _LINE_OF_A_RUN.finditer(text)]
    design = _LINE_OF_A_RUN.sub(lambda match: f"{match[1]}: {_PLACEHOLDERS[match[1]]}", text)
    try:
        settings, own = _settings_of_design(design, strategy_name), _values_of("\n".join(lines))
    except (yaml.YAMLError, RecursionError, *NO_SETTINGS):
        return _without_import(parse_yaml(text), strategy_name)  # whose message is about this text
    if len(lines) == len(own) == len(_PLACEHOLDERS) and _has_placeholders(settings):
        return replace(settings, **own)
    return _without_import(parse_yaml(text), strategy_name)


def _has_placeholders(settings: RunSettings) -> bool:
    """Whether the lines that were replaced are what decides on both values, and not text inside something else."""
    return all(getattr(settings, name) == value for name, value in _PLACEHOLDERS.items())


@lru_cache(maxsize=_DESIGNS)
def _settings_of_design(text: str, strategy_name: str) -> RunSettings:
    return _without_import(parse_yaml(text), strategy_name)


@lru_cache(maxsize=_DESIGNS)
def _values_of(lines: str) -> dict[str, Any]:
    return {name: checked(name, value) for name, value in parse_yaml(lines).items()}


def _without_import(plain: dict[str, Any], strategy_name: str) -> RunSettings:
    freeze = plain.get("freeze") or {}
    strategy = freeze.get("strategy")
    intervention = plain.get("intervention") or {}
    kind = intervention.get("kind", "none")
    if isinstance(kind, str) and kind not in INTERVENTIONS.own:
        settings = _without_import({**plain, "intervention": {"kind": "none"}}, strategy_name)
        name = strategy_name.removeprefix(f"{settings.freeze.name}_")
        options = {key: value for key, value in intervention.items() if key != "kind"}
        return replace(settings, intervention=InterventionPlan(name, kind, options))
    if not isinstance(strategy, str) or strategy in STRATEGIES.own:
        return RunSettings.from_plain(plain)
    settings = RunSettings.from_plain({**plain, "freeze": {"strategy": "none"}})
    options = {key: value for key, value in freeze.items() if key not in ("strategy", "dropout")}
    return replace(settings, freeze=FreezePlan(strategy_name, strategy, freeze.get("dropout", "active"), options))
