"""What is done to an encoder beside freezing, in training or after it: plans as data, and the pure functions behind them."""

from typing import TYPE_CHECKING

from xling.interventions.layer_shares import format_shares, parse_shares
from xling.interventions.plan import INTERVENTIONS, Intervention, InterventionPlan, plan_intervention
from xling.lazy import lazy_names

if TYPE_CHECKING:
    from xling.interventions.weights import average_states, blend_layers

__all__ = [
    "INTERVENTIONS",
    "Intervention",
    "InterventionPlan",
    "average_states",
    "blend_layers",
    "format_shares",
    "parse_shares",
    "plan_intervention",
]

# imported on first use: they need torch, which takes seconds to import, and plans do not
__getattr__ = lazy_names(__name__, dict.fromkeys(("average_states", "blend_layers"), "xling.interventions.weights"))
