"""Says what the impact consists of: a few directions, a few groups of examples, or the whole space."""

import pandas as pd

from xling.analysis.inputs.pairs import CELL, select_validation

SHARES = ("share_component_1", "share_component_3", "share_top_groups")

MOST = 0.5
"""A part whose share of the impact is at least this counts as carrying it."""

NO_CHANGE = 1e-5
"""An impact up to this has no shares. It is xling.similarity.concentration.NO_CHANGE, repeated because that module needs torch."""

CONCENTRATION = {
    "strategy": "name of the freezing strategy",
    "source_language": "language fine-tuned on",
    "target_language": "language evaluated",
    "layer": "0 = embedding output",
    "n_seeds": "number of seeds averaged",
    "impact": "mean over seeds",
    "share_component_1": "share of it that is gone without the first principal component of base and fine-tuned rows together",
    "share_component_3": "the same without the first three",
    "share_top_groups": "the same without the 1 % of groups, at least one, that influence it most",
    "carried_by": "a few groups, a few directions, the whole space, or no change",
}
"""Columns of ``concentration``: one row per strategy, source, target and layer that has shares or has not changed."""


def compute_concentration(impact: pd.DataFrame, epoch: int | None = None, step: int | None = None) -> pd.DataFrame:
    """Say of every layer what carries its impact.

    Args:
        impact: rows of one measure, with the columns of ``probe.uncertainty=[concentration]``.
        epoch: take the last validation within this epoch instead of the run's last.
        step: take the validation at this step.

    Returns:
        Columns of `CONCENTRATION`, sorted; empty where no run recorded the shares.

    Raises:
        XlingValueError: no run was validated then.
    """
    if not set(SHARES) <= set(impact.columns):
        return pd.DataFrame(columns=list(CONCENTRATION))
    rows = select_validation(impact, epoch, step)
    means = {name: (name, "mean") for name in ("impact", *SHARES)}
    cells = rows.groupby([*CELL, "layer"], as_index=False).agg(n_seeds=("seed", "nunique"), **means)
    is_measured = cells[list(SHARES)].notna().any(axis=1) | (cells["impact"] <= NO_CHANGE)
    cells = cells[is_measured].reset_index(drop=True)
    cells["carried_by"] = [_carried_by(row) for row in cells.to_dict("records")]
    return cells[list(CONCENTRATION)]


def _carried_by(row: dict) -> str:
    if pd.Series(row)[list(SHARES)].isna().all():
        return "no change"
    if row["share_top_groups"] >= MOST:  # a few groups that moved far are a direction, too
        return "a few groups"
    nothing_else = pd.isna(row["share_component_3"])  # without three directions no structure is left
    return "a few directions" if nothing_else or row["share_component_3"] >= MOST else "the whole space"
