"""Reading YAML: plain values only, by libyaml where PyYAML was built with it, which is ten times as fast as its Python."""

from typing import Any

import yaml

_C_LOADER = getattr(yaml, "CSafeLoader", None)
_DEEP = 1000
"""Levels that neither loader has trouble with; libyaml's has no limit of its own, and ends the process
somewhere above 20,000."""


def parse_yaml(text: str) -> Any:
    """Give the values of a YAML text; no object of a class is made.

    Raises:
        yaml.YAMLError: it is no YAML.
        RecursionError: it is nested more deeply than Python's stack.

    >>> parse_yaml("seeds: [1, 2]")
    {'seeds': [1, 2]}
    """
    if _C_LOADER is not None and _most_levels(text) <= _DEEP:
        return yaml.load(text, Loader=_C_LOADER)
    return yaml.load(text, Loader=yaml.SafeLoader)


def _most_levels(text: str) -> int:
    """A depth that the text cannot exceed: brackets open one level each; a block begins right of its parent, or, a list, below it.

    >>> _most_levels("a:\\n- [[1]]")
    16
    """
    return text.count("[") + text.count("{") + 2 * max(map(len, text.splitlines()), default=0)
