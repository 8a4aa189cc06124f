"""Averages over seeds what linear classifiers read from each layer before and after training."""

import pandas as pd

from xling.analysis.inputs.pairs import CELL, select_validation

ACCURACIES = ("label_before", "label_after", "label_majority", "language_before", "language_after")

LINEAR_PROBES = {
    "strategy": "name of the freezing strategy",
    "source_language": "language fine-tuned on",
    "target_language": "language evaluated",
    "layer": "0 = embedding output",
    "n_seeds": "number of seeds averaged",
    "n_examples": "probe examples (or words) read",
    "label_before": "share of the target's labels read by a linear classifier before training, on groups it has not seen",
    "label_after": "the same after training",
    "label_majority": "share of the most frequent label",
    "language_before": "share of the target's examples whose language is recognised among all targets, before training",
    "language_after": "the same after training",
    "n_languages": "how many targets it is told from",
}
"""Columns of ``linear_probes``: one row per strategy, source, target and layer; estimates without tests."""


def compute_linear_probes(probes: pd.DataFrame, epoch: int | None = None, step: int | None = None) -> pd.DataFrame:
    """Average what was read over seeds.

    Args:
        probes: columns of :data:`xling.runs.tables.LINEAR_PROBES`.
        epoch: take the last validation within this epoch instead of the run's last.
        step: take the validation at this step.

    Returns:
        Columns of `LINEAR_PROBES`, sorted.

    Raises:
        XlingValueError: no run was validated then.
    """
    rows = select_validation(probes, epoch, step)
    means = {name: (name, "mean") for name in ACCURACIES}
    counts = {"n_examples": ("n_examples", "min"), "n_languages": ("n_languages", "min")}
    cells = rows.groupby([*CELL, "layer"], as_index=False).agg(n_seeds=("seed", "nunique"), **means, **counts)
    return cells[list(LINEAR_PROBES)]
