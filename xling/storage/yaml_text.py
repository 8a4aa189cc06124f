"""Reads YAML texts of plain values, by libyaml where PyYAML was built with it, which is ten times as fast as Python code."""

from typing import Any

import yaml

_C_LOADER = getattr(yaml, "CSafeLoader", None)
_DEEP = 1000
"""Levels of nesting that both loaders can read. libyaml's has no limit of its own, and ends the process somewhere above 20,000."""


def parse_yaml(text: str) -> Any:
    """Give the values of a YAML text; no object of a class is made.

    Raises:
        yaml.YAMLError: the text is no YAML.
        RecursionError: the text is nested more deeply than Python's stack allows.

    >>> parse_yaml("seeds: [1, 2]")
    {'seeds': [1, 2]}
    """
    if _C_LOADER is not None and _most_levels(text) <= _DEEP:
        return yaml.load(text, Loader=_C_LOADER)
    return yaml.load(text, Loader=yaml.SafeLoader)


def _most_levels(text: str) -> int:
    """Compute a depth of nesting that the text cannot exceed.

    Each bracket opens one level. A block is indented more than its parent, and a list in it may not be, so that a line has at most
    two levels per character.

    >>> _most_levels("a:\\n- [[1]]")
    16
    """
    return text.count("[") + text.count("{") + 2 * max(map(len, text.splitlines()), default=0)
