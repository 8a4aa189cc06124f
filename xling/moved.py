"""Knows where the modules of version 0.1.0 are now, so that old imports and recorded class paths go on working.

A run's config.yaml names its classes by path (``data.source._target_``), and the cache's folders are keyed by them. Reading a
recorded configuration therefore passes through :func:`current_paths`, and hashing one through :func:`first_paths`.
"""

import importlib.abc
import importlib.machinery
import sys
from typing import Any

MOVED = {
    "xling.analyze": "xling.commands.analyze",
    "xling.callbacks.base": "xling.probing.base_store",
    "xling.callbacks.clock": "xling.callbacks.training_clock",
    "xling.callbacks.divergence": "xling.callbacks.stop_on_divergence",
    "xling.callbacks.preemption": "xling.callbacks.stop_on_signal",
    "xling.callbacks.progress": "xling.callbacks.progress_log",
    "xling.callbacks.select": "xling.probing.select",
    "xling.callbacks.snapshot": "xling.callbacks.representation_writer",
    "xling.callbacks.uncertainty": "xling.probing.uncertainty",
    "xling.data.files": "xling.data.sources.files",
    "xling.data.hub_sets": "xling.data.sources.hub_sets",
    "xling.data.mini_nli_source": "xling.data.mini_nli.source",
    "xling.data.squad_files": "xling.data.sources.squad_files",
    "xling.data.table_files": "xling.data.sources.table_files",
    "xling.data.word_files": "xling.data.sources.word_files",
    "xling.data.xnli": "xling.data.sources.xnli",
    "xling.failures": "xling.sweeps.failures",
    "xling.fetch": "xling.sweeps.fetching",
    "xling.launchers": "xling.machine.launchers",
    "xling.layers": "xling.models.layers",
    "xling.lora": "xling.freezing.lora",
    "xling.module": "xling.tasks.transfer_module",
    "xling.pooling": "xling.models.pooling",
    "xling.representations": "xling.probing.representations",
    "xling.restore": "xling.commands.restore",
    "xling.rundir": "xling.runs.directory",
    "xling.study": "xling.runs.study",
    "xling.sweep": "xling.sweeps.study_callback",
    "xling.tables": "xling.runs.tables",
    "xling.train": "xling.commands.train",
}
"""Module of version 0.1.0 -> module of today, for what users import, put into configurations or find recorded."""

_FIRST = {new: old for old, new in MOVED.items()}

_SOURCE = """
import sys, warnings
import {new} as _module
warnings.warn("{old} is now {new}; the old name will go in version 0.3", DeprecationWarning, stacklevel=2)
if __name__ == "__main__":
    sys.exit(_module.main())
else:
    sys.modules[__name__] = _module
"""


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Answers an import of a module that has moved with the module of today and a DeprecationWarning."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Find modules of :data:`MOVED`, and no others."""
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in MOVED else None

    def get_source(self, fullname: str) -> str:
        """Give the source of a module that stands for the one of today; also for ``python -m``."""
        return _SOURCE.format(old=fullname, new=MOVED[fullname])


def answer_old_imports() -> None:
    """Have imports of modules that have moved answered, once per process; asked after every other finder."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())


def current_paths(config: Any) -> Any:
    """Replace class paths of version 0.1.0 by those of today, at any depth of a plain configuration.

    >>> current_paths({"source": {"_target_": "xling.data.xnli.XnliSource", "root": None}})
    {'source': {'_target_': 'xling.data.sources.xnli.XnliSource', 'root': None}}
    """
    return _with_paths(config, MOVED)


def first_paths(config: Any) -> Any:
    """Replace class paths by those that version 0.1.0 recorded, so that keys made from them stay what they were.

    >>> first_paths({"_target_": "xling.data.sources.xnli.XnliSource"})
    {'_target_': 'xling.data.xnli.XnliSource'}
    """
    return _with_paths(config, _FIRST)


def _with_paths(node: Any, modules: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_with_paths(entry, modules) for entry in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_paths(value, modules) for key, value in node.items()}
    if isinstance(path := node.get("_target_"), str):
        module, _, name = path.rpartition(".")
        if module in modules:
            node["_target_"] = f"{modules[module]}.{name}"
    return node
