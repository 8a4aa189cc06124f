"""Lightning callbacks for any LightningModule; nothing here knows of XNLI, labels or languages.

Observing: :class:`ImpactMonitor`, :class:`AlignmentMonitor`, :class:`GradientMonitor`, :class:`LinearProbes`,
:class:`RepresentationWriter`, :class:`ProgressLog`, :class:`TrainingClock`, :class:`ProgressFile`, :class:`RunCheckpoint`.
Ending a run: :class:`StopOnDivergence`, :class:`StopOnSignal`.
Intervening: :class:`LayerFreezing`, :class:`Anchor`, :class:`PullToBase`, :class:`LayerwiseRates`, :class:`GradualUnfreezing`,
:class:`ImpactBudget`. Saving work: :class:`TrainUsedRows`.
"""

from xling.callbacks.alignment import AlignmentMonitor
from xling.callbacks.anchor import Anchor
from xling.callbacks.budget import ImpactBudget
from xling.callbacks.checkpoint import RunCheckpoint
from xling.callbacks.freezing import LayerFreezing
from xling.callbacks.gradients import GradientMonitor
from xling.callbacks.gradual import GradualUnfreezing
from xling.callbacks.impact import ImpactMonitor
from xling.callbacks.l2_sp import PullToBase
from xling.callbacks.layerwise_lr import LayerwiseRates
from xling.callbacks.linear_probes import LinearProbes
from xling.callbacks.progress_file import ProgressFile
from xling.callbacks.progress_log import ProgressLog
from xling.callbacks.representation_writer import RepresentationWriter
from xling.callbacks.stop_on_divergence import StopOnDivergence
from xling.callbacks.stop_on_signal import StopOnSignal
from xling.callbacks.training_clock import TrainingClock
from xling.callbacks.used_rows import TrainUsedRows

__all__ = [
    "AlignmentMonitor",
    "Anchor",
    "GradientMonitor",
    "GradualUnfreezing",
    "ImpactBudget",
    "ImpactMonitor",
    "LayerFreezing",
    "LayerwiseRates",
    "LinearProbes",
    "ProgressFile",
    "ProgressLog",
    "PullToBase",
    "RepresentationWriter",
    "RunCheckpoint",
    "StopOnDivergence",
    "StopOnSignal",
    "TrainUsedRows",
    "TrainingClock",
]
