"""Files of words with their tags as people have them: comments, headers, treebanks, tag schemes."""

import random

import pytest
from written_files import conllu, write

from xling.data.examples import numbered, without_unlabelled
from xling.data.sources.word_files import ConlluReader, TagReader
from xling.errors import XlingValueError
from xling.tasks import TokenClassification
from xling.tasks.entities import entities


def test_a_language_before_words_is_taken_off_word_by_word(tmp_path):
    path = write(tmp_path / "a.tsv", "en:Karl\tB-PER\nGroß\tI-PER\nen:en:\tO\nen::\tO\n\nen:b\tO\n")
    assert TagReader()(path, "en")["words"].tolist() == [["Karl", "Groß", "en:", ":"], ["b"]]
    path = write(tmp_path / "b.tsv", "zh:a\tO\nzh:b\tO\n")
    assert TagReader()(path, "zho_Hans")["words"].tolist() == [["a", "b"]]
    path = write(tmp_path / "c.tsv", "see\tO\nhttp://x\tO\nen:b\tO\n")
    assert TagReader()(path, "en")["words"].tolist() == [["see", "http://x", "en:b"]]


def test_comments_of_tag_files_are_no_words_and_hashes_are(tmp_path):
    path = write(tmp_path / "a.txt", "# id 1\tdomain=en\nKarl _ _ B-PER\n# _ _ O\n\n# id 2\n# _ _ O\nEva _ _ B-PER\n")
    assert TagReader()(path, "en")["words"].tolist() == [["Karl", "#"], ["#", "Eva"]]
    path = write(tmp_path / "b.tsv", "# newdoc\nKarl B-PER\n\n#\tO\n#tag\tO\n")
    assert TagReader()(path, "en")["words"].tolist() == [["Karl"], ["#", "#tag"]]


@pytest.mark.parametrize("blank", ["", "\n"])
def test_a_docstart_ends_a_sentence_and_takes_none_with_it(tmp_path, blank):
    path = write(
        tmp_path / "a.txt",
        f"-DOCSTART- -X- O O\n{blank}EU NNP B O\nends VB I O\n{blank}-DOCSTART- -X- O O\n{blank}New JJ O O\n",
    )
    assert TagReader()(path, "en")["words"].tolist() == [["EU", "ends"], ["New"]]


@pytest.mark.parametrize("header", ["word\ttag", "token\tner_tags", "Tokens\tTags"])
def test_a_header_of_a_tag_file_is_no_word(tmp_path, header):
    path = write(tmp_path / "a.tsv", f"{header}\nKarl\tB-PER\n")
    with pytest.raises(XlingValueError, match="a.tsv, line 1: expected a word and its tag, found a header"):
        TagReader()(path, "en")


def test_a_treebank_without_its_words_is_refused_and_a_real_underscore_is_not(tmp_path):
    with pytest.raises(XlingValueError, match="found _ for 3 of 3; this treebank is published without its text"):
        ConlluReader()(write(tmp_path / "a.conllu", conllu("_", "_", "_")), "en")
    assert ConlluReader()(write(tmp_path / "b.conllu", conllu("a", "_", "c")), "en")["words"].tolist() == [
        ["a", "_", "c"]
    ]


def test_a_tag_that_is_not_given_is_missing(tmp_path):
    frame = numbered(ConlluReader()(write(tmp_path / "a.conllu", conllu("a", tag="_") + conllu("b")), "en"), "", "a")
    with pytest.raises(XlingValueError, match="expected a tag .*, found none for 1 of 2, the first of them a, line 1"):
        TokenClassification(["NOUN", "VERB"]).check(frame, "x")
    assert len(without_unlabelled(frame, TokenClassification(["NOUN", "VERB"]), "x")) == 1


def seqeval_entities(tags):
    """seqeval's get_entities (default mode), written anew from its rules for the end and the beginning of a chunk."""
    found, previous, kind, start = set(), "O", "", 0
    for index, tag in enumerate([*tags, "O"]):
        mark, new = tag[0], tag.partition("-")[2]
        ends = (previous in "ES") or (previous in "BI" and mark in "BSO") or (previous != "O" and kind != new)
        begins = (mark in "BS") or (previous in "ESO" and mark in "EI") or (mark != "O" and kind != new)
        if ends and previous != "O":
            found.add((kind, start, index))
        if begins:
            start = index
        previous, kind = mark, new
    return found


def test_entities_of_bioes_are_those_of_seqeval():
    draw = random.Random(0)
    for marks in ("BIO", "BIESO"):
        for _ in range(2000):
            tags = [
                m if (m := draw.choice(marks)) == "O" else f"{m}-{draw.choice('XY')}" for _ in range(draw.randint(1, 8))
            ]
            assert entities(tags) == seqeval_entities(tags), tags
    assert entities(["B-X", "L-X", "U-X"]) == entities(["B-X", "E-X", "S-X"])
