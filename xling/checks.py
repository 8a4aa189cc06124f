"""Checks settings beyond their types: ranges of numbers, names of folders, codes that YAML reads as something else."""

import math
from typing import Any

from xling.errors import XlingValueError

_MAX_NAME = 200  # bytes of a folder's name: systems take 255, and files in it have names made from it

BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "data.train_limit": (1, math.inf),
    "data.probe_limit": (1, math.inf),
    "data.max_length": (3, math.inf),
    "data.batch_size": (1, math.inf),
    "data.eval_batch_size": (1, math.inf),
    "data.eval_tokens": (1, math.inf),
    "data.num_workers": (0, math.inf),
    "optimizer.learning_rate": (0, math.inf),
    "optimizer.weight_decay": (0, math.inf),
    "optimizer.warmup_fraction": (0, 1),
}
"""Setting -> smallest and largest value, both allowed where they are finite."""


def check_bounds(name: str, value: Any) -> None:
    """Refuse a number out of its range.

    Raises:
        XlingValueError: the number is out of its range.
    """
    if name not in BOUNDS or not isinstance(value, int | float):
        return
    low, high = BOUNDS[name]
    if not low <= value <= high or math.isinf(value):
        span = f"{low:g} or more" if math.isinf(high) else f"from {low:g} to {int(high)}"
        raise XlingValueError(f"expected {name} to be a number {span}, got {value!r}")


def check_relative_folder(name: str, value: str) -> None:
    """Refuse a name that cannot be that of a folder, or of folders below each other, separated by ``/``.

    :func:`xling.runs.folder_names.check_folder_name` is stricter: it also refuses invisible characters and, by default, ``/``.

    Raises:
        XlingValueError: the name is empty, too long, or leads to another folder.
    """
    parts = value.split("/")
    if any(part.strip() in ("", ".", "..") or "\0" in part for part in parts):
        raise XlingValueError(f"expected {name} to be the name of a folder, got {value!r}; choose another one")
    longest = max(len(part.encode()) for part in parts)
    if longest > _MAX_NAME:
        raise XlingValueError(f"expected {name} to have at most {_MAX_NAME} bytes, got {longest}; choose a shorter one")


def language_name(value: Any, name: str) -> str:
    """Give a language's code as text; ``no`` and ``nan`` are codes, though YAML and Hydra read them as false and as not a number.

    >>> language_name(False, "source_language"), language_name(float("nan"), "source_language")
    ('no', 'nan')

    Raises:
        XlingValueError: the value is something else that is no text, or is empty.
    """
    if value is False:
        return "no"
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if not isinstance(value, str) or not value.strip():
        raise XlingValueError(f"expected {name} to be a language's code as text, got {value!r}; write it in quotes")
    check_relative_folder(name, value)
    return value


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a word that is not among the choices.

    Raises:
        XlingValueError: the word is not one of `choices`.
    """
    if value not in choices:
        raise XlingValueError(f"expected {name} to be {' or '.join(choices)}, got {value!r}")


def check_layer(layer: int, n_layers: int) -> None:
    """Refuse a layer that does not exist.

    Raises:
        XlingValueError: `layer` is not a whole number in 0..n_layers.
    """
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= n_layers:
        raise XlingValueError(
            f"layer {layer!r} does not exist: expected a whole number from 0 (embeddings) to {n_layers} (last block)"
        )


def check_strength(name: str, value: float) -> None:
    """Refuse a strength that is negative or not finite.

    Raises:
        XlingValueError: `value` is no number, negative, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise XlingValueError(f"expected {name} to be a number of at least 0, got {value!r}")
