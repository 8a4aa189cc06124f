"""The tables a run writes and the analysis reads: names of files and columns, in one place.

One row of ``transfer`` is one target language at one validation; one row of ``impact`` is one layer of it.
A missing number is NaN and its row says why in `reason`.
"""

import pandas as pd

IMPACT_FILE = "impact.parquet"
TRANSFER_FILE = "transfer.parquet"
ALIGNMENT_FILE = "alignment.parquet"
PREDICTIONS_FILE = "predictions.parquet"

KEYS = {
    "study": "name of the study, shared by all its runs",
    "source_language": "language fine-tuned on",
    "target_language": "language evaluated; none of its labels are used",
    "strategy": "name of the freezing strategy, e.g. none, bottom_3, random_3_seed1",
    "seed": "seed of initialisation, order and dropout",
    "epoch": "epochs completed when measured; 0 = before training",
    "step": "optimiser steps completed when measured; 0 = before training",
    "is_in_language": "source_language == target_language",
}
"""Columns shared by both tables."""

TRANSFER = KEYS | {
    "metric": "name of the task's transfer metric: accuracy, macro_f1, f1 (of entities, or of answers)",
    "score": "its value on the target, 0..1",
    "n_examples": "number of examples (of words, where words are classified) evaluated",
    "reason": "why score is NaN, else empty; runs before 0.2 did not say",
}
"""Further metrics of the task follow by their own name, e.g. macro_f1, exact_match. Tables written before 2026-11-22 hold a
column accuracy instead of metric and score; :func:`xling.runs.study.load_study` reads both."""

TRANSFER_ALWAYS = tuple(name for name in TRANSFER if name != "reason")
"""Columns that every analysis needs; runs before 0.2 wrote no others."""


ESTIMATION = {
    "n_groups": "number of groups of dependent examples among them; as many as examples where nobody said any",
    "estimator": "of impact: cka_grouped, debiased over groups, or cka_debiased, over single rows; one if n_groups = n_examples",
    "impact_debiased": "1 - linear CKA debiased over single rows, which is right where they are independent",
}
"""Columns that runs before 0.2 did not write: their impact is that over single rows."""

IMPACT = (
    KEYS
    | {
        "layer": "0 = embedding output, i = hidden_states[i] = output of encoder block i",
        "is_frozen": "the layer's parameters received no gradient",
        "n_examples": "number of probe examples compared",
        "impact": "1 - debiased linear CKA between base and fine-tuned representations, by the estimator named",
        "impact_biased": "1 - biased linear CKA, the paper's estimator",
        "reason": "why impact is NaN, else empty",
    }
    | ESTIMATION
)
"""Further columns follow: measures by their own name (similarity, not impact); with probe.uncertainty impact_se, impact_low,
impact_high (95 % jackknife interval over groups), null_cka_mean, null_cka_q95, null_p_value, influence_group, influence."""

IMPACT_ALWAYS = tuple(name for name in IMPACT if name not in ESTIMATION)
"""Columns that every analysis needs; runs before 0.2 wrote no others."""


def with_estimation(impact: pd.DataFrame) -> pd.DataFrame:
    """The impact table with :data:`ESTIMATION`, filled where rows are from before they were written."""
    impact = impact.reindex(columns=[*impact.columns, *(name for name in ESTIMATION if name not in impact)])
    is_old = impact["estimator"].isna()
    filled = impact["impact_debiased"].astype(float).mask(is_old, impact["impact"])
    return impact.assign(estimator=impact["estimator"].mask(is_old, "cka_debiased"), impact_debiased=filled)


ALIGNMENT = KEYS | {
    "layer": IMPACT["layer"],
    "n_examples": "number of parallel examples compared",
    "n_groups": ESTIMATION["n_groups"],
    "reason": "why a measure is NaN, else empty",
}
"""Similarity of the source's and the target's representations of the same examples; measures follow by name: cka_grouped first
where groups are known. Runs before 0.2 wrote neither it nor n_groups."""


PREDICTIONS = KEYS | {
    "example_id": "of the example, word or question, the same in every run",
    "group_id": "examples that share one are not independent",
    "gold": "true label; of a question, the list of its true answers",
    "predicted": "predicted label, or the answer's text; missing where the model's output was not finite",
}
"""What a run's last validation predicted, a row per target and example. Probabilities follow as ``p_<label>`` (float32); of a
question, certainty, the sum of its answer's two scores."""

RESTORED = {
    "restored_layers": "layers with base weights, joined by '+'; '' for the fine-tuned model as it is",
    "weight": "1 = base weights, 0 = fine-tuned weights, between = interpolated",
    "source_language": "language fine-tuned on",
    "target_language": "language evaluated",
    "is_in_language": "source_language == target_language",
    "score": "the task's transfer metric with the layers restored, 0..1",
    "change": "score - score of the fine-tuned model",
}
"""Columns of ``restored``; a column per distance kind follows."""
