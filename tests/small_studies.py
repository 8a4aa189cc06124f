"""Small made-up studies, and one with a planted effect, for tests of the analysis."""

import functools

from analysis_factory import LANGUAGES, make_distances, make_measurements

from xling.analysis.inputs.measurements import Resampling, Settings
from xling.analysis.pipeline import analyse

FAST = Resampling(permutations=200, bootstraps=50)


SMALL = LANGUAGES[:6]


DEFAULT, PAPER = Settings("default", resampling=FAST), Settings("paper", resampling=FAST)


def small(languages=SMALL, **options):
    """Make a study of two layers, two distances and six languages."""
    distances = make_distances(languages, ("genetic", "syntactic"))
    return make_measurements(distances, **{"sources": languages, "n_layers": 2} | options)


def rows(analysis, name, table="correlations"):
    return analysis.tables[table].query("analysis == @name")


@functools.cache
def planted():
    """Make a study in which impact falls with syntactic distance at layer 2 only, and the score falls with it too."""
    measured = make_measurements(planted={("syntactic", 2): -0.2}, transfer_slope=-0.1)
    return measured, analyse(measured, Settings(resampling=Resampling(400, 100)))
