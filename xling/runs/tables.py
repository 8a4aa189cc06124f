"""Names the tables that a run writes and the analysis reads, with their files and columns, in one place.

One row of ``transfer`` is one target language at one validation; one row of ``impact`` is one layer of it by one measure.
A missing number is NaN and its row says why in `reason`.
"""

IMPACT_FILE = "impact.parquet"
TRANSFER_FILE = "transfer.parquet"
ALIGNMENT_FILE = "alignment.parquet"
PREDICTIONS_FILE = "predictions.parquet"
GRADIENTS_FILE = "gradients.parquet"
LINEAR_PROBES_FILE = "linear_probes.parquet"

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
"""Columns that all tables of a run begin with."""

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


IMPACT = KEYS | {
    "layer": "0 = embedding output, i = hidden_states[i] = output of encoder block i",
    "is_frozen": "the layer's parameters received no gradient",
    "measure": "the similarity that impact is made of, e.g. cka_grouped, cka_debiased, svcca; cka_grouped@cls: of further poolings",
    "n_examples": "number of probe examples compared",
    "n_groups": "number of groups of dependent examples among them; as many as examples where nobody said any; NaN in 0.1.0",
    "impact": "1 - this similarity of base and fine-tuned representations",
    "reason": "why impact is NaN, else empty",
}
"""One row per layer and measure. Further columns follow on the rows of the main measure, the first of each layer: with
probe.uncertainty impact_se, impact_low, impact_high (95 % jackknife interval over groups), null_cka_mean, null_cka_q95,
null_p_value, influence_group, influence, share_component_1, share_component_3, share_top_groups; with probe.chance, on every
row, chance: the similarity of the same rows with their groups paired anew. Version 0.1.0 wrote measures side by side;
:func:`xling.runs.study.load_study` reads both."""

ALIGNMENT = KEYS | {
    "layer": IMPACT["layer"],
    "n_examples": "number of parallel examples compared",
    "n_groups": IMPACT["n_groups"],
    "reason": "why a measure is NaN, else empty",
}
"""Similarity of the source's and the target's representations of the same examples; measures follow by name: cka_grouped first
where groups are known."""


GRADIENTS = KEYS | {
    "layer": IMPACT["layer"],
    "n_examples": "examples whose gradients were taken, one by one, on the target's labels",
    "gradient_cosine": "cosine of the target's mean gradient with the source's, -1..1; 1 for the source itself",
    "gradient_norm": "norm of the mean gradient",
    "fisher_trace": "mean squared norm of single examples' gradients: the trace of the empirical Fisher matrix",
}
"""One row per layer in which something trains, of the runs with probe.gradients."""

LINEAR_PROBES = KEYS | {
    "layer": IMPACT["layer"],
    "n_examples": "probe examples (or words) read, at most 1,000",
    "n_groups": "groups of dependent examples among them; a classifier is tried on groups that it has not seen",
    "label_before": "share of the target's labels that a linear classifier reads from the layer before training, 0..1",
    "label_after": "the same at this validation",
    "label_majority": "share of the most frequent label: what reading nothing gives",
    "language_before": "share of the target's examples whose language is recognised among all targets before training, 0..1",
    "language_after": "the same at this validation",
    "n_languages": "how many targets it is told from; reading nothing gives 1 / n_languages",
    "reason": "why a number is NaN, else empty",
}
"""One row per target and layer of the runs with probe.linear_probes; classifiers as in :mod:`xling.probing.discriminant`."""

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
