"""Writes the sections on what was measured: transfer and impact."""

import pandas as pd

from xling.analysis.schema import IMPACT_VS_DISTANCE, Analysis
from xling.report.figures import style
from xling.report.figures.curves import draw_impact_curves
from xling.report.figures.matrix import plot_transfer_matrix
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words import frames, numbers, phrases
from xling.report.words.lookup import drop_blank_columns, has_impact, has_rows, main_pairs, metric_name, tests_of

CELL_COLUMNS = [
    *("source_language", "target_language", "n_seeds", "score", "score_sd", "transfer_gap", "score_relative"),
    *("rank_within_source", "n_examples"),
]


def transfer_section(analysis: Analysis) -> Section | Absent:
    """Write the section on the score of every source's model on every target language."""
    if not has_rows(analysis, "pairs") or main_pairs(analysis)["score"].isna().all():
        return Absent("Transfer", "no score was measured")
    cells = frames.layer_mean(main_pairs(analysis))
    text = [*describe_transfer(analysis), _describe_worst(frames.cross_language(cells))]
    title = frames.capitalised(metric_name(analysis))
    n_sources, n_targets = cells["source_language"].nunique(), cells["target_language"].nunique()
    picture = Picture(
        "transfer_matrix",
        style.figure_of(plot_transfer_matrix(cells)),
        f"Matrix of scores, {n_sources} source by {n_targets} target languages. {text[0]} {text[1]}",
        f"{title} (0 to 1) of the model fine-tuned on the row’s language, evaluated on the column’s language "
        f"({_sizes(cells)}). Outlined: source and target are the same language. Hatched: not measured.",
    )
    sheet = Sheet("pairs", drop_blank_columns(cells, CELL_COLUMNS), f"{title} of every pair.", is_folded=True)
    return Section("transfer", title, text, [picture], [sheet])


def describe_transfer(analysis: Analysis) -> list[str]:
    """State in-language and zero-shot scores of the main strategy: mean, range, number of cells."""
    metric, cells = metric_name(analysis), frames.layer_mean(main_pairs(analysis))
    inside, across = cells[cells["is_in_language"].astype(bool)], frames.cross_language(cells)
    return [
        _describe_scores(f"In-language {metric} (S = T)", inside),
        _describe_scores(f"Zero-shot {metric} (S ≠ T)", across),
    ]


def _sizes(cells: pd.DataFrame) -> str:
    known = cells["n_examples"].dropna()
    examples = f"{phrases.range_of(known)} examples per cell" if len(known) else "number of examples not recorded"
    low, high = int(cells["n_seeds"].min()), int(cells["n_seeds"].max())
    seeds = numbers.plural(high, "seed") if low == high else f"{low} to {high} seeds"
    return examples if high == 1 else f"{examples}, mean over {seeds}"


def _describe_scores(what: str, cells: pd.DataFrame) -> str:
    values = cells["score"].dropna()
    if values.empty:
        return f"{what}: not measured."
    low, high = cells.loc[values.idxmin()], cells.loc[values.idxmax()]
    ends = f"from {numbers.fraction(values.min())} ({_pair(low)}) to {numbers.fraction(values.max())} ({_pair(high)})"
    return f"{what}: mean {numbers.fraction(values.mean())} over {numbers.plural(len(values), 'cell')}, {ends}."


def _pair(row: pd.Series) -> str:
    return row["source_language"] if row["is_in_language"] else f"{row['source_language']}→{row['target_language']}"


def _describe_worst(across: pd.DataFrame) -> str:
    gaps = across.groupby("target_language")["transfer_gap"].mean().dropna()
    if gaps.empty:
        return ""
    worst = gaps.sort_values(ascending=False, kind="stable").head(3)
    names = [f"{target} ({numbers.coefficient(gap)})" for target, gap in worst.items()]
    return f"Targets with the largest transfer gap, averaged over sources: {numbers.listing(names)}."


def impact_section(analysis: Analysis) -> Section | Absent:
    """Write the section on impact, layer by layer."""
    if not has_impact(analysis):
        return Absent("Impact per layer", "no impact was measured")
    rows = main_pairs(analysis)
    layers = frames.single_layers(rows).dropna(subset=["impact"])
    if layers.empty:
        return Absent("Impact per layer", "impact is there as a mean over layers only")
    text = _describe_layers(layers)
    distance = _colouring(analysis, rows)
    colour = f"coloured by its {distance} distance to the source, " if distance else ""
    picture = Picture(
        "impact_per_layer",
        draw_impact_curves(rows, distance),
        f"Line charts of impact against layer, one panel per source language, one line per target. {text}",
        f"Impact (1 − linear CKA, debiased {_over(analysis)}, between base and fine-tuned representations of the target’s "
        "probe examples) "
        f"per layer; one line per target language, {colour}the source itself black and dashed. "
        f"{_describe_band(layers)}",
    )
    return Section("impact", "Impact per layer", [text], [picture], references=["kornblith2019", "murphy2024"])


def _over(analysis: Analysis) -> str:
    is_grouped = analysis.facts.get("measure") == "cka_grouped"
    return "over groups of dependent examples" if is_grouped else "over single examples"


def _describe_layers(layers: pd.DataFrame) -> str:
    means = layers.groupby("layer")["impact"].mean()
    n_pairs = layers.groupby(["source_language", "target_language"]).ngroups
    return (
        f"Averaged over {numbers.plural(n_pairs, 'pair')}, impact is smallest at layer {means.idxmin()} "
        f"({numbers.cell(means.min())}) and largest at layer {means.idxmax()} ({numbers.cell(means.max())})."
    )


def _colouring(analysis: Analysis, rows: pd.DataFrame) -> str:
    """Choose the distance that colours the lines: the one that correlates most with impact, else the first known."""
    tests = tests_of(analysis, IMPACT_VS_DISTANCE)
    top = None if tests.empty else phrases.strongest(tests)
    return top["predictor"] if top is not None else next(iter(frames.measured_distances(rows)), "")


def _describe_band(layers: pd.DataFrame) -> str:
    seeds = int(layers["n_seeds"].max())
    if seeds == 1:
        premises = "Bands: 95 % jackknife interval over premises. " if layers["impact_low"].notna().any() else ""
        return f"{premises}One seed: no interval over seeds."
    return f"Bands: one standard deviation over {seeds} seeds."
