"""Which layers train: strategies as data, and the functions that apply them to a module."""

from xling.freezing.apply import freeze_layers, switch_off_dropout
from xling.freezing.plan import FreezePlan, describe_plan, plan_freezing, saves_no_backward
from xling.freezing.strategies import STRATEGIES, Strategy

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
