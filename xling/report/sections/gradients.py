"""Writes the section on whether gradients of source and target foretell how well the target does in the end."""

import pandas as pd

from xling.analysis.questions.gradients import GRADIENTS
from xling.analysis.schema import Analysis
from xling.report.section import Absent, Section, Sheet
from xling.report.words import numbers, phrases
from xling.report.words.lookup import drop_blank_columns, has_rows, metric_name

TITLE = "Gradients and transfer"
NAMES = {
    "gradient_cosine": "Cosine of the target’s gradient with the source’s",
    "gradient_norm": "Norm of the target’s gradient",
    "fisher_trace": "Trace of the target’s Fisher matrix",
}


def gradients_section(analysis: Analysis) -> Section | Absent:
    """Write the section on what gradients during training say of each target's score at the end."""
    if not has_rows(analysis, "gradients"):
        return Absent(TITLE, "no gradients were taken (probe.gradients=16), or only of the source languages themselves")
    table = analysis.tables["gradients"]
    first = table[table["step"] == table["step"].min()]
    intro = (
        "Gradients of single probe examples on their own labels, averaged per language: a diagnosis that reads the labels of "
        f"the targets. They are set against the {metric_name(analysis)} at the end; a family of tests is the layers of one "
        "measure at one step."
    )
    text = [intro, *(_describe(first[first["measure"] == measure], name) for measure, name in NAMES.items())]
    sheet = Sheet(
        "gradients",
        drop_blank_columns(table, list(GRADIENTS)),
        "Gradients against the final score, per step and layer.",
        is_folded=len(table) > 15,
    )
    return Section("gradients", TITLE, text, sheets=[sheet])


def _describe(tests: pd.DataFrame, name: str) -> str:
    """The strongest layer of one measure at the first step, and what the design would have found."""
    top = phrases.strongest(tests)
    if top is None:
        return f"{name}: no coefficient could be computed ({phrases.reasons(tests) or 'no pair has both values'})."
    n_tested, n_clear = int(tests["p_max_t"].notna().sum()), int((tests["p_max_t"] <= phrases.LEVEL).sum())
    figures = [f"r\xa0=\xa0{numbers.coefficient(top['r'])}", numbers.interval(top["ci_low"], top["ci_high"])]
    figures.append(f"family-wise {numbers.p_value(top['p_max_t'])}")
    least = numbers.coefficient(tests["detectable_family_wise"].max())
    seen = f"; this design finds |r| of {least} with a probability of 80 %" if least else ""
    counted = f"{n_clear} of {numbers.plural(n_tested, 'coefficient')} {phrases.differ(n_clear)} from 0 family-wise"
    return (
        f"{name} at step {int(top['step'])}: {counted}; strongest {phrases.layer_phrase(top['layer_label'])}, "
        f"{', '.join(part for part in figures if part)}{seen}."
    )
