"""Distances from URIEL: the reference tables come out, missing stays missing, and a user is told what is wrong."""

import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xling.distances import (
    KINDS,
    CodeWarning,
    MacrolanguageWarning,
    PlaceholderWarning,
    codes,
    compute_distances,
    distance_table,
    formulas,
    language_facts,
    tags,
    uriel,
)
from xling.distances.matrices import compute_matrix
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError

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


def test_places_match_known_coordinates():
    known = {
        "eng": (53, -1),
        "deu": (48.65, 12.47),
        "cmn": (40.02, 116.23),
        "swh": (-8.26, 37.62),
        "arb": (27.96, 43.85),
    }
    table = uriel.geography()
    x, y, z = formulas.locate(table.angles[[table.rows[code] for code in known]]).T
    found = np.degrees(np.stack([np.arcsin(z), np.arctan2(y, x)], axis=1))
    np.testing.assert_allclose(found, list(known.values()), atol=0.006)


def test_locate_inverts_great_circle_angles():
    places = np.random.default_rng(0).normal(size=(20, 3))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    angles = np.arccos(np.clip(places @ formulas.lattice_points().T, -1, 1)) / np.pi
    np.testing.assert_allclose(formulas.locate(angles), places, atol=1e-12)
    np.testing.assert_allclose(formulas.locate(angles.round(4)), places, atol=5e-5)


def test_a_place_is_at_distance_zero_from_itself_and_one_from_its_antipode_whatever_rounding_does():
    places = np.random.default_rng(0).normal(size=(50, 3))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    products = places @ places.T
    assert np.diag(products).max() > 1
    distances = formulas.great_circle_distance(np.concatenate([places, -places]))
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-7)
    np.testing.assert_allclose(np.diag(distances[:50, 50:]), 1, atol=1e-7)


def test_lattice_points_are_those_that_uriel_names():
    with np.load(io.BytesIO(uriel.read_lang2vec_file("geocoord_features.npz"))) as arrays:
        named = np.array([name.split("_")[1:] for name in map(str, arrays["feats"])], dtype=float)
    x, y, z = formulas.lattice_points().T
    assert np.abs(np.degrees(np.arcsin(z)) - named[:, 0]).max() < 1
    turn = np.abs(np.degrees(np.arctan2(y, x)) - named[:, 1])
    assert np.minimum(turn, 360 - turn)[:-1].max() < 1  # the last point is the pole, where longitude means nothing


def test_angular_distance_agrees_with_pairwise_arithmetic():
    vectors = np.random.default_rng(1).integers(0, 2, size=(6, 40))
    for i, j in itertools.product(range(6), repeat=2):
        cosine = sum(vectors[i] * vectors[j]) / (sum(vectors[i] ** 2) * sum(vectors[j] ** 2)) ** 0.5
        assert formulas.angular_distance(vectors)[i, j] == pytest.approx(
            np.arccos(min(cosine, 1)) * 2 / np.pi, abs=1e-12
        )


def test_angular_distance_ignores_scale_and_column_order_but_not_content():
    vectors = np.random.default_rng(2).random((4, 9))
    distances = formulas.angular_distance(vectors)
    np.testing.assert_allclose(formulas.angular_distance(vectors[:, ::-1] * [[1], [2], [3], [4]]), distances, atol=1e-7)
    assert np.abs(formulas.angular_distance(vectors**2) - distances).max() > 0.01


@pytest.mark.parametrize(
    "compute", [formulas.angular_distance, lambda vectors: formulas.shared_angular_distance(vectors)[0]]
)
def test_a_cosine_that_rounding_lifts_above_one_is_an_angle_of_zero(compute):
    one_way = np.random.default_rng(0).random((50, 5))
    vectors = np.concatenate([one_way, 3 * one_way])
    norms = np.sqrt((vectors**2).sum(axis=1))
    assert (vectors @ vectors.T / np.outer(norms, norms)).max() > 1
    distances = compute(vectors)
    assert np.isfinite(distances).all()
    np.testing.assert_allclose(np.diag(distances[:50, 50:]), 0, atol=1e-7)


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


@pytest.mark.parametrize("source", ["repaired", "paper"])
@pytest.mark.filterwarnings("ignore::xling.distances.PlaceholderWarning")
def test_a_macrolanguage_is_warned_of_with_its_individual_codes(source):
    with pytest.warns(MacrolanguageWarning, match=r"ar -> arb, for typology arz, zho -> cmn\)"):
        compute_distances("genetic", ["ar", "zho", "de"], source)


def test_the_individual_languages_used_are_logged(caplog):
    caplog.set_level("INFO", logger="xling.distances")
    compute_distances("genetic", ["ar", "de"], "individual")
    assert "ar -> arb, for typology arz" in caplog.text


def test_lang2vecs_own_code_is_never_imported():
    compute_distances(KINDS, ["de", "en"])
    assert "lang2vec.lang2vec" not in sys.modules


@pytest.mark.parametrize("source", ["repaired", "individual"])
def test_no_warning_without_macrolanguages(source):
    compute_distances(KINDS, ["arb", "cmn", "de"], source)  # a warning would be an error here


def test_individual_languages_stand_in_only_where_they_have_data():
    assert codes.individual_of("zho") == ("cmn", "cmn")
    assert codes.individual_of("swa") == ("swh", "swh")
    assert codes.individual_of("lav").typology == "lav"  # URIEL has nothing on lvs and ltg
    assert all(codes.n_family_nodes(codes.individual_of(m).language) for m in ("lav", "nor", "hbs", "que", "fas"))


def test_an_unknown_language_names_close_matches():
    with pytest.raises(XlingValueError, match=r"7,970 languages, got 'swhh'; did you mean 'swh'"):
        compute_distances("genetic", ["de", "swhh"])


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


@pytest.fixture
def lang2vec_at(monkeypatch, tmp_path):
    """An installation of lang2vec whose files lie in the test's folder."""

    class Installed:
        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(uriel.importlib.metadata, "distribution", lambda name: Installed())
    return tmp_path / "lang2vec" / "data"


def test_a_missing_or_broken_feature_file_says_how_to_get_it(lang2vec_at):
    with pytest.raises(MissingFileError, match=r"expected .*features\.npz.*pip install .*lang2vec==1\.1\.2"):
        uriel.typology.__wrapped__()
    lang2vec_at.mkdir(parents=True)
    (lang2vec_at / "features.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(CorruptArtefactError, match="force-reinstall"):
        uriel.typology.__wrapped__()


def test_lang2vec_not_installed_is_said_as_that(monkeypatch):
    def not_found(name):
        raise uriel.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(uriel.importlib.metadata, "distribution", not_found)
    with pytest.raises(MissingFileError, match="expected the installed package lang2vec, found none"):
        uriel.typology.__wrapped__()


def test_other_failures_are_not_reported_as_a_missing_file(lang2vec_at, monkeypatch):
    lang2vec_at.mkdir(parents=True)
    (lang2vec_at / "features.npz").write_bytes(b"")

    def refuse(path):
        raise PermissionError(path)

    monkeypatch.setattr(uriel.Path, "read_bytes", refuse)
    with pytest.raises(PermissionError):
        uriel.typology.__wrapped__()


def test_a_script_named_like_the_package_first_on_the_path_hides_no_file(tmp_path):
    (tmp_path / "lang2vec.py").write_text("raise SystemExit('the script was imported')\n")
    code = "from xling.distances.uriel import read_lang2vec_file as read; print(len(read('features.npz')) > 1000)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "True", done.stderr


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


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("zho_Hans", "zho"),
        ("pt-BR", "por"),
        ("sr-Latn-RS", "srp"),
        ("arb_Arab", "arb"),
        ("iw", "heb"),
        ("in", "ind"),
        ("ji", "yid"),
        ("stan1293", "eng"),
        ("DE", "deu"),
    ],
)
def test_codes_of_public_data_are_read(label, code):
    assert codes.resolve_code(label) == code


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("und", "undetermined"),
        ("mul", "multiple languages"),
        ("mis", "languages without a code"),
        ("zxx", "no linguistic content"),
        ("nah", r"collective code; name the language that it is \(nhn, nhe, nhw"),
        ("oto", r"collective code.*\(ote, otl, otm"),
        ("sla", "collective code; name the language that it is$"),
        ("abcd1234", "Glottocode, or tag"),
    ],
)
def test_what_is_no_single_language_is_refused(label, message):
    with pytest.raises(XlingValueError, match=message):
        compute_distances("genetic", ["en", label])


def test_members_of_collective_codes_are_languages_of_uriel():
    found = [member for members in tags.collective_codes().values() for member in members]
    assert len(found) > 30
    assert [member for member in found if member not in uriel.typology().rows] == []
    assert set(tags.glottocodes().values()) <= set(uriel.typology().rows)


def test_readings_are_told():
    with pytest.warns(CodeWarning, match=r"read down to their language: zho_Hans as zho \(script Hans\), pt-BR as pt"):
        compute_distances("genetic", ["cmn", "zho_Hans", "pt-BR"], "individual")
    with pytest.warns(CodeWarning) as caught:
        found = compute_distances("genetic", ["cmn_Hans", "cmn_Hant", "de"])
    assert any("cmn_Hans and cmn_Hant are one language to URIEL" in str(warning.message) for warning in caught)
    assert found.values["genetic"].loc["cmn_Hans", "cmn_Hant"] == 0
    with pytest.warns(CodeWarning, match="in WikiANN it is Alemannic: call that gsw"):
        compute_distances("genetic", ["als", "de"])


@quiet
@pytest.mark.parametrize(
    ("macrolanguage", "own"), [("ms", "id"), ("ar", "arz"), ("az", "azb"), ("om", "hae"), ("ps", "pst"), ("qu", "qvi")]
)
@pytest.mark.parametrize("kind", ["syntactic", "featural"])
def test_two_languages_of_a_study_are_never_merged(macrolanguage, own, kind):
    alone = codes.individuals_of([codes.resolve_code(macrolanguage)])[0]
    assert codes.resolve_code(own) in alone  # by itself the macrolanguage would take this very language
    distance = compute_distances(kind, [macrolanguage, own, "de"], "individual").values[kind].loc[macrolanguage, own]
    assert distance != 0  # NaN where no other member is described
    both = codes.individuals_of([codes.resolve_code(macrolanguage), codes.resolve_code(own)])
    assert not set(both[0]) & set(both[1])


def test_the_script_of_a_tag_goes_before_the_likely_one():
    facts = language_facts(["sr", "sr-Latn", "zho_Hant"])
    assert facts["script"].tolist() == ["Cyrl", "Latn", "Hani"]
