"""xling: how fine-tuning on one language moves the representation space of every other.

Importing this package is quick and downloads nothing; sub-modules are imported where they are used.
"""

from xling.lazy import lazy_names
from xling.moved import answer_old_imports

__version__ = "0.2.0"

answer_old_imports()


_LAZY = {
    "load_study": "xling.runs.study",
    "Study": "xling.runs.study",
    "train": "xling.commands.from_python",
    "analyze": "xling.commands.from_python",
    "compose": "xling.commands.from_python",
    "export": "xling.exporting.export",
}
"""Public names -> the module that has each: none is imported before it is used."""


__getattr__ = lazy_names(__name__, _LAZY)


def __dir__() -> list[str]:
    """List the public names, none of which need have been imported yet."""
    return sorted({"__version__", *_LAZY})
