"""What a choice of source language costs, on a case done by hand and on a published matrix."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xling.analysis.inputs.external import read_transfer
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.questions.source_choice import SOURCE_CHOICE, compute_source_choice
from xling.distances import KINDS, compute_distances, load_distances
from xling.report.sections.choice import describe_source_choice

MATRIX = Path(__file__).parent / "published" / "xnli_xlmr_f1_15x15.csv"
NONE = pd.DataFrame(columns=["source_language", "target_language", "near", "near_coverage"])


def make_pairs(scores: dict[str, dict[str, float]], distances=NONE) -> pd.DataFrame:
    rows = [
        {"study": "s", "strategy": "none", "seed": 0, "epoch": 0, "step": 0, "metric": "accuracy", "n_examples": 10}
        | {"source_language": source, "target_language": target, "score": score, "is_in_language": source == target}
        for source, own in scores.items()
        for target, score in own.items()
    ]
    return compute_pairs(pd.DataFrame(rows), None, distances)


SCORES = {
    "en": {"en": 0.9, "de": 0.8, "fr": 0.6, "sw": 0.5},
    "de": {"en": 0.8, "de": 0.85, "fr": 0.7, "sw": 0.4},
    "fr": {"en": 0.7, "de": 0.6, "fr": 0.8, "sw": 0.6},
}


def test_regret_of_every_choice_is_as_computed_by_hand():
    near = pd.DataFrame(
        [
            ("fr", "en", 0.1),
            ("de", "en", 0.2),
            ("en", "de", 0.1),
            ("fr", "de", 0.5),
            ("en", "fr", 0.3),
            ("de", "fr", 0.3),
        ],
        columns=["source_language", "target_language", "near"],
    ).assign(near_coverage=1.0)
    table = compute_source_choice(make_pairs(SCORES, near)).set_index("choice")
    assert list(table.reset_index().columns.sort_values()) == sorted(SOURCE_CHOICE)
    assert table.loc["always en", "regret"] == pytest.approx((0 + 0.1 + 0.1) / 3)  # de, fr, sw
    assert table.loc["always fr", "regret"] == pytest.approx((0.1 + 0.2 + 0) / 3)  # en, de, sw
    assert table.loc["always fr", "saved"] == pytest.approx(((0 - 0.2) + (0.1 - 0)) / 2)  # de, sw: the targets of both
    assert table.loc["always fr", "n_common"] == 2
    assert table.loc["a source at random", "regret"] == pytest.approx((0.1 + 0.05 + (0.1 + 0.2 + 0) / 3) / 3)
    assert table.loc["best on itself", "regret"] == pytest.approx((0 + 0.1 + 0.1) / 3)
    assert table.loc["nearest by near distance", "regret"] == pytest.approx(
        (0 + 0.05) / 2
    )  # de; fr: a tie of en and de
    assert table["regret"].is_monotonic_increasing
    text = describe_source_choice(table.reset_index(), "accuracy")
    assert "always en 6.67 over 3 targets" in text


def test_the_interval_is_one_over_targets_and_the_reference_saves_nothing():
    table = compute_source_choice(make_pairs(SCORES)).set_index("choice")
    lost = pd.Series([0, 0.1, 0.1])
    half = 4.302653 * lost.std(ddof=1) / np.sqrt(3)
    assert table.loc["always en", "high"] == pytest.approx(lost.mean() + half, rel=1e-5)
    assert table.loc["always en", "low"] == 0
    assert table.loc["always en", "saved"] == 0


def test_a_source_chosen_on_other_targets_does_not_see_its_own():
    scores = {"en": {"de": 0.5, "fr": 0.5, "sw": 0.5}, "ru": {"de": 0.9, "fr": 0.4, "sw": 0.4}}
    table = compute_source_choice(make_pairs(scores)).set_index("choice")
    assert table.loc["best on other targets", "regret"] == pytest.approx(
        (0.4 + 0.1 + 0.1) / 3
    )  # de: en is best on fr, sw


def test_a_single_source_has_no_choice():
    assert compute_source_choice(make_pairs({"en": {"de": 0.5, "fr": 0.6}})).empty


def test_english_costs_two_points_in_the_published_matrix():
    table = compute_source_choice(compute_pairs(read_transfer(MATRIX)[0], None, NONE)).set_index("choice")
    points = (100 * table["regret"]).round(2)
    assert points["always en"] == 2.42
    assert points["a source at random"] == 1.54
    assert points[table["kind"] == "fixed"].idxmin() == "always bg"
    assert points["always bg"] == 0.26
    assert (table.loc[["always en", "always bg", "a source at random"], "n_targets"] == 14).all()
    assert table.loc["always bg", "saved_low"] > 0
    text = describe_source_choice(table.reset_index(), "F1")
    assert "always bg 0.26 over 14 targets (the best fixed one, as seen afterwards)" in text
    assert "best on other targets 0.26 over 14 targets;" in text
    assert "a source at random 1.54 over 14 targets (en loses +0.88 more, 95\xa0%\xa0CI\xa0[0.25,\xa01.51])" in text


def test_nearest_sources_cost_the_documented_points_in_the_published_matrix():
    transfer = read_transfer(MATRIX)[0]
    languages = sorted(transfer["source_language"].unique())
    distances = compute_distances(KINDS, languages, "individual").to_table()
    lexical = load_distances(MATRIX.with_name("asjp_ldnd_15x15.csv"), languages=languages, kinds=["lexical"]).to_table()
    table = compute_source_choice(compute_pairs(transfer, None, distances.merge(lexical))).set_index("choice")
    documented = {"genetic": 1.45, "geographic": 1.29, "syntactic": 1.39, "inventory": 1.64}
    documented |= {"phonological": 0.81, "featural": 1.09, "lexical": 2.18}
    for kind, points in documented.items():
        assert 100 * table.loc[f"nearest by {kind} distance", "regret"] == pytest.approx(points, abs=0.005)
    bounds = (100 * table.loc["always en", ["low", "high"]].astype(float)).round(2)
    assert bounds.to_list() == [1.77, 3.07]
    assert 100 * table.loc["best on other targets", "regret"] == pytest.approx(0.26, abs=0.005)
    assert table.loc[table["kind"] == "fixed", "regret"].idxmax() == "always ur"


def test_a_choice_learnt_from_the_other_targets_has_no_interval():
    table = compute_source_choice(make_pairs(SCORES)).set_index("choice")
    ends = ["low", "high", "saved_low", "saved_high"]
    assert table.loc["best on other targets", ends].isna().all()
    assert table.loc[["always de", "a source at random"], ends].notna().all(axis=None)
    text = describe_source_choice(table.reset_index(), "accuracy")
    assert "nan" not in text
