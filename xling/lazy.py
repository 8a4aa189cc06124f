"""Imports the modules behind a package's public names when one of them is first used (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a package's ``__getattr__``.

    Args:
        package: name of the package, for the message about a name that it does not have.
        modules: public name -> the module that has it.

    Returns:
        A function of a name; it imports the module of that name, and raises AttributeError for every other name.

    >>> find = lazy_names("shapes", {"sqrt": "math"})
    >>> find("sqrt")(9)
    3.0
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return find
