"""Finds modules by patterns of their names."""

import fnmatch
from collections.abc import Sequence

from torch import nn

from xling.errors import XlingValueError, close_matches


def modules_named(module: nn.Module, patterns: str | Sequence[str]) -> dict[str, nn.Module]:
    """Modules inside `module` whose name in ``named_modules()`` a shell-style pattern matches, in the model's order.

    Raises:
        XlingValueError: a pattern matches none.

    >>> list(modules_named(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), "[01]"))
    ['0', '1']
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    named = {
        name.replace("._orig_mod", "").removeprefix("_orig_mod."): part for name, part in module.named_modules() if name
    }
    for pattern in patterns:
        if not fnmatch.filter(named, pattern):
            raise XlingValueError(
                f"no module matches layers={pattern!r}{close_matches(pattern, named)}; see named_modules()"
            )
    return {
        name: part for name, part in named.items() if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
