"""Figures, tables and the self-contained page; ``write_report`` makes all of it, and each figure has a ``plot_`` function.

Every plotting function takes a tidy frame of :mod:`xling.analysis.schema`, draws on the axes it is given (or on its
own, never pyplot's) and returns them.
"""

from xling.report.figures.curves import plot_impact_curves
from xling.report.figures.matrix import plot_correlation_heatmap, plot_transfer_matrix
from xling.report.figures.scatter import plot_impact_vs_distance, plot_impact_vs_transfer, plot_transfer_vs_distance
from xling.report.sections.coverage import plot_distance_coverage
from xling.report.sections.freezing import plot_freezing
from xling.report.sections.mediation import plot_mediation
from xling.report.write import write_report

__all__ = [
    "plot_correlation_heatmap",
    "plot_distance_coverage",
    "plot_freezing",
    "plot_impact_curves",
    "plot_impact_vs_distance",
    "plot_impact_vs_transfer",
    "plot_mediation",
    "plot_transfer_matrix",
    "plot_transfer_vs_distance",
    "write_report",
]
