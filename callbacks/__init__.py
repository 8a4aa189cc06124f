"""Lightning callbacks for any LightningModule; nothing here knows of XNLI, labels or languages.

Observing: :class:`ImpactMonitor`, :class:`AlignmentMonitor`, :class:`RepresentationWriter`, :class:`ProgressLog`,
:class:`TrainingClock`.
Intervening: :class:`LayerFreezing`.
"""

from xling.callbacks.alignment import AlignmentMonitor
from xling.callbacks.clock import TrainingClock
from xling.callbacks.freezing import LayerFreezing
from xling.callbacks.impact import ImpactMonitor
from xling.callbacks.progress import ProgressLog
from xling.callbacks.snapshot import RepresentationWriter

__all__ = ["AlignmentMonitor", "ImpactMonitor", "LayerFreezing", "ProgressLog", "RepresentationWriter", "TrainingClock"]
