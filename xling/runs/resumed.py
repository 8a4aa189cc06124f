"""Checks that an interrupted run goes on with what it began with: weights, data, precision, versions, machine.

Other weights or other data under the same name would make one run of two, and are refused. Other versions or another machine change
last digits only. The run then goes on with a warning, and the differences are added to its record, which keeps what it had.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xling.errors import MissingFileError, XlingValueError
from xling.storage.atomic import read_json

RESUMED = "resumed"
"""Key in environment.json for a list with an entry per start that differed from the one before: when it was, and what differed ->
[before, then]."""

_MUST_AGREE = {"model.content_hash": "the weights of the base model", "precision": "the training precision"}
_MAY_DIFFER = ("xling", "commit", "python", "packages.", "machine.")


@dataclass(frozen=True)
class Difference:
    """A fact that was recorded when the run began and is different now.

    Attributes:
        name: dotted name of the fact, e.g. ``packages.torch``.
        recorded: the recorded value.
        now: the value now.
    """

    name: str
    recorded: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} {self.recorded}, now {self.now}"


def check_resumable(
    run: Path, environment_file: str, data_file: str, environment: Mapping[str, Any], data: Mapping[str, Any]
) -> list[Difference]:
    """Compare what an interrupted run recorded with what it would go on with.

    A fact that only one of the two has, since an older version did not record it, is no difference.

    Args:
        run: directory of the run, which holds a checkpoint.
        environment_file: name of the file that records the environment.
        data_file: name of the file that records the data.
        environment: the environment as it would be recorded now.
        data: fingerprints of training and probe sets as they would be recorded now.

    Returns:
        Differences from the last start that are allowed: versions, code and machine.

    Raises:
        XlingValueError: the weights, a data set or the precision have changed.
        MissingFileError: one of the records is missing beside the checkpoint.
    """
    for name in (environment_file, data_file):
        if not (run / name).is_file():
            raise MissingFileError(
                f"expected {run / name} beside the checkpoint that the run would go on from, found none; delete "
                f"{run} and run again: the run then starts anew"
            )
    recorded = read_json(run / environment_file)
    for difference in differences(recorded, environment):
        if difference.name in _MUST_AGREE:
            raise _refusal(run, _MUST_AGREE[difference.name], difference)
    for difference in differences(read_json(run / data_file), data):
        if difference.name.endswith(".fingerprint"):
            raise _refusal(run, f"the data set {difference.name.removesuffix('.fingerprint')}", difference)
    found = differences(latest(recorded), environment)
    return [difference for difference in found if difference.name.startswith(_MAY_DIFFER)]


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """List the facts that both records have and in which they differ, by dotted name.

    >>> [str(difference) for difference in differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "d": 4}})]
    ['a.b 1, now 3']
    """
    old, new = flatten(recorded), flatten(now)
    return [
        Difference(name, old[name], new[name]) for name in sorted(old.keys() & new.keys()) if old[name] != new[name]
    ]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give the values of nested mappings dotted names."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def latest(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Give the environment of a run's last start, by dotted name: what was recorded first, with all later changes."""
    flat = flatten({name: value for name, value in environment.items() if name != RESUMED})
    for start in environment.get(RESUMED, []):
        flat |= {name: now for name, (_, now) in start["changed"].items()}
    return flat


def with_start(environment: Mapping[str, Any], changed: list[Difference]) -> dict[str, Any]:
    """Add a further start of the run to its recorded environment."""
    entry = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "changed": {difference.name: [difference.recorded, difference.now] for difference in changed},
    }
    return {**environment, RESUMED: [*environment.get(RESUMED, []), entry]}


def _refusal(run: Path, what: str, difference: Difference) -> XlingValueError:
    old, new = (str(value)[:12] for value in (difference.recorded, difference.now))
    return XlingValueError(
        f"{what} has changed since {run} was begun: it was {old}, now it is {new}, and one run cannot be made of both; bring back "
        "what it was begun with, or choose another study name, or delete that folder and train again"
    )
