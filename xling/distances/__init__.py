"""Distances between languages: URIEL's six kinds, user tables, URIEL+, and distances measured on the base model.

``python -m xling.distances KIND LANG LANG ...`` prints a matrix. Nothing is read before it is needed.
"""

from xling.distances.matrices import KINDS
from xling.distances.result import Distances, DistanceWarning, MacrolanguageWarning, PlaceholderWarning
from xling.distances.sources import SOURCES, compute_distances, distance_table

__all__ = [
    "KINDS",
    "SOURCES",
    "DistanceWarning",
    "Distances",
    "MacrolanguageWarning",
    "PlaceholderWarning",
    "compute_distances",
    "distance_table",
]
