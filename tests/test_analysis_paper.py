"""The paper's own analyses, and the coefficients published with it."""

import csv
import functools
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats
from small_studies import DEFAULT, PAPER, planted, rows

from xling.analysis.inputs.gather import add_distances, gather_csv
from xling.analysis.pipeline import analyse
from xling.distances import compute_distances

ACCURACIES = Path(__file__).parent / "published" / "mbert_xnli_accuracy.csv"


def test_paper_mode_follows_the_public_scripts():
    _measured, analysis = planted()
    tests = analysis.tables["correlations_paper"]
    counts = tests.groupby("analysis")["n_pairs"].unique().map(list).to_dict()
    assert counts == {"impact_vs_distance": [90], "impact_vs_transfer": [100], "transfer_vs_distance": [100]}
    assert sorted(tests["layer_label"].unique()) == ["", "01", "02", "03", "04", "mean"]
    pairs = analysis.tables["pairs"].query("layer_label == '02'")
    row = rows(analysis, "impact_vs_transfer", "correlations_paper").set_index("layer_label").loc["02"]
    expected = stats.pearsonr(pairs["impact_biased"], pairs["score"])
    assert (row["pearson_r"], row["p_pearson"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert row["pearson_stars"] == "**"


def test_paper_mode_keeps_the_diagonal_at_distance_zero():
    measured, analysis = planted()
    off = measured.distances[measured.distances["source_language"] != measured.distances["target_language"]]
    without = analyse(replace(measured, distances=off), PAPER)
    pd.testing.assert_frame_equal(without.tables["correlations_paper"], analysis.tables["correlations_paper"])


PUBLISHED = {  # method.md: English source, zero-shot accuracies of Wu & Dredze 2019 (arXiv:1904.09077), Pearson r
    "paper": (-0.664, -0.456, -0.363, -0.019, -0.367, -0.492),
    "repaired": (-0.843, -0.547, -0.363, 0.286, 0.174, -0.609),
    "individual": (-0.812, -0.589, -0.363, 0.339, 0.184, -0.519),
}


URIEL = ("syntactic", "geographic", "genetic", "inventory", "phonological", "featural")


@pytest.mark.parametrize("source", PUBLISHED)
def test_published_coefficients_come_out_to_the_third_decimal(tmp_path, source):
    with ACCURACIES.open(encoding="utf-8") as stream:
        accuracies = next(row for row in csv.DictReader(stream) if row["setting"] == "zero_shot_from_en")
    lines = [f"en,{language},{value}" for language, value in accuracies.items() if len(language) == 2]
    path = tmp_path / "wu_dredze.csv"
    path.write_text("\n".join(["source_language,target_language,accuracy", *lines]), encoding="utf-8")
    measured, _ = add_distances(gather_csv(path)[0], functools.partial(compute_distances, URIEL, source=source))
    tests = rows(analyse(measured, DEFAULT), "transfer_vs_distance").set_index("predictor")
    assert tests["pearson_r"].round(3).to_dict() == dict(zip(URIEL, PUBLISHED[source], strict=True))
    assert tests["n_pairs"].loc[["syntactic", "phonological"]].tolist() == [14, 14 if source == "paper" else 13]
