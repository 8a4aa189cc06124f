"""Which layers train: strategies as data, and the functions that apply them to a module."""

from typing import TYPE_CHECKING

from xling.freezing.plan import FreezePlan, describe_plan, plan_freezing, saves_no_backward
from xling.freezing.strategies import STRATEGIES, Strategy
from xling.lazy import lazy_names

if TYPE_CHECKING:
    from xling.freezing.apply import freeze_layers, switch_off_dropout

__all__ = [
    "STRATEGIES",
    "FreezePlan",
    "Strategy",
    "describe_plan",
    "freeze_layers",
    "plan_freezing",
    "saves_no_backward",
    "switch_off_dropout",
]

# plans need no torch, and what applies them does
__getattr__ = lazy_names(__name__, dict.fromkeys(("freeze_layers", "switch_off_dropout"), "xling.freezing.apply"))
