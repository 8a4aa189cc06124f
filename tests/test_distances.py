"""Distances from URIEL: values, coverage and placeholders, against reference tables and the published correlations."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xling.distances import (
    KINDS,
    MacrolanguageWarning,
    PlaceholderWarning,
    compute_distances,
    distance_table,
    formulas,
    uriel,
)
from xling.distances.matrices import compute_matrix
from xling.errors import XlingValueError

PAPER_CODES = ("ara", "bul", "deu", "ell", "eng", "spa", "fra", "hin", "rus", "swa", "tha", "tur", "urd", "vie", "zho")
REFERENCE = pd.read_csv(Path(__file__).parent / "distances_reference.csv", comment="#")
quiet = pytest.mark.filterwarnings("ignore::xling.distances.DistanceWarning")  # tested on their own below


@quiet
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["paper", "repaired", "individual"])
def test_every_ordered_value_of_the_reference_tables_comes_out(source, kind):
    own = REFERENCE[REFERENCE["source"] == source]
    reference = own.pivot(index="language", columns="other", values=kind).loc[[*PAPER_CODES], [*PAPER_CODES]]
    frame = compute_distances(kind, PAPER_CODES, source).values[kind]
    if kind == "phonological" and source != "paper":  # the reference holds placeholders for Urdu there
        reference.loc["urd"] = reference["urd"] = np.nan
        reference.loc["urd", "urd"] = 0
    assert reference.shape == (15, 15)
    pd.testing.assert_frame_equal(frame, reference, check_dtype=False, check_names=False, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "a", "b", "expected"),
    [
        ("syntactic", "dan", "deu", 0.4852),
        ("syntactic", "frr", "dan", 0.6629),
        ("geographic", "frr", "dan", 0.0028),
        ("geographic", "frr", "deu", 0.0359),
        ("genetic", "frr", "dan", 0.625),
        ("inventory", "frr", "dan", 0.6196),
        ("featural", "frr", "dan", 1.0),
    ],
)
def test_values_of_the_lang2vec_readme_come_out(kind, a, b, expected):
    assert compute_matrix(kind, [a, b]).values[0, 1] == pytest.approx(expected, abs=5e-5)


def test_the_order_of_the_list_alone_decides_which_language_genetic_distance_counts():
    nodes = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    first, second = (formulas.genetic_distance(nodes, nodes.sum(axis=1), places)[0, 1] for places in ([0, 1], [1, 0]))
    assert (first, second) == pytest.approx((1 - 2 / 5, 1 - 2 / 3))


def test_every_language_of_uriel_stands_in_the_genetic_order():
    assert set(uriel.families().rows) <= set(uriel.genetic_order())
    assert len(uriel.families().rows) == 7970


def test_columns_of_each_kind_are_counted():
    assert {k: len(uriel.kind_columns(k)) for k in uriel.TYPOLOGICAL_KINDS} == {
        "syntactic": 98,
        "phonological": 28,
        "inventory": 158,
        "featural": 284,
    }


def test_urdu_phonology_is_missing_and_nothing_else_of_the_fifteen_is():
    with pytest.warns(MacrolanguageWarning):
        values = compute_distances(KINDS, ["ar", "bg", "ur", "zh", "sw"]).values
    assert values["phonological"].isna().sum().sum() == 8
    assert not any(frame.isna().any().any() for kind, frame in values.items() if kind != "phonological")


def test_a_pair_without_a_common_observed_feature_is_missing():
    distances = compute_distances(["featural", "syntactic"], ["da", "frr", "de"])
    assert distances.coverage["featural"].loc["da", "frr"] == 0
    assert np.isnan(distances.values["featural"].loc["da", "frr"])
    assert np.isnan(distances.values["syntactic"].loc["frr", "de"])
    assert distances.values["syntactic"].loc["da", "de"] == 0.4852


def test_coverage_counts_the_features_observed_for_both():
    distances = compute_distances(KINDS, ["de", "ur"])
    observed = uriel.kind_values("syntactic", ["deu", "urd"]) >= 0
    assert distances.coverage["syntactic"].loc["de", "ur"] == sum(a and b for a, b in observed.T) > 50
    assert distances.coverage["phonological"].loc["de", "ur"] == 0
    assert distances.coverage["inventory"].loc["de", "ur"] == 158
    assert distances.coverage["genetic"].loc["de", "ur"] == 6  # German has 6 family nodes, Urdu 7
    assert distances.coverage["geographic"].loc["de", "ur"] == 299


FILES_OF_SOURCES = {"average": ("S_", "feature_averages.npz"), "knn": ("S_", "feature_predictions.npz")}


def angle_from_file(name, prefix, a, b):
    """lang2vec's angle, computed pair by pair from one of its files as it is, but for what its own distances leave out."""
    with np.load(io.BytesIO(uriel.read_lang2vec_file(name))) as file:
        left_out = set(uriel.rules()["syntactic_features_left_out"])
        columns = [i for i, f in enumerate(file["feats"]) if f.startswith(prefix) and f not in left_out]
        u, v = (np.clip(file["data"][list(file["langs"]).index(code), columns, 0], 0, None) for code in (a, b))
    return 2 / np.pi * np.arccos(u @ v / np.sqrt(u @ u) / np.sqrt(v @ v))


@pytest.mark.parametrize("source", FILES_OF_SOURCES)
@pytest.mark.parametrize(("a", "b"), [("deu", "eng"), ("fra", "urd"), ("tha", "tur")])
def test_averages_and_predictions_give_the_angle_between_their_own_files_rows(source, a, b):
    prefix, name = FILES_OF_SOURCES[source]
    distance = compute_distances("syntactic", [a, b], source).values["syntactic"].loc[a, b]
    assert distance == pytest.approx(angle_from_file(name, prefix, a, b), abs=6e-5)
    assert distance != compute_distances("syntactic", [a, b]).values["syntactic"].loc[a, b]


def test_predictions_fill_what_nobody_observed_and_averages_do_not():
    predicted, averaged = (compute_distances("phonological", ["de", "ur"], source) for source in ("knn", "average"))
    assert predicted.values["phonological"].loc["de", "ur"] > 0
    assert predicted.coverage["phonological"].loc["de", "ur"] == 0
    assert np.isnan(averaged.values["phonological"].loc["de", "ur"])


@pytest.mark.parametrize("source", ["average", "knn"])
def test_fillings_change_typological_distances_alone(source):
    kinds = ["genetic", "geographic"]
    own, union = (compute_distances(kinds, ["de", "fr", "ur"], name).values for name in (source, "repaired"))
    for kind in kinds:
        pd.testing.assert_frame_equal(own[kind], union[kind])


def test_a_language_without_family_nodes_has_no_genetic_distance():
    distances = compute_distances("genetic", ["bsk", "de"])  # Burushaski: URIEL does not tell isolate from unclassified
    assert np.isnan(distances.values["genetic"].loc["bsk", "de"])
    assert distances.values["genetic"].loc["bsk", "bsk"] == 0


def test_labels_come_back_as_given_in_the_order_given():
    distances = compute_distances("genetic", ["DE", "eng", "fr"])
    assert list(distances.values["genetic"].index) == list(distances.values["genetic"].columns) == ["DE", "eng", "fr"]
    assert distances.values["genetic"].loc["DE", "eng"] == 0.4286


def test_two_names_of_one_language_are_at_distance_zero():
    values = compute_distances(KINDS, ["de", "deu", "ger"]).values
    assert all((frame.to_numpy() == 0).all() for frame in values.values())


@quiet
def test_the_table_has_one_row_per_ordered_pair_and_a_coverage_per_kind():
    table = distance_table(["de", "ur", "zh"], ["genetic", "phonological"], source="individual")
    assert list(table) == [
        *("source_language", "target_language", "genetic", "phonological", "genetic_coverage", "phonological_coverage")
    ]
    assert len(table) == 9
    pair = table.set_index(["source_language", "target_language"]).loc[("de", "ur")]
    assert (pair.genetic, pair.phonological_coverage) == (0.8571, 0)


@pytest.mark.filterwarnings("ignore::xling.distances.MacrolanguageWarning")
@pytest.mark.parametrize(("kind", "n_pairs"), [(kind, 50 if kind == "phonological" else 39) for kind in KINDS])
def test_the_papers_placeholder_pairs_are_counted(kind, n_pairs):
    with pytest.warns(PlaceholderWarning, match=rf"of the 105 language pairs \({kind} {n_pairs}\)"):
        distances = compute_distances(kind, PAPER_CODES, "paper")
    assert distances.n_placeholder_pairs(kind) == n_pairs


@pytest.mark.parametrize("languages", [[], ["de", "de"]])
def test_no_or_repeated_languages_are_refused(languages):
    with pytest.raises(XlingValueError, match="one or more languages, each once"):
        compute_distances("genetic", languages)


def test_unknown_kinds_and_sources_name_what_exists():
    with pytest.raises(XlingValueError, match="kind 'gentic'; did you mean 'genetic'"):
        compute_distances("gentic", ["de", "en"])
    with pytest.raises(XlingValueError, match="repaired, individual, average, knn, paper"):
        compute_distances("genetic", ["de", "en"], source="fixed")
    with pytest.raises(XlingValueError, match="unknown distance kind"):
        compute_distances([], ["de", "en"])


@quiet
@pytest.mark.parametrize(
    ("source", "expected"),  # genetic, geographic, syntactic, inventory, phonological, featural
    [
        ("paper", [-0.363, -0.456, -0.664, -0.019, -0.367, -0.492]),
        ("repaired", [-0.363, -0.547, -0.843, 0.286, 0.174, -0.609]),
        ("individual", [-0.363, -0.589, -0.812, 0.339, 0.184, -0.519]),
    ],
)
def test_correlations_with_published_accuracies_come_out(source, expected):
    # Zero-shot accuracies of mBERT fine-tuned on English, Wu & Dredze 2019 (arXiv:1904.09077).
    accuracy = pd.Series(
        [73.8, 74.3, 71.1, 66.4, 68.9, 69.0, 61.6, 64.9, 69.5, 55.8, 69.3, 60.0, 50.4, 58.0],
        index=["fr", "es", "de", "el", "bg", "ru", "tr", "ar", "vi", "th", "zh", "hi", "sw", "ur"],
    )
    values = compute_distances(KINDS, ["en", *accuracy.index], source).values
    found = [values[kind].loc["en"].corr(accuracy) for kind in KINDS]  # leaves Urdu's missing phonology out
    assert np.round(found, 3).tolist() == expected
