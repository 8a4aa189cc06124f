"""Everything this project uses of other packages that they do not promise to keep, in one place.

A new version of one of them may move or change these; tests/test_private.py says what is relied on, so that an upgrade fails there
and not in the middle of somebody's run.
"""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher as SubprocessScriptLauncher
from torch.nn.modules.batchnorm import _NormBase as NormBase
from torch.nn.utils.parametrizations import _SpectralNorm as SpectralNorm

__all__ = ["BasicSweeper", "NormBase", "SpectralNorm", "SubprocessScriptLauncher"]
