"""Keeps what was read from the rows before training beside them, because every run from the same weights reads the same."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from xling.errors import XlingError
from xling.probing.base_store import BaseStore
from xling.probing.linear_probes import LabelledRows, Readable
from xling.storage.atomic import read_json, write_json
from xling.storage.hashing import content_key, sha256

VERSION = 1
"""Goes up with every change of what a classifier reads from the same rows, so that older files are not used any more."""

Readings = dict[str, list[Readable]]
"""Language -> what can be read from its rows, one entry per layer."""


def readings_before(
    store: BaseStore, rows: Mapping[str, LabelledRows], ids: Mapping[str, Tensor], read: Callable[[], Readings]
) -> Readings:
    """Give what `read` gives; it is called once, and its result kept, where the store's folder is named after the weights.

    The folder of one fit alone does not tell from which weights its rows are, so that nothing is kept there. A file that cannot
    be read is made anew.

    Args:
        store: the store of the rows before training.
        rows: language -> the same examples as in `read`, with their groups and labels, in any order of languages.
        ids: language -> ids of these examples, ``[n]`` int64.
        read: function that fits the classifiers.
    """
    if not store.is_keyed_by_weights:
        return read()
    parts = [[store.path(name).name, list(rows[name].layers), *_hashes(rows[name], ids[name])] for name in sorted(rows)]
    path = store.folder / f"readings-{content_key(VERSION, *parts)}.json"
    if path.is_file():
        try:
            return {name: [_restored(*each) for each in found] for name, found in read_json(path).items()}
        except (XlingError, ValueError, TypeError, AttributeError):
            pass
    found = read()
    write_json(path, {name: [_plain(each) for each in readings] for name, readings in found.items()})
    return found


def _plain(reading: Readable) -> list[float | str | None]:
    numbers = (None if math.isnan(value) else value for value in (reading.label, reading.language))
    return [*numbers, reading.reason]


def _restored(label: float | None, language: float | None, reason: str) -> Readable:
    return Readable(_number(label), _number(language), reason)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _hashes(rows: LabelledRows, ids: Tensor) -> list[str]:
    """Hash the ids of the examples, their groups and their labels."""
    return ["" if part is None else sha256(part.cpu().numpy().tobytes()) for part in (ids, rows.groups, rows.labels)]
