"""Writes the sections on what was run and how it was analysed, from the facts of an analysis."""

import pandas as pd

from xling.analysis.schema import Analysis
from xling.report.section import Section, Sheet
from xling.report.words import frames, numbers
from xling.report.words.lookup import has_impact, has_rows, main_pairs, main_strategy, metric_name


def run_section(analysis: Analysis) -> Section:
    """Write the section on what was run: languages, seeds, strategies, missing cells and skipped runs."""
    facts = analysis.facts
    text = [_describe_design(analysis), _describe_missing(facts.get("missing_cells", []))]
    skipped = facts.get("skipped", [])
    sheets = []
    if skipped:
        text.append(f"{numbers.plural(len(skipped), 'run')} left out, listed below.")
        sheets.append(Sheet("", pd.DataFrame(skipped, columns=["run", "reason"]), "Runs left out of the analysis."))
    return Section("study", "What was run", text, sheets=sheets)


def _describe_design(analysis: Analysis) -> str:
    facts = analysis.facts
    parts = []
    for key, noun in (("sources", "source language"), ("targets", "target language"), ("seeds", "seed")):
        names = [str(name) for name in facts.get(key, [])]
        if names:
            parts.append(f"{numbers.plural(len(names), noun)} ({', '.join(names)})")
    text = f"{'; '.join(parts)}." if parts else "The analysis does not record its languages."
    if has_rows(analysis, "pairs"):
        cells = frames.layer_mean(main_pairs(analysis))
        n_across = len(frames.cross_language(cells))
        text += f" {numbers.plural(len(cells), 'cell')}, {n_across} of them with S ≠ T."
    strategies = [str(name) for name in facts.get("strategies", [])]
    if len(strategies) > 1:
        named = ", ".join(strategies)
        text += f" Strategies: {named}; unless stated otherwise results are those of “{main_strategy(analysis)}”."
    return text


def _describe_missing(cells: list) -> str:
    if not cells:
        return "No cell of source × target is missing."
    names = [f"{source}→{target}" for source, target in cells]
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"{numbers.plural(len(names), 'cell')} missing: {shown}."


def methods_section(analysis: Analysis) -> Section:
    """Write the section on how the numbers were computed, with settings and versions."""
    facts = analysis.facts
    text = [*facts.get("recipes", []), _describe_measures(analysis), _describe_inference(analysis)]
    versions = facts.get("versions") or {}
    sheets = []
    if versions:
        table = pd.DataFrame(
            [(str(name), str(version)) for name, version in versions.items()], columns=["package", "version"]
        )
        sheets.append(Sheet("", table, "Versions.", is_folded=True))
    references = ["philippy2023", "keung2020"]
    return Section("methods", "Methods", [part for part in text if part], sheets=sheets, references=references)


def _describe_measures(analysis: Analysis) -> str:
    impact = (
        "Impact of fine-tuning on S upon T at a layer is 1 − linear CKA (debiased estimator) between the "
        "representations "
        "of T’s probe examples before and after fine-tuning; 0 means unchanged. The mean over layers leaves out layer "
        "0."
    )
    metric = metric_name(analysis)
    transfer = (
        f"Transfer is the {metric} of the model fine-tuned on S on T, without labels of T; the gap is in-language "
        f"{metric} minus that {metric}. Seeds are averaged within a cell and never count as further languages."
    )
    distances = analysis.facts.get("distances")
    kinds = [str(kind) for kind in analysis.facts.get("kinds", [])]
    source = (
        f" Distances ({', '.join(kinds)}): source “{distances}”; a missing distance stays missing." if distances else ""
    )
    return f"{impact if has_impact(analysis) else ''} {transfer}{source}".strip()


def _describe_inference(analysis: Analysis) -> str:
    facts = analysis.facts
    if not has_rows(analysis, "correlations"):
        return ""
    draws = f", {facts['permutations']:,} permutations" if facts.get("permutations") else ""
    boots = f" ({facts['bootstraps']:,} draws)" if facts.get("bootstraps") else ""
    controls = [str(name) for name in facts.get("controls") or []]
    seed = f" Random draws start from seed {facts['seed']}." if facts.get("seed") is not None else ""
    return (
        f"Correlations are taken over pairs S ≠ T. Pairs that share a language are dependent, so p-values permute "
        f"language "
        f"labels instead of pairs (QAP{draws}, two-sided), sources among sources and other targets among themselves, so that "
        "every draw has the design that was run; where two measured quantities are correlated, the largest part of the design "
        "without gaps is permuted. The main coefficient is Pearson’s r after source and target effects are removed from both "
        "sides; from one source nothing is left then, and the raw r takes its place. Within each analysis p-values "
        "are "
        "corrected over all layers and predictors, family-wise by the largest statistic per permutation (max-T) and "
        "for "
        "the false discovery rate by Benjamini–Hochberg. Intervals hold the effects that the permutation test does not reject; "
        f"those of mediation resample languages{boots}."
        + (f" Partial correlations control for {sentences_list(controls)}." if controls else "")
        + seed
        + " All results are associations: nothing was randomised over languages."
    )


def sentences_list(names: list[str]) -> str:
    """Join names of columns as words of a sentence."""
    return numbers.listing([name.replace("_", " ") for name in names])
