"""Gives the settings of one run their types; they are made once from Hydra's configuration, or from what a finished run recorded.

All other code takes a :class:`RunSettings`, or the part of it that it needs; ``to_plain`` gives the values that are written to
config.yaml. A recorded configuration may be older than a setting and lack it. The default of a setting therefore has to be what was
done before the setting existed.
"""

from xling.settings.parts import (
    CheckpointSettings,
    DataSettings,
    ObjectSettings,
    OptimizerSettings,
    ProbeSettings,
    TrainerSettings,
)
from xling.settings.run import RunSettings, checked

__all__ = [
    "CheckpointSettings",
    "DataSettings",
    "ObjectSettings",
    "OptimizerSettings",
    "ProbeSettings",
    "RunSettings",
    "TrainerSettings",
    "checked",
]
