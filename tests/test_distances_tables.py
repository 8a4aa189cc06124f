"""Users' tables, controls, and distances measured on the base model."""

import numpy as np
import pandas as pd
import pytest

from xling.distances import (
    compute_distances,
    controls_table,
    language_facts,
    load_distances,
    load_pretraining_sizes,
    representation_distance,
    representation_distances,
    vocabulary_overlap_distances,
)
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError

SQUARE = ",deu,eng,nan\ndeu,0,0.5,\neng,0.4,0,1\nnan,2,1,0\n"
LONG = "source_language,target_language,social,trade,social_coverage\nde,en,0.5,1,12\nde,sw,0.25,,9\nen,sw,1,3,4\n"


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="social.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def test_a_square_matrix_is_read_in_the_order_asked_for(write):
    distances = load_distances(write(SQUARE), ["en", "de", "nan"])
    assert distances.kinds == ("social",)
    np.testing.assert_array_equal(distances.values["social"], [[0, 0.4, 1], [0.5, 0, np.nan], [1, 2, 0]])
    assert list(distances.values["social"].index) == ["en", "de", "nan"]
    assert distances.coverage["social"].isna().all(axis=None)


def test_a_long_table_with_one_direction_serves_both(write):
    distances = load_distances(write(LONG), ["de", "en", "swa"])
    assert distances.kinds == ("social", "trade")
    np.testing.assert_array_equal(distances.values["social"], [[0, 0.5, 0.25], [0.5, 0, 1], [0.25, 1, 0]])
    np.testing.assert_array_equal(distances.values["trade"], [[0, 1, np.nan], [1, 0, 3], [np.nan, 3, 0]])
    assert distances.coverage["social"].loc["en", "de"] == 12


def test_a_long_table_with_both_directions_stays_directed(write):
    text = "source_language,target_language,social\nde,en,1\nen,de,2\nde,sw,3\n"
    values = load_distances(write(text), ["de", "en", "sw"]).values["social"]
    np.testing.assert_array_equal(values, [[0, 1, 3], [2, 0, np.nan], [np.nan, np.nan, 0]])


def test_kinds_can_be_chosen_and_named(write):
    assert load_distances(write(LONG), ["de", "en"], ["trade"]).kinds == ("trade",)
    assert load_distances(write(SQUARE), ["de", "en"], "mine").kinds == ("mine",)


def test_a_written_table_reads_back(write):
    table = load_distances(write(LONG), ["de", "en", "sw"]).to_table()
    again = load_distances(write(table.to_csv(index=False), "again.csv"), ["de", "en", "sw"]).to_table()
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SQUARE.replace("eng,0.4", "fra,0.4"), "expected .* to be a square matrix with the same languages"),
        (SQUARE.replace("0.5", "near"), "expected numbers in .*, got 'near'"),
        (SQUARE.replace("0.5", "-1"), "finite distances of at least 0 as 'social'"),
        (SQUARE.replace("deu,0,", "deu,1,"), "distance 0 of a language to itself .* is it a similarity"),
        (SQUARE.replace("nan", "fra"), "expected distances for 'nan' in .*, which has deu, eng, fra"),
        (LONG + "de,en,1,1,1\n", "each pair of languages once in .*, got de en again"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(text, message, write):
    with pytest.raises(XlingValueError, match=message):
        load_distances(write(text), ["de", "en", "nan"])


def test_unknown_columns_and_several_kinds_of_a_square_are_refused(write):
    with pytest.raises(XlingValueError, match=r"expected a column 'tade' in .*; did you mean 'trade'"):
        load_distances(write(LONG), ["de", "en"], ["tade"])
    with pytest.raises(XlingValueError, match="one kind for the square matrix"):
        load_distances(write(SQUARE), ["de", "en"], ["a", "b"])


def test_files_that_are_missing_or_no_csv_are_refused(write, tmp_path):
    with pytest.raises(MissingFileError, match="there is none; check the path"):
        load_distances(tmp_path / "absent.csv", ["de", "en"])
    with pytest.raises(CorruptArtefactError, match="cannot be read as UTF-8 CSV"):
        load_distances(write(""), ["de", "en"])


def test_pretraining_sizes_are_read_by_any_code(write):
    path = write("language,size\ndeu,100\nen,1e3\n")
    assert load_pretraining_sizes(path, ["de", "en", "sw"]) == {"de": 100.0, "en": 1000.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,size\nde,1\n", "columns language and size"),
        ("language,size\nde,0\n", "positive size"),
        ("language,size\nde,big\n", "positive size"),
        ("language,size\nde,1\ndeu,2\n", "each language once"),
    ],
)
def test_pretraining_sizes_that_do_not_fit_are_refused(text, message, write):
    with pytest.raises(XlingValueError, match=message):
        load_pretraining_sizes(write(text), ["de"])


def test_scripts_and_families_of_the_fifteen_languages_are_known():
    facts = language_facts(["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"])
    assert " ".join(facts.script) == "Arab Cyrl Latn Grek Latn Latn Latn Deva Cyrl Latn Thai Latn Arab Latn Hani"
    assert facts.index[facts.is_indo_european == 1].tolist() == ["bg", "de", "el", "en", "es", "fr", "hi", "ru", "ur"]
    assert facts.family[["ar", "sw", "th", "tr", "vi", "zh"]].tolist() == [
        *("Afro-Asiatic", "Atlantic-Congo", "Tai-Kadai", "Turkic", "Austroasiatic", "Sino-Tibetan")
    ]


def test_facts_reach_beyond_the_fifteen_and_missing_stays_missing():
    facts = language_facts(["cmn", "yue", "ka", "bsk", "swh", "arb"])
    assert facts.script.tolist()[:3] == ["Hani", "Hani", "Geor"]
    assert facts.loc["bsk", ["family", "is_indo_european", "pretraining_size"]].isna().all()
    assert (facts.script["swh"], facts.script["arb"]) == ("Latn", "Arab")


def test_controls_are_numeric_for_every_ordered_pair():
    table = controls_table(["ur", "hi", "ar", "bsk"], {"ur": 10, "hi": 1000})
    assert len(table) == 16
    cell = table.set_index(["source_language", "target_language"]).loc
    assert cell[("ur", "hi")].tolist() == [0, 1, 1, 1, 3]
    assert cell[("ur", "ar")].tolist()[:3] == [1, 0, 0]
    assert np.isnan(cell[("ur", "ar")].target_log_pretraining_size)
    assert np.isnan(cell[("ur", "bsk")].same_family)
    assert (table.dtypes[2:] == np.float64).all()


def test_controls_take_a_file_of_sizes_or_none(write):
    path = write("language,size\nde,100\nen,10\n")
    assert controls_table(["de", "en"], path).source_log_pretraining_size.tolist() == [2, 2, 1, 1]
    assert not [column for column in controls_table(["de", "en"]) if "size" in column]


def test_vocabulary_overlap_agrees_with_sets():
    counts = {c: np.random.default_rng(i).poisson(0.7, 50) for i, c in enumerate(["de", "en", "th"])}
    sets = {c: set(np.flatnonzero(v)) for c, v in counts.items()}
    types = vocabulary_overlap_distances(counts).values["vocabulary_overlap"]
    tokens = vocabulary_overlap_distances(counts, "tokens").values["vocabulary_overlap"]
    for a in counts:
        for b in counts:
            assert types.loc[a, b] == pytest.approx(1 - len(sets[a] & sets[b]) / len(sets[a] | sets[b]))
            words = np.repeat(np.arange(50), counts[b])
            assert tokens.loc[a, b] == pytest.approx(np.mean([w not in sets[a] for w in words]))


def test_vocabulary_overlap_counts_tokens_as_coverage_and_refuses_what_it_cannot_compare():
    counts = {"de": np.array([3, 1]), "en": np.array([1, 0])}
    assert vocabulary_overlap_distances(counts).coverage["vocabulary_overlap"].loc["de", "en"] == 1
    with pytest.raises(XlingValueError, match="of one shape for all languages"):
        vocabulary_overlap_distances(counts | {"th": np.array([1, 2, 3])})
    with pytest.raises(XlingValueError, match="non-negative token counts, not all 0"):
        vocabulary_overlap_distances(counts | {"th": np.array([0, 0])})
    with pytest.raises(XlingValueError, match="unknown weighting"):
        vocabulary_overlap_distances(counts, "word")


def test_cosine_distance_ignores_length_and_rotation_but_not_translation():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, 30, 8))
    distance = representation_distance(first, second)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert representation_distance(3 * first @ rotation, second @ rotation) == pytest.approx(distance)
    assert representation_distance(first + 1, second + 1) < distance - 0.1
    assert representation_distance(first, first) == pytest.approx(0, abs=1e-12)
    assert np.isnan(representation_distance(np.zeros((30, 8)), second))


def test_cka_distance_is_0_for_rotated_and_about_1_for_unrelated_representations():
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 200, 8))
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert representation_distance(first, first @ rotation, "cka") == pytest.approx(0, abs=1e-9)
    assert representation_distance(first, second, "cka") == pytest.approx(1, abs=0.05)


def test_representation_distances_take_one_layer_or_the_mean_above_the_embeddings():
    rng = np.random.default_rng(5)
    held = {c: rng.normal(size=(3, 10, 4)).astype(np.float16) for c in ("de", "en", "th")}
    ids = dict.fromkeys(held, "abcdefghij")
    each = [representation_distances(held, ids, layer=k).values["representation"] for k in range(3)]
    mean = representation_distances(held, ids)
    np.testing.assert_allclose(mean.values["representation"], (each[1] + each[2]) / 2)
    assert each[0].loc["de", "th"] == pytest.approx(representation_distance(held["de"][0], held["th"][0]))
    assert (mean.coverage["representation"] == 10).all(axis=None)


def test_representations_that_do_not_match_are_refused():
    held = {c: np.ones((3, 2, 4)) for c in ("de", "en")}
    ids = {"de": ["1", "2"], "en": ["1", "2"]}
    with pytest.raises(XlingValueError, match=r"same probe ids in the same order .* 'en' differ from those of 'de'"):
        representation_distances(held, ids | {"en": ["2", "1"]})
    with pytest.raises(XlingValueError, match=r"expected a layer in 0\.\.2, got 3"):
        representation_distances(held, ids, layer=3)
    with pytest.raises(XlingValueError, match="unknown measure"):
        representation_distances(held, ids, measure="cosin")
    with pytest.raises(XlingValueError, match=r"\[n_layers \+ 1, n_examples, hidden\]"):
        representation_distances({c: np.ones((2, 4)) for c in held}, ids)


def test_thin_typological_distances_are_left_out_and_counted(write):
    distances = load_distances(write(LONG), ["de", "en", "sw"])
    kept, sentences = distances.require_coverage(9)
    assert np.isnan(kept.values["social"].loc["en", "sw"])
    assert kept.values["social"].loc["de", "sw"] == 0.25
    assert kept.values["trade"].equals(distances.values["trade"])  # its coverage is not known
    assert sentences == [
        "The social distance of 1 pairs of languages rests on fewer than 9 features and is left out (min_coverage)."
    ]
    assert distances.require_coverage(0)[1] == []


def test_distances_that_rest_on_no_features_are_not_thinned():
    distances = compute_distances(("genetic", "geographic", "syntactic"), ["en", "ur", "th"])
    kept, _ = distances.require_coverage(10_000)
    assert kept.values["genetic"].equals(distances.values["genetic"])
    assert kept.values["geographic"].equals(distances.values["geographic"])
    assert np.isnan(kept.values["syntactic"].to_numpy()[np.triu_indices(3, 1)]).all()
    assert (np.diag(kept.values["syntactic"]) == 0).all()


@pytest.mark.parametrize("n", [-1, 1.5, True, "many"])
def test_a_wrong_threshold_is_refused(write, n):
    with pytest.raises(XlingValueError, match="whole number of features"):
        load_distances(write(LONG), ["de", "en"]).require_coverage(n)
