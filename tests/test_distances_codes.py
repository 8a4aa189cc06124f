"""Language codes: macrolanguages, labels of public data, and what is refused."""

import pytest

from xling.distances import (
    KINDS,
    CodeWarning,
    MacrolanguageWarning,
    codes,
    compute_distances,
    language_facts,
    tags,
    uriel,
)
from xling.errors import XlingValueError


@pytest.mark.parametrize("source", ["repaired", "paper"])
@pytest.mark.filterwarnings("ignore::xling.distances.PlaceholderWarning")
def test_a_macrolanguage_is_warned_of_with_its_individual_codes(source):
    with pytest.warns(MacrolanguageWarning, match=r"ar -> arb, for typology arz, zho -> cmn\)"):
        compute_distances("genetic", ["ar", "zho", "de"], source)


def test_the_individual_languages_used_are_logged(caplog):
    caplog.set_level("INFO", logger="xling.distances")
    compute_distances("genetic", ["ar", "de"], "individual")
    assert "ar -> arb, for typology arz" in caplog.text


@pytest.mark.parametrize("source", ["repaired", "individual"])
def test_without_macrolanguages_nothing_warns(source):
    compute_distances(KINDS, ["arb", "cmn", "de"], source)  # a warning would be an error here


def test_individual_languages_stand_in_only_where_they_have_data():
    assert codes.individual_of("zho") == ("cmn", "cmn")
    assert codes.individual_of("swa") == ("swh", "swh")
    assert codes.individual_of("lav").typology == "lav"  # URIEL has nothing on lvs and ltg
    assert all(codes.n_family_nodes(codes.individual_of(m).language) for m in ("lav", "nor", "hbs", "que", "fas"))


def test_an_unknown_language_names_close_matches():
    with pytest.raises(XlingValueError, match=r"7,970 languages, got 'swhh'; did you mean 'swh'"):
        compute_distances("genetic", ["de", "swhh"])


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


def test_labels_that_are_no_plain_codes_are_read_with_a_warning():
    with pytest.warns(CodeWarning, match=r"read down to their language: zho_Hans as zho \(script Hans\), pt-BR as pt"):
        compute_distances("genetic", ["cmn", "zho_Hans", "pt-BR"], "individual")
    with pytest.warns(CodeWarning) as caught:
        found = compute_distances("genetic", ["cmn_Hans", "cmn_Hant", "de"])
    assert any("cmn_Hans and cmn_Hant are one language to URIEL" in str(warning.message) for warning in caught)
    assert found.values["genetic"].loc["cmn_Hans", "cmn_Hant"] == 0
    with pytest.warns(CodeWarning, match="in WikiANN it is Alemannic: call that gsw"):
        compute_distances("genetic", ["als", "de"])


@pytest.mark.filterwarnings("ignore::xling.distances.DistanceWarning")
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
