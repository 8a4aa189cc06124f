"""Everything this project uses of other packages that they do not promise to keep, in one place; torch's is in
:mod:`xling.machine.private_torch`.

A new version of one of them may move or change these; tests/test_private.py says what is relied on, so that an upgrade fails there
and not in the middle of somebody's run.
"""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher as SubprocessScriptLauncher

__all__ = ["BasicSweeper", "SubprocessScriptLauncher", "error_of"]


def error_of(job: JobReturn) -> Any:
    """What a failed job of Hydra's raised; the public property raises it."""
    return job._return_value
