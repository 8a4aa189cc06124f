"""Decides which code a recorded configuration may name, since a run directory from somebody else must not execute code here.

What a user types is the user's choice. A recorded ``config.yaml`` is read without importing anything. Before something is built
from it (a model to measure again, probe sets to compute distances on), every class and function that it names must be one of this
package, one that an installed package registers as an entry point (:data:`GROUPS`), or one that the user trusts by name in the
environment variable ``XLING_TRUSTED``.
"""

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from xling.errors import XlingValueError

TRUSTED = "XLING_TRUSTED"
"""Environment variable with further trusted paths, as they stand in the configuration, separated by commas."""

OWN = frozenset(
    {
        "pytorch_lightning.Trainer",
        "pytorch_lightning.strategies.FSDPStrategy",
        "torch.distributed.fsdp.MixedPrecision",
        "torch.distributed.fsdp.wrap.size_based_auto_wrap_policy",
        "xling.data.mini_nli.source.MiniNliSource",
        "xling.data.sources.files.FileSource",
        "xling.data.sources.hub_or_files",
        "xling.data.sources.hub_sets.HubSource",
        "xling.data.sources.squad_files.SquadReader",
        "xling.data.sources.table_files.TableReader",
        "xling.data.sources.word_files.ConlluReader",
        "xling.data.sources.word_files.TagReader",
        "xling.data.sources.xnli.XnliSource",
        "xling.tasks.QuestionAnswering",
        "xling.tasks.SentenceClassification",
        "xling.tasks.TokenClassification",
    }
)
"""Every target that ``conf/`` writes into a run's configuration. Paths, not a prefix: ``xling.storage.atomic.shutil.rmtree`` begins
with ``xling`` too, and so do functions that write files."""

GROUPS = (
    "xling.tasks",
    "xling.sources",
    "xling.strategies",
    "xling.interventions",
    "xling.measures",
    "xling.poolings",
    "xling.word_poolings",
    "xling.uncertainties",
)
"""Groups of entry points whose values a recorded configuration may name; ``xling.sources`` serves for nothing else."""

_TARGET = "_target_"
_NAMES = ("strategy", "kind", "pooling", "similarity", "uncertainty", "alignment", _TARGET)
"""Settings whose value a registry looks up, where it may be ``package.module:name``."""


def check_targets(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse a recorded configuration that names code of unknown origin, at any depth; nothing is imported.

    Args:
        config: plain settings, with class paths of today.
        folder: folder in which they were recorded, for the message.

    Raises:
        XlingValueError: a target is neither this package's nor registered nor trusted, or a value is an interpolation, which no
            run records.
    """
    for setting, value in _walk(config):
        if "${" in value:
            raise XlingValueError(
                f"the configuration of {folder} has {setting}={value!r}, which would be evaluated, and no run records such a "
                "value; use the run directory that xling wrote"
            )
        names_code = setting.rpartition(".")[2] in _NAMES and (_TARGET in setting or ":" in value)
        if names_code and not is_known(value):
            raise XlingValueError(
                f"the configuration of {folder} asks to execute {setting}={value!r}, which is no code of xling's and not "
                f"registered by an installed package; if you trust it, set {TRUSTED}={value}, or register it as an entry point"
            )


def is_known(target: str) -> bool:
    """Whether a target may be executed: this package's own, registered by an installed package, or trusted by the user.

    >>> is_known("xling.tasks.SentenceClassification"), is_known("pandas.read_pickle")
    (True, False)
    """
    path = target.replace(":", ".")
    trusted = {name.strip().replace(":", ".") for name in os.environ.get(TRUSTED, "").split(",")}
    return path in OWN or path in trusted or any(path in (name, value) for name, value in _registered())


def _registered() -> Iterator[tuple[str, str]]:
    """Yield names and paths of entry points, since a task may be named by its name alone; this package's own tasks come first."""
    yield from (("sentences", ""), ("words", ""), ("questions", ""))
    for group in GROUPS:
        for point in entry_points(group=group):
            yield point.name, point.value.replace(":", ".")


def _walk(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a plain configuration with its dotted name."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _walk(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _walk(value, name)
    elif isinstance(node, str):
        yield name, node
