"""Writes the page that compares several studies: what each is, their maps in one colour scale, how far they agree and in what."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from xling.analysis.questions.comparison import LEVEL
from xling.analysis.schema import MEAN_LABEL, TRANSFER_VS_DISTANCE, Analysis
from xling.report.figures import style
from xling.report.figures.matrix import add_colour_bar, draw_cells, label_cells, outline_cell
from xling.report.save import write_page
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words import frames, numbers
from xling.report.words.phrases import layer_phrase

TITLE = "Studies side by side"
MAP_CAPTION = (
    "Correlation of impact with each distance per layer, source and target effects removed where the design allows, one panel "
    "per study and one colour scale for all. Bold *: p ≤ .05 "
    "family-wise within the study (max-T, permuted language labels); framed: so in every study with the same sign; hatched: "
    "no coefficient."
)


def write_comparison(comparison: Analysis, output_dir: Path | str, workers: int | None = None) -> Path:
    """Write ``report.html``, figures and tables of several studies, as :func:`xling.report.write_report` does of one.

    Args:
        comparison: the comparison, from :func:`xling.analysis.questions.comparison.compare_studies`.
        output_dir: folder of the files.
        workers: see :func:`xling.report.write_report`.

    Returns:
        Path of the page.
    """
    build = (studies_section, maps_section, pooled_section, agreement_section, methods)
    parts = [section(comparison) for section in build]
    return write_page(comparison, parts, output_dir, list_comparison_findings(comparison), TITLE, workers)


def list_comparison_findings(comparison: Analysis) -> list[tuple[str, str]]:
    """Say in a line each what holds in all studies and which of them agree."""
    lines = [("In every study", describe_everywhere(comparison)), ("Pooled", describe_pooled(comparison))]
    return [*lines, ("Agreement", describe_agreement(comparison))]


def studies_section(comparison: Analysis) -> Section:
    """Write the section on what each study is."""
    table = comparison.tables["comparison_studies"]
    text = [
        f"{numbers.plural(len(table), 'study').replace('studys', 'studies')}: {numbers.listing(list(table['study']))}."
    ]
    text += [f"{name}: {recipe}" for name, recipe in table[["study", "recipe"]].itertuples(index=False) if recipe]
    sheet = Sheet("comparison_studies", table.drop(columns=["recipe"]), "The studies; means are over pairs S ≠ T.")
    return Section("studies", "What is compared", text, sheets=[sheet])


def maps_section(comparison: Analysis) -> Section | Absent:
    """Write the section with the maps side by side, and the cells that hold in every study."""
    maps, everywhere = comparison.tables["comparison_maps"], comparison.tables["comparison_everywhere"]
    if maps["r"].isna().all():
        return Absent("Impact and distance", "no study has a coefficient of impact and distance")
    alt = f"Heat maps of coefficients, layers by distances, one per study. {describe_everywhere(comparison)}"
    picture = Picture("comparison_maps", draw_maps(maps, everywhere, comparison.facts["studies"]), alt, MAP_CAPTION)
    sheet = Sheet(
        "comparison_everywhere",
        everywhere,
        "Every distance and layer over all studies: range of coefficients, and the largest family-wise p-value, which is that "
        "of the claim about all studies.",
        is_folded=True,
    )
    references = ["mantel1967", "krackhardt1988", "westfall1993"]
    return Section("maps", "Impact and distance", [describe_everywhere(comparison)], [picture], [sheet], references)


def pooled_section(comparison: Analysis) -> Section | Absent:
    """Write the section on coefficients pooled over the studies."""
    table = comparison.tables["comparison_pooled"]
    if table.empty or table["r"].isna().all():
        reasons = sorted(set(table["reason"])) if len(table) else ["no study has a coefficient"]
        return Absent("Pooled over studies", "; ".join(reasons))
    text = [
        describe_pooled(comparison),
        "Random effects over studies (DerSimonian–Laird, interval by Hartung–Knapp), of the main coefficients as Fisher’s z. "
        "The interval is one for further studies like these, of which few studies tell little; p is that of no association in "
        "these studies: their own permutation tests, combined by Stouffer’s method. Studies of the same languages are not "
        "independent: what they share makes both too sure.",
    ]
    sheet = Sheet("comparison_pooled", table, "Every coefficient, pooled over the studies.", is_folded=len(table) > 15)
    return Section("pooled", "Pooled over studies", text, sheets=[sheet])


def describe_pooled(comparison: Analysis) -> str:
    """Count the pooled coefficients whose interval excludes 0, and name those of transfer with distance."""
    table = comparison.tables["comparison_pooled"]
    known = table.dropna(subset="r") if len(table) else table
    if known.empty:
        return "No coefficient could be pooled over studies."
    clear = known[(known["ci_low"] > 0) | (known["ci_high"] < 0)]
    count = f"Of {numbers.plural(len(known), 'pooled coefficient')} {len(clear)} with a 95 % interval that excludes 0."
    named = [_describe_pooled(row) for _, row in known[known["analysis"] == TRANSFER_VS_DISTANCE].iterrows()]
    return f"{count} Transfer with distance: {'; '.join(named)}." if named else count


def _describe_pooled(row: pd.Series) -> str:
    interval = numbers.interval(row["ci_low"], row["ci_high"])
    between = f"{numbers.coefficient(row['r_low'])} to {numbers.coefficient(row['r_high'])} in the studies"
    p_value = numbers.p_value(row["p_value"])
    return f"{row['predictor']} r\xa0=\xa0{numbers.coefficient(row['r'])}, {interval}, {p_value}, {between}"


@style.styled
def draw_maps(maps: pd.DataFrame, everywhere: pd.DataFrame, studies: list[str]) -> Figure:
    """Draw a heat map per study, rows and columns the same, with one colour bar.

    Args:
        maps: table ``comparison_maps``.
        everywhere: table ``comparison_everywhere``; cells that hold are framed in every panel.
        studies: panels in order; one without impact is hatched.
    """
    rows, kinds = sorted(set(maps["row"]) - {MEAN_LABEL}), frames.distance_order(maps["predictor"])
    rows += [MEAN_LABEL] * (MEAN_LABEL in set(maps["row"]))
    panels = style.new_panels(len(studies), 3 if len(kinds) <= 4 else 2, style.PAGE, 1 + 0.22 * len(rows), sharey=True)
    maps = maps.assign(text=maps["r"].map(numbers.coefficient) + np.where(maps["p_max_t"] <= LEVEL, "*", ""))
    held = everywhere[everywhere["holds"].astype(bool)]
    for ax, study in zip(panels, studies, strict=True):
        own = maps[maps["study"] == study]
        values, texts = (frames.pivot(own, "row", "predictor", name, rows, kinds) for name in ("r", "text"))
        draw_cells(ax, values.to_numpy(float), texts.to_numpy(object), style.DIVERGING, Normalize(-1, 1))
        label_cells(ax, [row.lstrip("0") or "0" for row in rows], kinds)
        ax.tick_params(axis="x", labelrotation=30)
        ax.set_title(study, loc="left", fontweight="bold")
        for kind, row in held[["predictor", "row"]].itertuples(index=False):
            outline_cell(ax, kinds.index(kind), rows.index(row))
    panels[0].set_ylabel("layer")
    add_colour_bar(panels, style.DIVERGING, Normalize(-1, 1), "Pearson r")
    return style.figure_of(panels[0])


def describe_everywhere(comparison: Analysis) -> str:
    """Name the distances and layers whose correlation is significant, with one sign, in all studies."""
    table = comparison.tables["comparison_everywhere"]
    n = len(comparison.facts["studies"])
    testable = int(table["p_value"].notna().sum())
    held = table[table["holds"].astype(bool)]
    if not testable:
        return "No distance and layer was tested in all studies, so nothing is claimed of all."
    if held.empty:
        return (
            f"Of {numbers.plural(testable, 'cell')} (distance and layer) tested in all {n} studies none is significant "
            "family-wise with the same sign in every one: these data show no association that holds everywhere."
        )
    phrases = []
    for (kind, is_negative), rows in held.groupby(["predictor", held["r_high"] < 0], sort=False):
        sign = "negative" if is_negative else "positive"
        phrases.append(f"{kind}, {sign}: {', '.join(layer_phrase(row) for row in rows['row'])}")
    count = f"{len(held)} of {numbers.plural(testable, 'cell')} (distance and layer) tested in all {n} studies"
    return f"Significant family-wise with the same sign in every study: {count}. {'; '.join(phrases)}."


def agreement_section(comparison: Analysis) -> Section:
    """Write the section on how far each two studies agree."""
    table = comparison.tables["comparison_agreement"]
    short = table[(table["what"] != "impact") | (table["row"] == MEAN_LABEL)]
    whole = "Agreement of every two studies: of their maps, of the mean impact per language pair, of the scores."
    layers = "The same with the impact at every layer."
    sheets = [Sheet("comparison_agreement", short, whole), Sheet("comparison_agreement", table, layers, is_folded=True)]
    references = ["mantel1967", "krackhardt1988", "benjamini1995"]
    return Section("agreement", "Agreement", [describe_agreement(comparison)], sheets=sheets, references=references)


def describe_agreement(comparison: Analysis) -> str:
    """State the agreement of every two studies' maps, and what of it is more than chance."""
    table = comparison.tables["comparison_agreement"]
    maps = table[table["what"] == "map"]
    if maps.empty:
        return "No two studies have maps to compare."
    return " ".join(_describe_pair(row) for _, row in maps.iterrows())


def _describe_pair(row: pd.Series) -> str:
    names = f"{row['study_a']} and {row['study_b']}"
    if numbers.is_missing(row["p_value"]):
        return f"{names}: not tested ({row['reason']})."
    figures = f"r\xa0=\xa0{numbers.coefficient(row['pearson_r'])} over {int(row['n'])} cells, {numbers.p_value(row['p_value'])}"
    if row["p_value"] > LEVEL:
        return f"{names}: no agreement of the maps is shown ({figures})."
    return f"{names}: the maps {'agree' if row['pearson_r'] > 0 else 'are opposed'} ({figures})."


def methods(comparison: Analysis) -> Section:
    """Write the section on how the comparison was computed."""
    draws = f"{comparison.facts['permutations']:,} permutations, seed {comparison.facts['seed']}"
    text = [
        "Layers are matched by relative depth: rows are the layers of the shallowest encoder, and a deeper one of N layers "
        "gives to layer i of n its own layer nearest to i N / n.",
        "Agreement of maps is the correlation of their cells (layers and distances that both have). Its p-value relabels the "
        f"languages in one study’s distances and computes that study’s map anew ({draws}); either study is relabelled in turn "
        "and the larger p-value is given. Agreement of impact and of scores is the correlation over language pairs S ≠ T, its "
        "p-value relabels languages in one study, each within its role, in the largest part of the common design without gaps. "
        "Source and target effects are removed where several sources allow it.",
        "A claim about all studies is as doubtful as in the most doubtful one: its p-value is the largest of theirs, each "
        "family-wise over its own map. Studies that share data, encoder or languages are not independent evidence.",
    ]
    return Section("methods", "Methods", text)
