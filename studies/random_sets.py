"""Judges three sets of layers, frozen in training or put back after it, by their place among sets drawn at random.

The sets were chosen without the sources that they are judged on: docs/retest_plan.md says by which rule.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.comparisons import HERE
from studies.treatments import BASELINE, compare_measured
from studies.variants import RESAMPLING, Variant
from studies.variants import correlate as correlate_variant
from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.permutations import draw_permutations
from xling.analysis.inference.qap import permutation_p
from xling.analysis.inputs.gather import gather_study
from xling.analysis.inputs.measurements import Measurements
from xling.analysis.inputs.pairs import select_validation
from xling.analysis.questions.freezing import compute_run_metrics
from xling.analysis.questions.interventions import list_treatments
from xling.analysis.questions.random_sets import RANDOM_REFERENCE, is_random_set
from xling.analysis.questions.suggestion import DEFAULT_DISTANCE, make_suggestion
from xling.interventions.layer_shares import format_shares, parse_shares
from xling.report.figures import style
from xling.report.sections.freezing import NAMES as METRIC_NAMES

PACK = HERE / "random_sets.xling"
FIRST_HALF = ("ar", "bg", "de", "el", "en", "es", "fr")
"""Sources that the plan lets choose a set; it is judged on others."""
OTHERS = "mean_target_score"
JUDGED = ("source_score", OTHERS, "transfer_gap")
NAMES = {"1-2,6": "the paper's, 1, 2 and 6", "1-3": "the lowest, 1-3", "10-12": "the highest, 10-12"}
"""Layers of a chosen set -> words."""
_DONE = {"revert": "reverted", "freeze": "frozen"}


def judge_sets(retest: Measurements) -> dict:
    """Judge each chosen set among the random ones, by what was done to them.

    Args:
        retest: the runs of the re-test, whose first half of sources had the choice.

    Returns:
        ``first_half``, these sources; ``suggested``, the layers that they suggest for genetic distance, and ``why_not``, why
        there are none; ``n_runs`` in the pack; ``treatments``, a dict per kind of treatment (see `_judge`), and ``of`` the same
        by its name; ``n_at_limit``, how many p-values are as small as the number of sets allows; ``changes`` (see
        `set_changes`); ``agreement``, the correlation of what freezing and what reverting a set changes in the mean score of
        the others, and ``n_agreeing``, over how many sets, on the sources that have both.
    """
    tests = correlate_variant(retest, Variant("the first half of the sources", sources=FIRST_HALF))
    suggestion = make_suggestion(tests, "retest")["distances"][DEFAULT_DISTANCE]
    measured = gather_study(PACK)
    table, changes = compare_measured(measured), set_changes(measured)
    both = _both(changes)
    treatments = [_judge(kind, table, changes) for kind in _DONE]
    return {
        "first_half": FIRST_HALF,
        "suggested": suggestion["layers"],
        "why_not": suggestion["reason"],
        "n_runs": len(measured.runs),
        "treatments": treatments,
        "of": {treatment["name"]: treatment for treatment in treatments},
        "n_at_limit": sum(
            found[metric]["p_rank"] <= 1 / (each["n_sets"] + 1) + 1e-9
            for each in treatments
            for found in each["sets"]
            for metric in JUDGED
        ),
        "changes": changes,
        "agreement": float(np.corrcoef(both["freeze"], both["revert"])[0, 1]),
        "n_agreeing": len(both),
    }


def set_changes(measured: Measurements) -> pd.DataFrame:
    """Compute what every set changes against the baseline, random ones included.

    Returns:
        A row per kind of treatment, set, source and metric of `JUDGED`: kind, layers (in words), is_random, source_language,
        metric, change.
    """
    last = select_validation(measured.transfer)
    metrics = {strategy: _metrics(rows) for strategy, rows in last.groupby("strategy")}
    rows = []
    for _, found in list_treatments(measured.runs, BASELINE).iterrows():
        change = (metrics[found["strategy"]] - metrics[BASELINE]).dropna()
        layers = format_shares(dict.fromkeys(found["layers"], 1.0))
        facts = {"kind": found["kind"], "layers": layers, "is_random": is_random_set(found["strategy"])}
        rows.append(change.rename("change").reset_index().assign(**facts))
    return pd.concat(rows, ignore_index=True)


def _metrics(transfer: pd.DataFrame) -> pd.Series:
    """Give each source's metrics of one strategy, means over seeds, indexed by source_language and metric."""
    metrics = compute_run_metrics(transfer)[list(JUDGED)].groupby(level="source_language").mean()
    return metrics.rename_axis(columns="metric").stack()


def _both(changes: pd.DataFrame) -> pd.DataFrame:
    """Set freezing beside reverting: a row per set and source that has both, columns freeze and revert."""
    own = changes[changes["metric"] == OTHERS]
    return own.pivot_table(index=["layers", "source_language"], columns="kind", values="change").dropna()


def _judge(kind: str, table: pd.DataFrame, changes: pd.DataFrame) -> dict:
    """Gather the figures of one kind of treatment.

    Returns:
        ``name`` in words; its ``sources``; ``n_sets``, random ones; ``random``, by metric the mean, lowest and highest change of
        a random set; ``n_gaining``, how many of all sets the others gain by; ``depth`` (see `_depth`); ``sets``, a dict per
        chosen set: its ``name`` and by metric ``change`` against the baseline, and ``difference``, ``low``, ``high`` and
        ``p_rank`` against the random sets.
    """
    own = changes[changes["kind"] == kind]
    by_set = own[own["is_random"]].groupby(["metric", "layers"])["change"].mean()
    among = table[(table["kind"] == kind) & (table["reference"] == RANDOM_REFERENCE)].set_index(["layers", "metric"])
    chosen = own[~own["is_random"]].groupby(["layers", "metric"])["change"].mean()
    on_others = own[own["metric"] == OTHERS].groupby("layers")["change"].mean()
    return {
        "name": _DONE[kind],
        "sources": sorted(own["source_language"].unique()),
        "n_sets": by_set.index.get_level_values("layers").nunique(),
        "random": by_set.groupby(level="metric").agg(["mean", "min", "max"]).to_dict("index"),
        "n_gaining": int((on_others > 0).sum()),
        "depth": _depth(on_others),
        "sets": [
            {"name": name} | {metric: _place(among.loc[(layers, metric)], chosen[layers, metric]) for metric in JUDGED}
            for layers, name in NAMES.items()
        ],
    }


def _depth(changes: pd.Series) -> dict[str, float]:
    """Correlate what each set changes with the mean number of its layers.

    Args:
        changes: layers in words -> change.

    Returns:
        ``r``, and ``p``: how often layers that are numbered at random correlate as strongly.
    """
    numbers = [list(parse_shares(layers)) for layers in changes.index]
    n_layers = max(map(max, numbers))
    members = np.array(
        [np.isin(range(1, n_layers + 1), layers) for layers in numbers], dtype=float
    )  # [n_sets, n_layers]
    members /= members.sum(axis=1, keepdims=True)
    orders = draw_permutations(n_layers, RESAMPLING.permutations, RESAMPLING.seed)
    outcome = changes.to_numpy()[None]
    r = correlate((members @ np.arange(n_layers))[None], outcome).item()
    null = correlate(orders.labels @ members.T, outcome)[:, 0]
    return {"r": r, "p": float(permutation_p(np.array(r), null, orders.exact))}


def _place(row: pd.Series, change: float) -> dict[str, float]:
    return {"change": change, "difference": row["change"]} | row[["low", "high", "p_rank"]].to_dict()


@style.styled
def draw_sets(changes: pd.DataFrame) -> Figure:
    """Draw what each set changes, a row per kind of treatment and source: the chosen sets as marks among the random ones.

    Args:
        changes: from :func:`set_changes`.
    """
    panels = style.new_panels(len(JUDGED), len(JUDGED), style.PAGE, 1.9, sharey=True)
    rows = {key: y for y, key in enumerate((kind, s) for kind in _DONE for s in _sources_of(changes, kind))}
    places = [rows[key] for key in zip(changes["kind"], changes["source_language"], strict=True)]
    changes = changes.assign(y=places)
    for ax, metric in zip(panels, JUDGED, strict=True):
        own = changes[changes["metric"] == metric]
        drawn = own[own["is_random"]]
        ax.plot(drawn["change"], drawn["y"], "|", color=style.MUTED, markersize=9, label="random sets")
        for (layers, name), colour, marker in zip(NAMES.items(), style.PALETTE, style.MARKERS, strict=False):
            chosen = own[own["layers"] == layers]
            ax.plot(chosen["change"], chosen["y"], marker, color=colour, markersize=5, label=name)
        ax.axvline(0, color=style.MUTED, linewidth=0.6, zorder=0)
        ax.set_yticks(list(rows.values()), [f"{_DONE[kind]}, {source}" for kind, source in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel(f"change of {METRIC_NAMES[metric]}")
        style.choose_ticks(ax.xaxis, at_most=4)
    figure = style.figure_of(panels[0])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(NAMES) + 1)
    return figure


def _sources_of(changes: pd.DataFrame, kind: str) -> list[str]:
    return sorted(changes.loc[changes["kind"] == kind, "source_language"].unique())
