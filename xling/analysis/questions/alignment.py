"""Compares how alike source and target are on the same examples before and after training: does fine-tuning break alignment?"""

import pandas as pd

from xling.analysis.inputs.pairs import CELL, RUN, select_validation
from xling.runs import tables

ALIGNMENT_CHANGE = {
    "strategy": "name of the freezing strategy",
    "source_language": "language fine-tuned on",
    "target_language": "language whose parallel examples are compared with the source's",
    "layer": "0 = embedding output",
    "measure": "name of the similarity, e.g. cka_debiased",
    "n_seeds": "number of seeds averaged",
    "n_examples": "number of parallel examples compared",
    "before": "similarity of source and target before training, mean over seeds",
    "after": "the same at the selected validation",
    "change": "after - before; negative = the two languages have moved apart",
    "reason": "why a number is NaN, else empty",
}
"""Columns of ``alignment``: one row per strategy, source, target (S != T), layer and measure."""

_PLACE = ["target_language", "layer", "measure"]


def compute_alignment(alignment: pd.DataFrame, epoch: int | None = None, step: int | None = None) -> pd.DataFrame:
    """Set the alignment at one validation beside that from before training.

    Args:
        alignment: columns of :data:`xling.runs.tables.ALIGNMENT`, then measures by name.
        epoch: take the last validation within this epoch instead of the run's last.
        step: take the validation at this step.

    Returns:
        Columns of `ALIGNMENT_CHANGE`, sorted; empty where nothing was measured after a first step.

    Raises:
        XlingValueError: no run was validated then.
    """
    measures = [column for column in alignment.columns if column not in tables.ALIGNMENT]
    known = [column for column in tables.ALIGNMENT if column in alignment]
    long = alignment.melt(known, measures, "measure", "similarity")
    later = long[long["step"] > 0]
    if later.empty:
        return pd.DataFrame(columns=list(ALIGNMENT_CHANGE))
    after = select_validation(later, epoch, step)
    before = long.loc[long["step"] == 0, [*RUN, *_PLACE, "similarity"]].rename(columns={"similarity": "before"})
    rows = after.rename(columns={"similarity": "after"}).merge(before, on=[*RUN, *_PLACE], how="left")
    cells = rows.groupby([*CELL, "layer", "measure"], as_index=False).agg(
        n_seeds=("seed", "nunique"),
        n_examples=("n_examples", "max"),
        before=("before", "mean"),
        after=("after", "mean"),
        reason=("reason", "first"),
    )
    return cells.assign(change=cells["after"] - cells["before"])[list(ALIGNMENT_CHANGE)]
