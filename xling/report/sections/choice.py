"""Writes the sections on choosing a source language and on predicting transfer to a language left out."""

import pandas as pd

from xling.analysis.questions.source_choice import BEST_ELSEWHERE
from xling.analysis.schema import Analysis
from xling.report.section import Absent, Section, Sheet
from xling.report.words import frames, numbers, phrases
from xling.report.words.lookup import drop_blank_columns, has_rows, main_strategy, metric_name

RANKING_COLUMNS = [
    *("predictor", "layer_label", "direction", "ndcg_at_3", "ndcg_at_3_random", "regret", "regret_random", "n_targets"),
    *("n_sources_min", "n_sources_max", "reason"),
]
CHOICE_COLUMNS = [
    *("choice", "regret", "low", "high", "n_targets", "reference", "saved", "saved_low", "saved_high", "n_common"),
]
HELD_OUT_COLUMNS = [
    *("predictors", "mae", "mae_baseline", "r2", "n_predictions", "n_pairs", "n_languages", "reason"),
]

UNSHOWN = (
    *("layer", "n_sources", "n_targets", "p_pearson", "p_spearman", "controls", "n_permuted", "n_pairs_permuted"),
    *("n_permutations", "exact"),
)
"""Columns that are only in the files, and not on the page."""


def _own_rows(analysis: Analysis, name: str) -> pd.DataFrame:
    table = analysis.tables[name]
    return table[table["strategy"] == main_strategy(analysis)]


def ranking_section(analysis: Analysis) -> Section | Absent:
    """Write the section on how well each predictor chooses a source for a target."""
    title = "Choosing a source language"
    if not has_rows(analysis, "ranking"):
        return Absent(title, "no ranking was computed")
    rows = _own_rows(analysis, "ranking").sort_values("ndcg_at_3", ascending=False, kind="stable")
    known = rows.dropna(subset=["ndcg_at_3"])
    if known.empty:
        return Absent(title, phrases.reasons(rows) or "no target has several sources")
    metric, best = metric_name(analysis), known.iloc[0]
    name = f"{_guide(best)}{', ' + phrases.layer_phrase(best['layer_label']) if best['layer_label'] else ''}"
    text = (
        f"Best in this sample by NDCG@3: {name} with {numbers.coefficient(best['ndcg_at_3'])} (random order: "
        f"{numbers.coefficient(best['ndcg_at_3_random'])}); its first choice loses "
        f"{numbers.coefficient(best['regret'], 3)} {metric} against the best source (random choice: "
        f"{numbers.coefficient(best['regret_random'], 3)}), over "
        f"{numbers.plural(int(best['n_targets']), 'target')} with {_sources(best)}. No test was made, and the best of "
        f"{numbers.plural(len(known), 'predictor')} is favoured by chance."
    )
    caption = (
        f"Predictors as guides to the best source, by NDCG@3 (0..1) and {metric} lost by the first choice (regret)."
    )
    sheet = Sheet("ranking", drop_blank_columns(rows, RANKING_COLUMNS), caption, is_folded=len(rows) > 15)
    return Section("ranking", title, [text], sheets=[sheet], references=["lin2019"])


def source_choice_section(analysis: Analysis) -> Section | Absent:
    """Write the section on what it costs to fine-tune on the same language for every target."""
    title = "What a choice of source costs"
    if not has_rows(analysis, "source_choice"):
        return Absent(title, "it needs two sources measured on common targets")
    rows = _own_rows(analysis, "source_choice")
    if rows.empty:
        return Absent(title, "it needs two sources measured on common targets")
    metric = metric_name(analysis)
    caption = (
        f"{frames.capitalised(metric)} lost against the best source of each target, with 95 % t intervals over targets (none "
        "for the best on other targets, whose losses are not independent); saved: against the reference, over the targets that "
        "both have. That a fixed source is best here was seen afterwards; “best on other targets” was not."
    )
    sheet = Sheet("source_choice", drop_blank_columns(rows, CHOICE_COLUMNS), caption, is_folded=len(rows) > 15)
    return Section("source-choice", title, [describe_source_choice(rows, metric)], sheets=[sheet])


def describe_source_choice(rows: pd.DataFrame, metric: str) -> str:
    """Name the cost of the reference, of the best fixed source, of what was chosen on other targets, and of chance."""
    fixed = rows[rows["kind"] == "fixed"]
    reference = fixed[fixed["choice"] == f"always {fixed['reference'].iloc[0]}"]
    learnt = rows[rows["choice"] == BEST_ELSEWHERE]
    chance = rows[rows["kind"] == "random"]
    shown = pd.concat([reference, fixed.head(1), learnt, chance]).drop_duplicates("choice")
    return (
        f"Lost {metric} against the best source, in points: "
        + "; ".join(_cost(row) for _, row in shown.iterrows())
        + "."
    )


def _cost(row: pd.Series) -> str:
    text = f"{row['choice']} {100 * row['regret']:.2f} over {int(row['n_targets'])} targets"
    if row["choice"] == f"always {row['reference']}" or numbers.is_missing(row["saved_low"]):
        return text
    if (
        row["kind"] == "fixed"
    ):  # the best of all, which differs from the reference by more than one that was named beforehand
        return f"{text} (the best fixed one, as seen afterwards)"
    low, high = 100 * row["saved_low"], 100 * row["saved_high"]
    return (
        f"{text} ({row['reference']} loses {100 * row['saved']:+.2f} more, 95\xa0%\xa0CI\xa0[{low:.2f},\xa0{high:.2f}])"
    )


def _guide(row: pd.Series) -> str:
    own = {
        "score_in_language": "the source’s in-language score",
        "impact": "impact",
        "gradient_cosine": "cosine of gradients",
    }
    return own.get(row["predictor"]) or phrases.predictor_phrase(row["predictor"])


def _sources(row: pd.Series) -> str:
    low, high = int(row["n_sources_min"]), int(row["n_sources_max"])
    return f"{low} sources each" if low == high else f"{low} to {high} sources each"


def held_out_section(analysis: Analysis) -> Section | Absent:
    """Write the section on whether transfer to a language that was left out can be predicted."""
    title = "Predicting a language left out"
    if not has_rows(analysis, "held_out"):
        return Absent(title, "no held-out prediction was computed")
    rows = _own_rows(analysis, "held_out")
    known = rows.dropna(subset=["mae"])
    if known.empty:
        return Absent(title, phrases.reasons(rows.assign(layer_label="")) or "too few pairs")
    better = known[known["mae"] < known["mae_baseline"]].sort_values("mae", kind="stable")
    rows = rows.assign(predictors=rows["predictors"].str.replace(",", ", "))
    sheet = Sheet("held_out", drop_blank_columns(rows, HELD_OUT_COLUMNS), "Ridge regression, leaving one language out.")
    return Section("held-out", title, [_describe_held_out(known, better)], sheets=[sheet])


def _describe_held_out(known: pd.DataFrame, better: pd.DataFrame) -> str:
    if better.empty:
        return f"Of {numbers.plural(len(known), 'predictor set')} none predicts held-out scores better than the mean."
    best = better.iloc[0]
    return (
        f"{len(better)} of {numbers.plural(len(known), 'predictor set')} "
        f"{'predicts' if len(better) == 1 else 'predict'} held-out scores with a smaller mean absolute error than "
        f"the "
        f"mean of the other pairs does; the smallest error is {numbers.coefficient(best['mae'], 3)} (mean: "
        f"{numbers.coefficient(best['mae_baseline'], 3)}) from "
        f"{best['predictors'].replace(',', ', ').replace('_', ' ')}, "
        f"R² {numbers.coefficient(best['r2'])}, n\xa0=\xa0{int(best['n_pairs'])} pairs, "
        f"{numbers.plural(int(best['n_languages']), 'language')} left out in turn. No test was made."
    )


def views_section(analysis: Analysis) -> Section | Absent:
    """Write the section with other views of the same associations, as tables."""
    title = "Other views of the same associations"
    captions = {
        "correlations_outcomes": "Transfer expressed as relative score, gap, or rank within the source.",
        "mixed_models": "Crossed random effects of source and target (REML): standardised slopes, Wald p, uncorrected.",
    }
    sheets = []
    for name, caption in captions.items():
        if has_rows(analysis, name):
            table = analysis.tables[name]
            columns = [column for column in table if column not in UNSHOWN]
            sheets.append(Sheet(name, drop_blank_columns(table, columns), caption, is_folded=True))
    if not sheets:
        return Absent(title, "neither other outcomes nor random-effects models were computed")
    text = "For checking how far the results above depend on how transfer is expressed and on the model."
    return Section("views", title, [text], sheets=sheets)
