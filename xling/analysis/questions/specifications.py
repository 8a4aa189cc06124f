"""Does a result hang on how it was computed? The main coefficient under every specification that the study recorded.

A specification is an outcome (mean impact by each measure and estimator that the runs recorded; each way to express transfer), a
distance, and whether source and target effects are removed. All are tested together: `p_max_t` compares each |r|, in units of its
spread by chance, with the largest over the curve in every relabelling of the distances, so that "some specification is significant"
is no finding by itself (Simonsohn, Simmons & Nelson 2020, Nature Human Behaviour 4; Westfall & Young 1993).
"""

from collections.abc import Iterator

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
from xling.runs.measures import to_long

MAX_PERMUTATIONS = 2_000
"""The curve has many tests of one question; a p-value to .005 serves."""

NEGATED_GAP = "-transfer_gap"

SPECIFICATIONS = {
    "question": "impact or transfer: the two are families of their own",
    "outcome": "what stands for it: a measure of impact (cka_grouped, ...), score, score_relative or -transfer_gap",
    "layer_label": "'mean', or '' for transfer",
    "predictor": "distance kind",
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
    questions = {
        "impact": _impact_outcomes(measured, main, epoch, step),
        "transfer": _transfer_outcomes(main[main["layer_label"] == MEAN_LABEL]),
    }
    for question, outcomes in questions.items():
        frames = {name: cells.assign(impact=cells[name], layer_label=MEAN_LABEL) for name, cells in outcomes.items()}
        found = [
            (name, distance_arrays(cells, ["impact"], measured.distances, kinds, None))
            for name, cells in frames.items()
        ]
        rows = list(_curve([(name, arrays) for name, arrays in found if len(arrays.sources) > 2], resampling))
        tables.append(
            pd.DataFrame(rows).assign(question=question, layer_label=MEAN_LABEL if question == "impact" else "")
        )
    table = pd.concat(tables, ignore_index=True)
    return table.reindex(columns=list(SPECIFICATIONS))


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


def _curve(outcomes: list[tuple[str, PairArrays]], resampling: Resampling) -> Iterator[dict]:
    """Test every outcome, distance and form, and all of them as one family."""
    rows, observed, nulls = [], [], []
    if not outcomes:
        return
    first = max((arrays for _, arrays in outcomes), key=lambda arrays: (len(arrays.languages), len(arrays.sources)))
    permutations = draw_permutations(first.roles, min(resampling.permutations, MAX_PERMUTATIONS), resampling.seed)
    for name, arrays in track(outcomes, "Specifications"):
        # one relabelling of the languages for the whole family: an outcome of other languages or roles is not tested
        is_same = arrays.languages == first.languages and (arrays.roles == first.roles).all()
        testable = is_same and count_arrangements(first.roles) >= MIN_ARRANGEMENTS
        both_forms = (
            leaves_pairs(*arrays.cells) and name != NEGATED_GAP
        )  # without source effects the gap is the score again
        forms = {"raw": None} | ({"demeaned": two_way_basis(*arrays.cells)} if both_forms else {})
        for form, design in forms.items():
            r = correlate(arrays.cell_predictors, arrays.outcomes, design)
            left_out, without = leave_one_out(
                arrays.cell_predictors, arrays.outcomes, *arrays.cells, form == "demeaned"
            )
            low, high = defined_range(without)
            carriers = name_carriers(r, left_out, without, arrays.languages)
            for k, (kind, _) in enumerate(arrays.predictor_labels):
                both = np.isfinite(arrays.cell_predictors[k]) & np.isfinite(arrays.outcomes[0])
                rows.append(
                    {"outcome": name, "predictor": kind, "form": form, "n_pairs": int(both.sum()), "r": r[k, 0]}
                )
                rows[-1] |= {"loo_low": low[k, 0], "loo_high": high[k, 0], "carried_by": carriers[k, 0]}
                observed.append(r[k, 0] if testable else np.nan)
                nulls.append(_null(arrays, k, permutations, design) if testable else np.full(len(permutations), np.nan))
    null = np.stack(nulls, axis=1)
    p_values = permutation_p(np.array(observed), null, permutations.exact)
    # raw r varies more by chance
    spread = np.array([np.nanstd(own) if np.isfinite(own).any() else 1.0 for own in nulls])
    family = np.fmax(max_t_p(np.array(observed) / spread, null / spread, permutations.exact), p_values)
    for row, p, q in zip(rows, p_values, family, strict=True):
        yield row | {"p_qap": p, "p_max_t": q}


def _null(arrays: PairArrays, k: int, permutations: Permutations, design: np.ndarray | None) -> np.ndarray:
    outcomes, cells = arrays.outcomes, arrays.cells
    return null_correlations(arrays.predictors[k], outcomes, cells, permutations, design, follows_labels=True)[:, 0]
