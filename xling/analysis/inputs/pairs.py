"""Joins transfer, impact and distance into one tidy table: a row per strategy, source, target and layer.

The last validation of each run counts unless an epoch or step is chosen; seeds are averaged within the cell.
"""

from collections.abc import Iterable

import pandas as pd

from xling.analysis.schema import MEAN_LABEL, PAIRS, distance_kinds
from xling.errors import XlingValueError, close_matches
from xling.runs import tables

LANGUAGE_PAIR = ["source_language", "target_language"]
CELL = ["strategy", *LANGUAGE_PAIR]
RUN = ["study", "source_language", "strategy", "seed"]
INTERVAL = ["impact_low", "impact_high"]
_IMPACT = [*(name for name in tables.IMPACT if name not in ("measure", "n_groups")), "impact_biased"]


def compute_pairs(
    transfer: pd.DataFrame,
    impact: pd.DataFrame | None,
    distances: pd.DataFrame,
    epoch: int | None = None,
    step: int | None = None,
) -> pd.DataFrame:
    """Join the three measurements.

    Args:
        transfer: columns of :data:`xling.runs.tables.TRANSFER`.
        impact: impact by one measure, see :func:`xling.analysis.inputs.measures.one_measure`; None or empty where only transfer
            was measured.
        distances: source_language, target_language, and per kind ``<kind>`` and ``<kind>_coverage``.
        epoch: take the last validation within this epoch instead of the run's last.
        step: take the validation at this step.

    Returns:
        Columns of :data:`xling.analysis.schema.PAIRS` and the distance kinds with their coverage, sorted by cell and
        layer (the mean last).

    Raises:
        XlingValueError: a column is missing, a cell was measured twice in one run, runs were measured by different metrics,
            or nothing is left.
    """
    transfer = select_validation(check_columns(transfer, tables.TRANSFER_ALWAYS, "transfer"), epoch, step)
    _check_one_metric(transfer)
    cells = _derive_outcomes(_average_score(_check_unique(transfer, [*RUN, "target_language"], "transfer")))
    pairs = cells.assign(layer=pd.NA, layer_label=MEAN_LABEL, impact=float("nan"))
    pairs = pairs.assign(**dict.fromkeys(["impact_biased", "impact_sd", *INTERVAL], float("nan")))
    if impact is not None and not impact.empty:
        layers = _average_impact(_impact_at(check_columns(impact, _IMPACT, "impact"), transfer))
        pairs = _complete_layers(cells, layers).merge(layers, on=[*CELL, "layer_label"], how="left")
        pairs = pairs.merge(cells, on=CELL, validate="many_to_one")
    pairs = pairs.merge(_check_unique(distances, LANGUAGE_PAIR, "distance"), on=LANGUAGE_PAIR, how="left")
    kinds = [column for kind in distance_kinds(distances) for column in (kind, f"{kind}_coverage")]
    for kind in distance_kinds(distances):  # 0 = same, whether or not the source of distances says so
        pairs[kind] = pairs[kind].mask(pairs["is_in_language"], 0.0)
    pairs = pairs.assign(measure="").astype({"layer": "Int64"})[[*PAIRS, *kinds]]
    return pairs.sort_values([*CELL, "layer"], na_position="last", ignore_index=True)


def check_columns(frame: pd.DataFrame, expected: Iterable[str], what: str) -> pd.DataFrame:
    """Return `frame`, refusing one that lacks a column.

    Raises:
        XlingValueError: a column is missing; the message names it and the one with the most similar name.
    """
    for column in expected:
        if column not in frame.columns:
            near = close_matches(column, frame.columns)
            raise XlingValueError(f"the {what} table needs a column {column!r}, found {list(frame.columns)}{near}")
    return frame


def select_validation(frame: pd.DataFrame, epoch: int | None = None, step: int | None = None) -> pd.DataFrame:
    """Keep one validation of each run: the last one, or the last one of `epoch`, or the one at `step`.

    Raises:
        XlingValueError: no run was measured then.
    """
    for column, wanted in (("epoch", epoch), ("step", step)):
        if wanted is not None:
            measured = sorted(frame[column].unique().tolist())
            frame = frame[frame[column] == wanted]
            if frame.empty:
                raise XlingValueError(f"no run was validated at {column} {wanted}; there are {column}s {measured}")
    return frame[frame["step"] == frame.groupby(RUN)["step"].transform("max")]


def _check_one_metric(transfer: pd.DataFrame) -> None:
    metrics = sorted(transfer["metric"].unique())
    if len(metrics) > 1:
        raise XlingValueError(
            f"expected one transfer metric, found {' and '.join(metrics)}: their scores are not on one scale; analyse studies "
            "of different tasks one at a time, with runs=FOLDER of each"
        )


def _check_unique(frame: pd.DataFrame, keys: list[str], what: str) -> pd.DataFrame:
    twice = frame[frame.duplicated(keys)]
    if len(twice):
        first = ", ".join(f"{key}={twice.iloc[0][key]}" for key in keys)
        raise XlingValueError(f"the {what} table repeats {len(twice)} rows, the first is {first}; keep one of each")
    return frame


def _average_score(transfer: pd.DataFrame) -> pd.DataFrame:
    cells = transfer.groupby(CELL, as_index=False).agg(
        metric=("metric", "first"),
        n_seeds=("seed", "nunique"),
        score=("score", "mean"),
        score_sd=("score", "std"),
        n_examples=("n_examples", "max"),
        n_scores=("score", "count"),
        n_rows=("score", "size"),
    )
    # a missing score makes the mean missing, since a mean over the other seeds would not be that of the cell
    cells["score"] = cells["score"].where(cells.pop("n_scores") == cells.pop("n_rows"))
    return cells.assign(is_in_language=cells["source_language"] == cells["target_language"])


def _derive_outcomes(cells: pd.DataFrame) -> pd.DataFrame:
    """Add the gap, the relative score and the rank, all from the seed-averaged score."""
    own = cells[cells["is_in_language"]].set_index(["strategy", "source_language"])["score"]
    cells = cells.join(own.rename("score_in_language"), on=["strategy", "source_language"])
    others = cells["score"].where(~cells["is_in_language"])
    return cells.assign(
        transfer_gap=cells["score_in_language"] - cells["score"],
        score_relative=cells["score"] / cells["score_in_language"].where(cells["score_in_language"] > 0),
        rank_within_source=others.groupby([cells["strategy"], cells["source_language"]]).rank(ascending=False),
    )


def _impact_at(impact: pd.DataFrame, transfer: pd.DataFrame) -> pd.DataFrame:
    """Keep the impact of the selected validations, with a row for the mean over layers 1..n of each."""
    keys = [*RUN, "target_language", "step"]
    chosen = _check_unique(impact.merge(transfer[keys], on=keys), [*keys, "layer"], "impact")
    blocks = chosen[chosen["layer"] >= 1]
    # a mean over the layers that happen to be there would not compare between cells: one NaN makes it NaN
    of_cells = blocks.groupby(keys)[["impact", "impact_biased"]]
    means = of_cells.mean().where(of_cells.count().eq(of_cells.size(), axis=0)).reset_index()
    labels = chosen["layer"].map("{:02d}".format)
    return pd.concat([chosen.assign(layer_label=labels), means.assign(layer_label=MEAN_LABEL)], ignore_index=True)


def _average_impact(impact: pd.DataFrame) -> pd.DataFrame:
    impact = impact.assign(**{name: float("nan") for name in INTERVAL if name not in impact})
    cells = impact.groupby([*CELL, "layer_label"], as_index=False).agg(
        impact=("impact", "mean"),
        impact_biased=("impact_biased", "mean"),
        impact_sd=("impact", "std"),
        impact_low=("impact_low", "mean"),
        impact_high=("impact_high", "mean"),
        n_runs=("seed", "size"),
    )
    # the interval is that of one run; what several seeds vary by is in impact_sd
    cells[INTERVAL] = cells[INTERVAL].where(cells["n_runs"] == 1)
    return cells.drop(columns="n_runs")


def _complete_layers(cells: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """List every cell with every layer of its strategy and the mean, so that a missing impact is a row with NaN."""
    labels = layers[["strategy", "layer_label"]].drop_duplicates()
    means = cells[["strategy"]].drop_duplicates().assign(layer_label=MEAN_LABEL)
    labels = pd.concat([labels, means], ignore_index=True).drop_duplicates()
    labels["layer"] = pd.to_numeric(labels["layer_label"], errors="coerce")
    return cells[CELL].merge(labels, on="strategy")


def impact_reasons(impact: pd.DataFrame | None) -> dict[str, str]:
    """Say, for every layer without any impact, why: layer label -> reason as the runs recorded it.

    >>> impact_reasons(pd.DataFrame({"layer": [0, 1], "impact": [None, 0.1], "reason": ["constant", ""]}))
    {'00': 'constant'}
    """
    if impact is None or impact.empty:
        return {}
    reasons = {}
    for layer, rows in impact.groupby("layer"):
        if rows["impact"].isna().all():
            given = sorted({str(reason) for reason in rows["reason"] if reason})
            reasons[f"{layer:02d}"] = "; ".join(given) or "no reason was recorded"
    return reasons
