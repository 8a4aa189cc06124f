"""Lightning callbacks for any LightningModule; nothing here knows of XNLI, labels or languages.

Observing: :class:`ImpactMonitor`, :class:`AlignmentMonitor`, :class:`RepresentationWriter`, :class:`ProgressLog`,
:class:`TrainingClock`, :class:`ProgressFile`, :class:`RunCheckpoint`; they end a run: :class:`StopOnDivergence`,
:class:`StopOnSignal`.
Intervening: :class:`LayerFreezing`. Saving work: :class:`TrainUsedRows`.
"""

from xling.callbacks.alignment import AlignmentMonitor
from xling.callbacks.checkpoint import RunCheckpoint
from xling.callbacks.freezing import LayerFreezing
from xling.callbacks.impact import ImpactMonitor
from xling.callbacks.progress_file import ProgressFile
from xling.callbacks.progress_log import ProgressLog
from xling.callbacks.representation_writer import RepresentationWriter
from xling.callbacks.stop_on_divergence import StopOnDivergence
from xling.callbacks.stop_on_signal import StopOnSignal
from xling.callbacks.training_clock import TrainingClock
from xling.callbacks.used_rows import TrainUsedRows

__all__ = [
    "AlignmentMonitor",
    "ImpactMonitor",
    "LayerFreezing",
    "ProgressFile",
    "ProgressLog",
    "RepresentationWriter",
    "RunCheckpoint",
    "StopOnDivergence",
    "StopOnSignal",
    "TrainUsedRows",
    "TrainingClock",
]
