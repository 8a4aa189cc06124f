"""Distances between languages: URIEL's six kinds, user tables, URIEL+, and distances measured on the base model.

``python -m xling.distances KIND LANG LANG ...`` prints a matrix. Nothing is read before it is needed.
"""

from xling.distances.controls import controls_table, language_facts
from xling.distances.matrices import KINDS
from xling.distances.measured import representation_distance, representation_distances, vocabulary_overlap_distances
from xling.distances.registry import DISTANCES, computed_from, feed_of, find_distances
from xling.distances.result import CodeWarning, Distances, DistanceWarning, MacrolanguageWarning, PlaceholderWarning
from xling.distances.sources import SOURCES, compute_distances, distance_table
from xling.distances.user_tables import load_distances, load_pretraining_sizes

__all__ = [
    "DISTANCES",
    "KINDS",
    "SOURCES",
    "CodeWarning",
    "DistanceWarning",
    "Distances",
    "MacrolanguageWarning",
    "PlaceholderWarning",
    "compute_distances",
    "computed_from",
    "controls_table",
    "distance_table",
    "feed_of",
    "find_distances",
    "language_facts",
    "load_distances",
    "load_pretraining_sizes",
    "representation_distance",
    "representation_distances",
    "vocabulary_overlap_distances",
]
