"""Compares everything done to layers (frozen, anchored, reverted, swapped, averaged) with the baseline and with each other.

The changes of score, gap, slope and time are those of the comparison of strategies (:mod:`xling.analysis.questions.freezing`),
whose pairing and intervals they share. Beside them stands the change of impact at the treated layers, and wherever two strategies
treat the same layers, one by freezing in training and one by reverting after it, the two are compared with each other. Where as
many layers drawn at random were treated in the same way (``xling-restore --random``), a set is judged by its place among these
sets; a random set is no treatment of its own.
"""

from collections.abc import Sequence

import pandas as pd

from xling.analysis.inputs.pairs import select_validation
from xling.analysis.questions.cause import compute_cause
from xling.analysis.questions.freezing import COMPARISON, RUN, compare_among_sets, compute_freezing
from xling.analysis.questions.item_variance import t_interval
from xling.analysis.questions.random_sets import RANDOM_REFERENCE, is_random_set
from xling.analysis.questions.verdicts import add_verdicts
from xling.interventions.layer_shares import HEAD, format_shares

IMPACT_TREATED = "impact_treated"
"""Metric: mean impact over the treated layers and the targets S != T."""

INTERVENTIONS = {
    "strategy": COMPARISON["strategy"],
    "kind": "freeze, or the intervention: anchor, revert, ...",
    "layers": "treated layers, e.g. 1-4",
    "dose": "its strength; doses compare within one kind",
    "reference": f"the baseline, the strategy that treats the same layers in another way, or '{RANDOM_REFERENCE}'",
} | {name: text for name, text in COMPARISON.items() if name not in ("strategy", "reference")}
"""Columns of ``interventions``; metrics are those of ``freezing`` and ``impact_treated``."""


def list_treatments(runs: pd.DataFrame | None, baseline: str) -> pd.DataFrame:
    """List what each strategy of a study does, as the manifests of its runs say.

    Layers that the baseline freezes too are no treatment.

    Args:
        runs: a row per run: strategy and, where recorded, frozen_layers, intervention, treated_layers and dose.
        baseline: strategy to compare with.

    Returns:
        A row per strategy but the baseline, random sets included: strategy, kind, layers (list; also ``head``), dose,
        treatment (kind and layers in words). Of a strategy that both freezes and intervenes the intervention is named.
    """
    columns = ["strategy", "kind", "layers", "dose", "treatment"]
    if runs is None or not {"intervention", "frozen_layers"} <= set(runs.columns):
        return pd.DataFrame(columns=columns)
    first = runs.drop_duplicates("strategy").set_index("strategy")
    fixed = set(first.loc[baseline, "frozen_layers"]) if baseline in first.index else set()
    rows = []
    for strategy, run in first.drop(index=baseline, errors="ignore").iterrows():
        if isinstance(run["intervention"], str) and run["intervention"] != "none":
            kind, layers, dose = run["intervention"], list(run["treated_layers"]), float(run["dose"])
        else:
            kind, layers, dose = "freeze", [layer for layer in run["frozen_layers"] if layer not in fixed], 1.0
        words = f"{kind} {format_shares(dict.fromkeys(layers, 1.0))}".strip()
        rows.append((strategy, kind, layers, dose, words))
    return pd.DataFrame(rows, columns=columns).sort_values(["kind", "strategy"], ignore_index=True)


def compute_interventions(
    transfer: pd.DataFrame,
    impact: pd.DataFrame | None,
    distances: pd.DataFrame,
    runs: pd.DataFrame | None,
    baseline: str,
    predictions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compare every treatment with the baseline, and freezing with reverting the same layers.

    Args:
        transfer: last validations of all runs, columns of :data:`xling.runs.tables.TRANSFER`.
        impact: last validations, of one measure; or None.
        distances: see :func:`xling.analysis.questions.freezing.compute_freezing`.
        runs: see :func:`list_treatments`.
        baseline: strategy to compare with.
        predictions: see :func:`xling.analysis.questions.freezing.compare_strategies`.

    Returns:
        Columns of `INTERVENTIONS`; empty where no run has an intervention.
    """
    found = list_treatments(runs, baseline)
    if found.empty or (found["kind"] == "freeze").all():
        return pd.DataFrame(columns=list(INTERVENTIONS))
    treatments = _chosen(found)
    tables = [compare_among_sets(transfer, distances, _random_sets(found), runs)]
    for reference, strategies in _references(treatments, baseline).items():
        own = transfer[transfer["strategy"].isin([reference, *strategies])]
        said = None if predictions is None else predictions[predictions["strategy"].isin([reference, *strategies])]
        tables.append(compute_freezing(own, None, distances, runs, reference, said))
        if impact is not None and len(impact):
            tables.append(_compare_impact(impact, treatments.set_index("strategy"), strategies, reference))
    table = pd.concat([table for table in tables if len(table)], ignore_index=True)
    named = treatments.assign(layers=treatments["layers"].map(lambda found: format_shares(dict.fromkeys(found, 1.0))))
    table = table.merge(named[["strategy", "kind", "layers", "dose"]], on="strategy", validate="many_to_one")
    order = table["reference"].ne(baseline)
    return table.assign(order=order).sort_values(
        ["order", "kind", "strategy", "reference"], kind="stable", ignore_index=True
    )[list(INTERVENTIONS)]


def _chosen(treatments: pd.DataFrame) -> pd.DataFrame:
    """Leave out random sets, which others are compared with."""
    return treatments[~treatments["strategy"].map(is_random_set)]


def _random_sets(treatments: pd.DataFrame) -> dict[str, list[str]]:
    """Map chosen sets to the random sets of as many layers that were treated in the same way and with the same dose.

    Random sets hold neither layer 0 nor the head, whose parameters count for more than a layer's.
    """
    of_blocks = treatments[treatments["layers"].map(lambda layers: not {0, HEAD} & set(layers))]
    alike = of_blocks.assign(size=of_blocks["layers"].map(len)).groupby(["kind", "size", "dose"])
    sets: dict[str, list[str]] = {}
    for _, group in alike:
        drawn = [strategy for strategy in group["strategy"] if is_random_set(strategy)]
        sets |= dict.fromkeys(_chosen(group)["strategy"], drawn) if drawn else {}
    return sets


def _references(treatments: pd.DataFrame, baseline: str) -> dict[str, list[str]]:
    """List what is compared one by one: all with the baseline; freezing with every whole revert of the same layers."""
    references = {baseline: treatments["strategy"].tolist()}
    reverts = treatments[(treatments["kind"] == "revert") & (treatments["dose"] == 1)]
    frozen = treatments[treatments["kind"] == "freeze"]
    for revert in reverts.itertuples():
        same = frozen.loc[frozen["layers"].map(set) == set(revert.layers), "strategy"].tolist()
        if same:
            references[revert.strategy] = same
    return references


def _compare_impact(
    impact: pd.DataFrame, treatments: pd.DataFrame, strategies: Sequence[str], reference: str
) -> pd.DataFrame:
    """Rows of the comparison for impact at each strategy's treated layers."""
    others = impact[~impact["is_in_language"].astype(bool)]
    rows = []
    for strategy in strategies:
        at = others[others["layer"].isin(treatments.loc[strategy, "layers"])]
        means = at.groupby(["strategy", *RUN])["impact"].mean()
        sides = [
            means.xs(name, level="strategy") if name in means.index.get_level_values(0) else means.iloc[:0].droplevel(0)
            for name in (strategy, reference)
        ]
        paired = pd.concat(sides, axis=1, keys=["ours", "theirs"]).dropna()
        row = {"strategy": strategy, "reference": reference, "metric": IMPACT_TREATED, "n_reference_sets": 1}
        if len(paired):
            differences = paired["ours"] - paired["theirs"]
            row |= {"change": differences.mean()} | t_interval(differences)._asdict()
        rows.append(
            row
            | {
                "strategy_mean": paired["ours"].mean(),
                "reference_mean": paired["theirs"].mean(),
                "n_pairs": len(paired),
            }
            | {f"n_{name}s": paired.index.get_level_values(level).nunique() for name, level in _COUNTED}
            | {"reason": {0: "no impact measured under both", 1: "a single pair of runs"}.get(len(paired), "")}
        )
    return add_verdicts(pd.DataFrame(rows).reindex(columns=list(COMPARISON)))


_COUNTED = (("source", "source_language"), ("seed", "seed"))


def compute_causes(
    transfer: pd.DataFrame,
    impact: pd.DataFrame,
    distances: pd.DataFrame,
    kinds: Sequence[str],
    runs: pd.DataFrame | None,
    baseline: str,
) -> pd.DataFrame:
    """Estimate what impact does to transfer from every treatment's doses, see :func:`xling.analysis.questions.cause.compute_cause`.

    Args:
        transfer: all validations; the last counts.
        impact: impact by one measure, all validations; the last counts.
        distances: source_language, target_language and a column per kind.
        kinds: kinds of distance for which the effect is compared between near and distant targets.
        runs: see :func:`list_treatments`.
        baseline: strategy of dose 0.
    """
    treatments = _chosen(list_treatments(runs, baseline))
    keys = ["strategy", *RUN, "target_language"]
    scores = select_validation(transfer)[[*keys, "is_in_language", "score"]]
    cells = select_validation(impact)[[*keys, "layer", "impact"]].merge(scores, on=keys, validate="many_to_one")
    return compute_cause(cells[~cells["is_in_language"].astype(bool)], treatments, baseline, distances, kinds)
