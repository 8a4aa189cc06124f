"""Writes the sections on the three correlation analyses, and on the paper's form of them."""

import pandas as pd

from xling.analysis.schema import IMPACT_VS_DISTANCE, IMPACT_VS_TRANSFER, MEAN_LABEL, TRANSFER_VS_DISTANCE, Analysis
from xling.report.figures.matrix import draw_correlation_heatmaps
from xling.report.figures.scatter import draw_distance_panels, draw_impact_vs_transfer
from xling.report.section import Absent, Picture, Section, Sheet
from xling.report.words import frames, phrases
from xling.report.words.lookup import (
    drop_blank_columns,
    has_impact,
    has_rows,
    main_pairs,
    metric_name,
    tests_of,
    variance_of,
)

TEST_COLUMNS = [
    *("predictor", "layer_label", "n_pairs", "r", "ci_low", "ci_high", "p_qap", "p_max_t", "p_bh"),
    *("detectable_family_wise", "loo_low", "loo_high", "carried_by", "pearson_r", "p_qap_pearson", "p_max_t_pearson"),
    *("spearman_rho", "p_qap_spearman", "partial_r", "p_qap_partial", "reason"),
]
PAPER_COLUMNS = [
    *("analysis", "predictor", "layer_label", "n_pairs", "pearson_r", "pearson_stars", "p_pearson"),
    *("spearman_rho", "spearman_stars", "p_spearman", "reason"),
]
STARS = (
    "Bold **: p ≤ .05 family-wise (max-T over all coefficients of this analysis); bold *: p ≤ .05 at a controlled "
    "false "
    "discovery rate only (Benjamini–Hochberg); both rest on permuted language labels (QAP). Spearman’s ρ, of raw values, "
    "carries no marks because the correction is computed for r."
)
FIT = (
    "Each point is one pair S ≠ T, labelled with its target language where there is room (S→T where there are many "
    "sources); the thick line is the least-squares fit over all pairs, the thin ones those within each source: guides for the eye, "
    "without bands because pairs that share a language are not independent."
)
UNTESTED = "Permutation tests were not computed (mode “paper”); nothing is claimed from these plots."


def _text(tests: pd.DataFrame, variance: str = "") -> list[str]:
    return (
        [UNTESTED]
        if tests.empty
        else [
            variance,
            phrases.describe_main(tests),
            *phrases.describe_family(tests),
            phrases.describe_signs(tests),
            phrases.describe_carriers(tests),
        ]
    )


def _sheets(tests: pd.DataFrame, what: str) -> list[Sheet]:
    if tests.empty:
        return []
    shown = drop_blank_columns(tests, TEST_COLUMNS)
    caption = (
        f"All coefficients: {what}. CI: the effects that the permutation test does not reject; loo: range with one language "
        "left out, as source or as target."
    )
    return [Sheet("correlations", shown, caption, is_folded=len(shown) > 15)]


def _in_words(tests: pd.DataFrame) -> str:
    known = tests.dropna(subset=["r"]) if len(tests) else tests
    return "; ".join(phrases.describe_test(row) for _, row in known.iterrows())


def impact_distance_section(analysis: Analysis) -> Section | Absent:
    """Write the section on impact against distance, with its heat map and its pairs."""
    if not has_impact(analysis):
        return Absent("Impact and distance", "no impact was measured")
    if not frames.measured_distances(frames.cross_language(main_pairs(analysis))):
        return Absent("Impact and distance", "no distance is known for any pair")
    tests = tests_of(analysis, IMPACT_VS_DISTANCE)
    means = tests if tests.empty else tests[tests["layer_label"] == MEAN_LABEL]
    scatter = Picture(
        "impact_vs_distance",
        draw_distance_panels(main_pairs(analysis), "impact", phrases.note_per_predictor(means)),
        f"Scatter plots of mean impact against each distance. {_in_words(means)}",
        f"Mean impact over layers against each distance. {FIT}",
    )
    pictures = [scatter] if tests.empty else [_heat_map(tests), scatter]
    text = _text(tests, variance_of(analysis, "impact"))
    references = ["littell2017", "mantel1967", "krackhardt1988", "westfall1993", "benjamini1995"]
    sheets = _sheets(tests, "impact against distance")
    return Section("impact-distance", "Impact and distance", text, pictures, sheets, references)


def _heat_map(tests: pd.DataFrame) -> Picture:
    return Picture(
        "impact_vs_distance_heatmap",
        draw_correlation_heatmaps(tests),
        f"Heat maps of correlation coefficients, layers by distances. {' '.join(_text(tests))}",
        f"Correlation of impact with linguistic distance per layer ({_size(tests)}, S ≠ T). {STARS}{_hatched(tests)}",
    )


def _coefficients(tests: pd.DataFrame) -> pd.Series:
    return tests["r" if "r" in tests else "pearson_r"]  # the paper's table has no other than the raw one


def _size(tests: pd.DataFrame) -> str:
    known = tests["n_pairs"][_coefficients(tests).notna()]
    return f"{phrases.range_of(known)} pairs" if len(known) else "no pair"


def _hatched(tests: pd.DataFrame) -> str:
    missing = phrases.reasons(tests[_coefficients(tests).isna()])
    return f" Hatched: {missing}." if missing else ""


def impact_transfer_section(analysis: Analysis) -> Section | Absent:
    """Write the section on impact against zero-shot transfer."""
    if not has_impact(analysis):
        return Absent("Impact and transfer", "no impact was measured")
    if main_pairs(analysis)["score"].isna().all():
        return Absent("Impact and transfer", "no score was measured")
    metric, tests = metric_name(analysis), tests_of(analysis, IMPACT_VS_TRANSFER)
    means = tests if tests.empty else tests[tests["layer_label"] == MEAN_LABEL]
    note = "".join(phrases.note_per_predictor(means).values())
    picture = Picture(
        "impact_vs_transfer",
        draw_impact_vs_transfer(main_pairs(analysis), note),
        f"Scatter plot of zero-shot {metric} against mean impact. {_in_words(means)}",
        f"Zero-shot {metric} against mean impact over layers{f' ({note})' if note else ''}. {FIT}",
    )
    sheets = _sheets(tests, f"impact against {metric}")
    return Section(
        "impact-transfer", "Impact and transfer", _text(tests, variance_of(analysis, "score")), [picture], sheets
    )


def transfer_distance_section(analysis: Analysis) -> Section | Absent:
    """Write the section on zero-shot transfer against distance."""
    if not has_rows(analysis, "pairs"):
        return Absent("Transfer and distance", "no pair was measured")
    cells = frames.cross_language(main_pairs(analysis))
    if cells["score"].isna().all() or not frames.measured_distances(cells.dropna(subset=["score"])):
        return Absent("Transfer and distance", "no pair has both a score and a distance")
    metric, tests = metric_name(analysis), tests_of(analysis, TRANSFER_VS_DISTANCE)
    picture = Picture(
        "transfer_vs_distance",
        draw_distance_panels(main_pairs(analysis), "score", phrases.note_per_predictor(tests)),
        f"Scatter plots of zero-shot {metric} against each distance. {_in_words(tests)}",
        f"Zero-shot {metric} against each distance. {FIT}",
    )
    sheets = _sheets(tests, f"{metric} against distance")
    text = _text(tests, variance_of(analysis, "score"))
    return Section("transfer-distance", "Transfer and distance", text, [picture], sheets, ["keung2020"])


def paper_section(analysis: Analysis) -> Section | Absent:
    """Write the section on the same analyses by the rules of the paper's public scripts."""
    if not has_rows(analysis, "correlations_paper"):
        return Absent("The paper’s form", "it was not asked for (mode “default”)")
    tests = analysis.tables["correlations_paper"]
    text = (
        "For line-by-line comparison with the paper: biased estimator of impact, S = T pairs kept where the public "
        "scripts "
        "keep them, p-values that take pairs for independent and are not corrected for the number of tests. These "
        "stars "
        "overstate the evidence; the permutation tests are the ones to rely on."
    )
    heat = frames.select_analysis(tests, IMPACT_VS_DISTANCE)
    pictures = []
    if not heat.empty and heat["pearson_r"].notna().any():
        caption = (
            f"Correlation of impact with distance in the paper’s form ({_size(heat)}). ** p ≤ .01, * p ≤ .05, "
            f"uncorrected.{_hatched(heat)}"
        )
        pictures.append(Picture("paper_heatmap", draw_correlation_heatmaps(heat), f"Heat maps. {caption}", caption))
    shown = drop_blank_columns(tests, PAPER_COLUMNS)
    sheet = Sheet("correlations_paper", shown, "All coefficients in the paper’s form.", is_folded=True)
    return Section("paper", "The paper’s form", [text], pictures, [sheet], ["philippy2023"])
