"""Chooses the measure of impact that the analysis speaks of, and takes its rows from the table of all measures."""

from collections.abc import Sequence

import pandas as pd

from xling.analysis.inputs.pairs import RUN
from xling.errors import XlingValueError, close_matches
from xling.runs.measures import BIASED, PREFERRED


def choose_measure(impact: pd.DataFrame, wanted: str | None = None) -> tuple[str, list[str]]:
    """Choose one measure for all runs: runs measured by different estimators are never mixed.

    Args:
        impact: the long table, columns of :data:`xling.runs.tables.IMPACT`.
        wanted: name of a measure; None: the first of :data:`xling.runs.measures.PREFERRED` that every run has, else the first
            that every run has.

    Returns:
        The measure's name, and a sentence where a preferred one was not chosen because some runs lack it.

    Raises:
        XlingValueError: no run has the measure, or not every run has it; the message names the runs without it.
    """
    recorded = impact.groupby(RUN)["measure"].agg(set)
    known = sorted(set().union(*recorded))
    if wanted is not None:
        if wanted not in known:
            raise XlingValueError(
                f"no run has impact by the measure {wanted!r}{close_matches(wanted, known)}; the runs have {', '.join(known)}"
            )
        if without := _runs_without(recorded, wanted):
            raise XlingValueError(
                f"expected every run to have impact by {wanted}, and {_phrase_runs(without)} not; runs by different measures are "
                "not mixed: choose another with measure=NAME, or train those runs again"
            )
        return wanted, []
    common = set.intersection(*recorded)
    candidates = [name for name in (*PREFERRED, *known) if name in common]
    if not candidates:
        raise XlingValueError(
            f"no measure of impact is common to all runs (there are {', '.join(known)}); analyse them apart, or train some again"
        )
    better = [name for name in PREFERRED if name in known and name not in common]
    sentences = [
        f"Impact is by {candidates[0]} throughout: {_phrase_runs(_runs_without(recorded, name))} no impact by {name}, and the "
        "two are not mixed."
        for name in better[:1]
    ]
    return candidates[0], sentences


def one_measure(impact: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Take the rows of one measure, with the impact by biased CKA, the paper's, beside it as `impact_biased`."""
    keys = [*RUN, "target_language", "step", "layer"]
    own = impact[impact["measure"] == measure]
    biased = impact.loc[impact["measure"] == BIASED, [*keys, "impact"]].rename(columns={"impact": "impact_biased"})
    if measure == BIASED or biased.duplicated(keys).any():  # doubled rows are refused later, by name
        return own.assign(impact_biased=own["impact"] if measure == BIASED else float("nan"))
    return own.merge(biased, on=keys, how="left")


def correct_for_chance(impact: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Correct similarity for chance, what the same rows give once their groups are paired anew: (value - chance) / (1 - chance).

    Impact, its standard error and its interval are all divided by 1 - chance, which is taken as known.

    Args:
        impact: the long table, columns of :data:`xling.runs.tables.IMPACT`, with the column chance of ``probe.chance=true``.

    Returns:
        The table, and a sentence that says so.

    Raises:
        XlingValueError: some runs have no chance level; the message names them.
    """
    has_none = impact["impact"].notna() & (impact["chance"].isna() if "chance" in impact else True)
    if has_none.any():
        recorded = impact.assign(name=has_none.map({True: "without", False: "with"})).groupby(RUN)["name"].agg(set)
        without = ["/".join(map(str, run[1:])) for run, found in recorded.items() if "without" in found]
        raise XlingValueError(
            f"above_chance=true needs the chance level of every similarity, and {_phrase_runs(without)} none; train with "
            "probe.chance=true, or leave above_chance at false"
        )
    scaled = [name for name in ("impact", "impact_se", "impact_low", "impact_high") if name in impact]
    lowest, highest = impact["chance"].min(), impact["chance"].max()
    sentence = (
        "Impact is 1 - (similarity - chance) / (1 - chance), chance being the similarity of the same examples with their groups "
        f"paired anew, {lowest:.3f} to {highest:.3f} here (above_chance=true)."
    )
    return impact.assign(**{name: impact[name] / (1 - impact["chance"]) for name in scaled}), sentence


def _runs_without(recorded: pd.Series, measure: str) -> list[str]:
    return ["/".join(map(str, run[1:])) for run, names in recorded.items() if measure not in names]


def _phrase_runs(runs: Sequence[str]) -> str:
    shown = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    return f"{shown} {'has' if len(runs) == 1 else 'have'}"
