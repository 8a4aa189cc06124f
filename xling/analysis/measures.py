"""Tests the associations of impact once for every recorded measure, each measure corrected as a family of its own."""

import pandas as pd

from xling.analysis.inputs.measurements import Measurements, Settings
from xling.analysis.inputs.measures import one_measure
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.schema import TRANSFER_VS_DISTANCE
from xling.analysis.tables import infer_impact


def compute_measures(
    measured: Measurements,
    settings: Settings,
    strategy: str,
    kinds: list[str],
    chosen: str,
    correlations: pd.DataFrame,
) -> pd.DataFrame:
    """Test the associations of impact by every measure that all runs of the strategy have.

    Args:
        measured: measurements, with the long table of impact.
        settings: validation and resampling.
        strategy: strategy of the runs that are analysed.
        kinds: distance columns.
        chosen: the main measure, whose rows of `correlations` are taken as they are.
        correlations: table ``correlations`` of the main measure.

    Returns:
        Rows as of ``correlations``, the chosen measure first, then the others by name.
    """
    assert measured.impact is not None
    transfer, impact = (table[table["strategy"] == strategy] for table in (measured.transfer, measured.impact))
    tests = [correlations[correlations["analysis"] != TRANSFER_VS_DISTANCE]]
    for name in sorted(set(impact["measure"].unique()) - {chosen}):
        main = compute_pairs(transfer, one_measure(impact, name), measured.distances, settings.epoch, settings.step)
        tests.append(infer_impact(measured, main, kinds, settings.resampling).assign(measure=name))
    return pd.concat(tests, ignore_index=True)[list(correlations.columns)]
