"""Checks whether runs may be analysed as one study: they may differ only in source language, strategy and seed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xling.errors import XlingValueError, close_matches
from xling.runs.directory import NOT_IDENTITY
from xling.runs.resumed import flatten, latest
from xling.settings import RunSettings

_VARIED = ("study", "source_language", "seed", "target_languages", "data.languages", "freeze.", "intervention.")
_NAMES_CONTENT = ("data.source.root", "data.source.language_dir", "data.source.hub", "data.source.local", "model.name_or_path",
                  "model.revision", "data.root")  # fmt: skip
"""Settings that say where content lies. They are not compared, because fingerprints and hashes compare the content itself."""
_NOT_COMPARED = (*_VARIED, *NOT_IDENTITY, *_NAMES_CONTENT)
_NAMES_RUNS = ("donor", "models")
"""Settings of an intervention that name the runs that took part; like source and seed, they differ from run to run."""
_VERSIONS = ("xling", "python")
_WATCHED = ("commit", "machine.processor_model", "machine.gpus")
"""Facts in which runs of one study may differ; the report then says so."""


@dataclass(frozen=True)
class Mixed:
    """A setting or fact in which runs differ though they should not.

    Attributes:
        name: dotted name, e.g. ``optimizer.learning_rate``, ``versions.torch``, ``data.probe.de``.
        runs: value -> the runs that have it.
    """

    name: str
    runs: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        parts = [f"{value} ({runs[0]}{_more(len(runs) - 1)})" for value, runs in self.runs.items()]
        return f"{self.name}: {', '.join(parts)}"


def _more(n: int) -> str:
    return f" and {n} more" if n else ""


def design_of(settings: RunSettings, environment: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, str]:
    """List everything about a run that must be the same in all runs of its study, by dotted name.

    Args:
        settings: settings of the run.
        environment: content of environment.json; what an older version did not record is left out.
        data: content of data.json.
    """
    plain = settings.to_plain()
    named = {*settings.named, *(f"data.{name}" for name in settings.data.named)}
    config = {
        name: value
        for name, value in flatten(plain).items()
        if not name.startswith(_NOT_COMPARED)
        and not any(name == other or name.startswith(f"{other}.") for other in named)
    }
    freeze = {f"freeze of {settings.freeze.name}.{name}": value for name, value in flatten(plain["freeze"]).items()}
    plan = settings.intervention
    done = {
        f"intervention of {plan.name}.{name}": value
        for name, value in flatten(plain["intervention"]).items()
        if plan.name and name not in _NAMES_RUNS
    }
    facts = latest(environment)
    versions = {f"versions.{name}": facts[name] for name in _VERSIONS if name in facts}
    versions |= {name.replace("packages.", "versions."): facts[name] for name in facts if name.startswith("packages.")}
    content = {"model.content_hash": facts["model.content_hash"]}
    for role, entry in data.items():
        content[f"data.{role if role.startswith('probe.') else entry['name']}"] = entry["fingerprint"][:12]
    watched = {name: facts[name] for name in _WATCHED if name in facts}
    return {name: str(value) for name, value in (config | freeze | done | versions | content | watched).items()}


def find_mixed(designs: Mapping[str, Mapping[str, str]]) -> list[Mixed]:
    """List what runs differ in; a fact that only some of them have recorded is compared among those.

    Args:
        designs: run -> its design, from :func:`design_of`.
    """
    values: dict[str, dict[str, list[str]]] = {}
    for run, design in designs.items():
        for name, value in design.items():
            values.setdefault(name, {}).setdefault(value, []).append(run)
    return [Mixed(name, runs) for name, runs in sorted(values.items()) if len(runs) > 1]


def check_comparable(study: str, designs: Mapping[str, Mapping[str, str]], allowed: Collection[str] = ()) -> list[str]:
    """Refuse to analyse runs together that differ in more than source, strategy and seed.

    Args:
        study: name of the study.
        designs: run -> its design, from :func:`design_of`.
        allowed: names, or groups of names such as ``versions``, in which runs may differ all the same.

    Returns:
        One sentence for each difference that is allowed, or that changes no more than last digits (processor, GPU, commit).

    Raises:
        XlingValueError: the runs differ in something else, or `allowed` has a name that no run records.
    """
    known = {name for design in designs.values() for name in design}
    groups = known | {name.partition(".")[0] for name in known}
    for name in allowed:
        if not any(_is_in(other, name) for other in known):
            raise XlingValueError(
                f"expected allow_mixed to name what runs record, got {name!r}{close_matches(name, groups)}"
            )
    mixed = find_mixed(designs)
    refused = [m for m in mixed if m.name not in _WATCHED and not any(_is_in(m.name, name) for name in allowed)]
    if refused:
        raise XlingValueError(
            f"the runs of study {study!r} differ in more than source language, strategy and seed: "
            f"{'; '.join(map(str, refused[:3]))}{_more_things(len(refused) - 3)}. Analyse them as studies of different names, or, "
            f"where this is wanted, set allow_mixed=[{','.join(m.name for m in refused)}]"
        )
    return [f"Runs of study {study} differ in {m}." for m in mixed]


def _is_in(name: str, group: str) -> bool:
    return name == group or name.startswith(f"{group}.")


def _more_things(n: int) -> str:
    return f"; and {n} more settings" if n > 0 else ""
