"""Compares what was done to layers in the published runs: frozen, reverted after training, or held near the base by an anchor."""

from functools import partial

import pandas as pd

from studies.comparisons import HERE
from xling.analysis.inputs.gather import add_distances, gather_study
from xling.analysis.inputs.measurements import Measurements
from xling.analysis.inputs.measures import one_measure
from xling.analysis.inputs.pairs import select_validation
from xling.analysis.questions.interventions import compute_interventions
from xling.distances import KINDS, compute_distances

BASELINE = "word_embeddings"
METRICS = ("source_score", "mean_target_score", "transfer_gap", "impact_treated")
"""Metrics that the page shows, in its order; the last one differs from treatment to treatment in the baseline, too."""

_DONE = {"freeze": "frozen", "revert": "reverted", "anchor": "anchored, strength {:g}"}
"""Kind of treatment -> words, in the order of the page."""


def compare_treatments() -> dict:
    """Compare every treatment with the runs without it, and freezing with reverting the same layers.

    Returns:
        ``n_runs``, ``sources`` and ``seeds`` of the runs; ``changes``, a dict per treatment: its ``name``, its ``layers``
        and, by metric, the row of `INTERVENTIONS`; ``differences``, the same of freezing minus reverting; ``named``, the changes by
        name (``1-4 frozen``); ``n_above``, of how many of its mean accuracies freezing is above reverting; ``table``, all rows.
    """
    measured = gather_study(HERE / "interventions.xling")
    table = compare_measured(measured)
    is_change = table["reference"] == BASELINE
    changes, differences = _by_treatment(table[is_change]), _by_treatment(table[~is_change])
    return {
        "n_runs": len(measured.runs),
        "sources": sorted(measured.runs["source_language"].unique()),
        "seeds": sorted(measured.runs["seed"].unique().tolist()),
        "changes": changes,
        "differences": differences,
        "named": {row["name"].removeprefix("layers "): row for row in changes},
        "n_above": sum(row[metric]["change"] > 0 for row in differences for metric in METRICS[:2]),
        "table": table,
    }


def compare_measured(measured: Measurements) -> pd.DataFrame:
    """Compute the table of interventions of a study (`INTERVENTIONS`), from the bottom layers up."""
    measured, _ = add_distances(measured, partial(compute_distances, KINDS))
    impact = select_validation(one_measure(measured.impact, "cka_grouped"))
    transfer = select_validation(measured.transfer)
    table = compute_interventions(transfer, impact, measured.distances, measured.runs, BASELINE, measured.predictions)
    order = {
        "lowest": table["layers"].str.extract(r"(\d+)")[0].astype(int),
        "rank": table["kind"].map(list(_DONE).index),
    }
    return table.assign(**order).sort_values(["lowest", "rank", "dose"], kind="stable")


def _by_treatment(table: pd.DataFrame) -> list[dict]:
    return [
        {"name": f"layers {layers} {_DONE[kind].format(dose)}", "layers": layers}
        | own.set_index("metric").to_dict("index")
        for (layers, kind, dose), own in table.groupby(["layers", "kind", "dose"], sort=False)
    ]
