"""Computes the main coefficient under every specification that the study allows: does a result hang on how it was computed?

A specification is an outcome (mean impact by each measure and estimator that the runs recorded; each way to express transfer), a
distance and the source that it is from, and whether source and target effects are removed. All are tested together: `p_max_t`
compares each |r|, in units of its spread by chance, with the largest over the curve in every relabelling of the distances, so that
"some specification is significant" is no finding by itself (Simonsohn, Simmons & Nelson 2020, Nature Human Behaviour 4; Westfall &
Young 1993).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from xling.analysis.inference.arrays import PairArrays, distance_arrays
from xling.analysis.inference.correlations import correlate
from xling.analysis.inference.demeaned import leaves_pairs, two_way_basis
from xling.analysis.inference.influence import defined_range, leave_one_out, name_carriers
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import (
    MIN_ARRANGEMENTS,
    Permutations,
    count_arrangements,
    draw_permutations,
)
from xling.analysis.inference.qap import max_t_p, permutation_p
from xling.analysis.inputs.measurements import Measurements, Resampling
from xling.analysis.inputs.pairs import LANGUAGE_PAIR, RUN, select_validation
from xling.analysis.schema import MEAN_LABEL
from xling.machine.progress import track
from xling.runs.measures import split_pooling, to_long

MAX_PERMUTATIONS = 2_000
"""The curve has many tests of one question; a p-value to .005 serves."""

NEGATED_GAP = "-transfer_gap"
FORMS = ("raw", "demeaned")

CHOICES = {
    "form": "raw values or source and target effects removed",
    "distance_source": "source of distances",
    "predictor": "kind of distance",
    "pooling": "pooling of representations",
    "outcome": "measure, or expression of transfer",
}
"""The dimensions of a specification: columns that tell one from another, in words."""

SPECIFICATIONS = {
    "question": "impact or transfer: the two are families of their own",
    "outcome": "what stands for it: a measure of impact (cka_grouped, ...), score, score_relative or -transfer_gap",
    "layer_label": "'mean', or '' for transfer",
    "pooling": "of representations, for impact: that of the runs' probe, or a further one that they recorded; else ''",
    "predictor": "distance kind",
    "distance_source": "where the distance is from: the source of the other analyses, or another whose values differ from it",
    "form": "raw, or demeaned: source and target effects removed",
    "n_pairs": "ordered pairs S != T",
    "r": "Pearson correlation of distance with it; negative: distant pairs have less",
    "p_qap": "two-sided permutation p-value",
    "p_max_t": "family-wise over all specifications of the question",
    "loo_low": "smallest r with one language left out, as source or as target",
    "loo_high": "largest one",
    "carried_by": "the language, as source or target, without which less than half of it is left; empty: none",
}
"""Columns of ``specifications``."""


def compute_specifications(
    measured: Measurements,
    main: pd.DataFrame,
    kinds: list[str],
    resampling: Resampling,
    epoch: int | None,
    step: int | None,
) -> pd.DataFrame:
    """Compute the curve of impact and that of transfer.

    Kinds of distance are taken from the main source and from `measured.other_distances`. What one source gives exactly as an
    earlier one does (genetic distance, in most readings of URIEL) is one specification, not two.

    Args:
        measured: the study's measurements, with distances.
        main: one strategy's rows of the pair table.
        kinds: distances with a value for some pair.
        resampling: permutations (at most 2,000 are drawn) and the seed.
        epoch: validation, as in :func:`xling.analysis.inputs.pairs.compute_pairs`.
        step: likewise.

    Returns:
        Columns of `SPECIFICATIONS`; empty without a distance.
    """
    tables = []
    distances, choices = _distance_choices(measured, kinds)
    questions = {
        "impact": _impact_outcomes(measured, main, epoch, step),
        "transfer": _transfer_outcomes(main[main["layer_label"] == MEAN_LABEL]),
    }
    for question, outcomes in questions.items():
        frames = {name: cells.assign(impact=cells[name], layer_label=MEAN_LABEL) for name, cells in outcomes.items()}
        found = [
            (name, distance_arrays(cells, ["impact"], distances, list(choices), None)) for name, cells in frames.items()
        ]
        rows = list(
            specification_curve([(name, arrays) for name, arrays in found if len(arrays.sources) > 2], resampling)
        )
        tables.append(
            pd.DataFrame(rows).assign(question=question, layer_label=MEAN_LABEL if question == "impact" else "")
        )
    table = pd.concat(tables, ignore_index=True)
    if len(table):
        table[["predictor", "distance_source"]] = [choices[column] for column in table["predictor"]]
        table[["outcome", "pooling"]] = [split_pooling(name) for name in table["outcome"]]
        unnamed = (table["question"] == "impact") & (table["pooling"] == "")
        table.loc[unnamed, "pooling"] = _main_pooling(measured)
    return table.reindex(columns=list(SPECIFICATIONS))


def _main_pooling(measured: Measurements) -> str:
    """Name the main pooling of the runs' probe, which names of measures leave out; empty where runs do not say."""
    designs = [] if measured.runs is None or "design" not in measured.runs else list(measured.runs["design"])
    named = sorted({design["probe.pooling"] for design in designs if design and "probe.pooling" in design})
    return " / ".join(named)


def _distance_choices(measured: Measurements, kinds: list[str]) -> tuple[pd.DataFrame, dict[str, tuple[str, str]]]:
    """Set the distances of all sources side by side.

    Returns:
        A row per ordered pair; and its columns, in order, with the kind and the source of each.
    """
    assert measured.distances is not None
    table = measured.distances[[*LANGUAGE_PAIR, *kinds]]
    choices = {kind: (kind, measured.kind_sources.get(kind, measured.distances_name)) for kind in kinds}
    for source, other in measured.other_distances.items():
        for kind in (kind for kind in kinds if kind in other):
            column = f"{kind}, {source}"
            values = other[[*LANGUAGE_PAIR, kind]].rename(columns={kind: column})
            merged = table.merge(values, on=LANGUAGE_PAIR, how="left")
            earlier = [name for name, (own, _) in choices.items() if own == kind]
            if merged[column].notna().any() and not any(merged[column].equals(merged[name]) for name in earlier):
                table, choices[column] = merged, (kind, source)
    return table, choices


def _transfer_outcomes(mean: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Score, relative score and gap; the gap with its sign turned, so that more transfer is more of each."""
    turned = mean.assign(**{NEGATED_GAP: -mean["transfer_gap"]})
    return {name: turned for name in ("score", "score_relative", NEGATED_GAP)}


def _impact_outcomes(
    measured: Measurements, main: pd.DataFrame, epoch: int | None, step: int | None
) -> dict[str, pd.DataFrame]:
    """Mean over layers 1..n of impact, by every measure that the runs recorded; of the runs as `main` took them otherwise."""
    mean = main[main["layer_label"] == MEAN_LABEL]
    if measured.impact is None or measured.impact.empty:
        return {}
    impact = to_long(measured.impact) if "measure" not in measured.impact else measured.impact
    blocks = select_validation(
        impact[impact["strategy"].isin(mean["strategy"].unique()) & (impact["layer"] >= 1)], epoch, step
    )
    outcomes = {}
    for name, own in blocks.groupby("measure", sort=True):
        runs = own.groupby([*RUN, "target_language"], as_index=False)["impact"].agg(lambda v: v.mean(skipna=False))
        cells = runs.groupby(LANGUAGE_PAIR, as_index=False)["impact"].mean().rename(columns={"impact": name})
        if cells[name].notna().any():
            outcomes[name] = mean.merge(cells, on=LANGUAGE_PAIR, how="left")
    return outcomes


def specification_curve(outcomes: list[tuple[str, PairArrays]], resampling: Resampling) -> Iterator[dict]:
    """Test every outcome, distance and form, and all of them as one family.

    Args:
        outcomes: name and arrays of each, with one row of outcomes and the same predictors.
        resampling: permutations (at most 2,000 are drawn) and the seed.

    Yields:
        The columns of `SPECIFICATIONS` that do not depend on the question; `predictor` is the label of the predictor.
    """
    if not outcomes:
        return
    first = max((arrays for _, arrays in outcomes), key=lambda arrays: (len(arrays.languages), len(arrays.sources)))
    permutations = draw_permutations(first.roles, min(resampling.permutations, MAX_PERMUTATIONS), resampling.seed)
    rows, observed, nulls = [], [], []
    jobs = [(arrays, form) for arrays in _join_alike(outcomes) for form in FORMS]
    for arrays, form in track(jobs, "Specifications"):
        # one relabelling of the languages for the whole family: an outcome of other languages or roles is not tested
        is_same = arrays.languages == first.languages and (arrays.roles == first.roles).all()
        testable = is_same and count_arrangements(first.roles) >= MIN_ARRANGEMENTS
        for row, null in _of_one_form(arrays, form, permutations if testable else None):
            rows.append(row)
            observed.append(row["r"] if testable else np.nan)
            nulls.append(null if testable else np.full(len(permutations), np.nan))
    null = np.stack(nulls, axis=1)
    p_values = permutation_p(np.array(observed), null, permutations.exact)
    # raw r varies more by chance
    spread = np.array([np.nanstd(own) if np.isfinite(own).any() else 1.0 for own in nulls])
    family = np.fmax(max_t_p(np.array(observed) / spread, null / spread, permutations.exact), p_values)
    for row, p, q in zip(rows, p_values, family, strict=True):
        yield row | {"p_qap": p, "p_max_t": q}


def _join_alike(outcomes: list[tuple[str, PairArrays]]) -> list[PairArrays]:
    """Stack outcomes over the same cells, so that distances are relabelled once for all of them; names become their labels."""
    alike: dict[tuple, list[tuple[str, PairArrays]]] = {}
    for name, arrays in outcomes:
        key = (arrays.languages, arrays.sources.tobytes(), arrays.targets.tobytes())
        alike.setdefault(key, []).append((name, arrays))
    return [
        replace(
            own[0][1],
            outcomes=np.vstack([arrays.outcomes for _, arrays in own]),
            outcome_labels=tuple((name, "") for name, _ in own),
        )
        for own in alike.values()
    ]


def _of_one_form(arrays: PairArrays, form: str, permutations: Permutations | None) -> Iterator[tuple[dict, np.ndarray]]:
    """Estimate every distance and outcome in one form; yield rows with their null distributions (empty without permutations)."""
    design = None
    if form == "demeaned":
        # without source effects the gap is the score again
        kept = [m for m, (name, _) in enumerate(arrays.outcome_labels) if name != NEGATED_GAP]
        labels = tuple(arrays.outcome_labels[m] for m in kept)
        arrays = replace(arrays, outcomes=arrays.outcomes[kept], outcome_labels=labels)
        if not kept or not leaves_pairs(*arrays.cells):
            return
        design = two_way_basis(*arrays.cells)
    x, y = arrays.cell_predictors, arrays.outcomes
    r = correlate(x, y, design)
    left_out, without = leave_one_out(x, y, *arrays.cells, form == "demeaned")
    low, high = defined_range(without)
    carriers = name_carriers(r, left_out, without, arrays.languages)
    for k, (predictor, _) in enumerate(arrays.predictor_labels):
        null = np.empty((0, len(y)))
        if permutations is not None:
            null = null_correlations(arrays.predictors[k], y, arrays.cells, permutations, design, follows_labels=True)
        for m, (outcome, _) in enumerate(arrays.outcome_labels):
            n_pairs = int((np.isfinite(x[k]) & np.isfinite(y[m])).sum())
            row = {"outcome": outcome, "predictor": predictor, "form": form, "n_pairs": n_pairs, "r": r[k, m]}
            yield row | {"loo_low": low[k, m], "loo_high": high[k, m], "carried_by": carriers[k, m]}, null[:, m]
