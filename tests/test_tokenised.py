"""Tokenised examples: cut, cached, and refused where the cache is damaged."""

import numpy as np
import pandas as pd
import pytest
from made_up_examples import QUESTIONS, TASK, WORDS, make_examples, make_questions, make_words

from xling.data.tokenised import load_tokenised
from xling.errors import CorruptArtefactError
from xling.models.tiny import tiny_tokenizer
from xling.tasks import SentenceClassification


@pytest.mark.parametrize(
    ("task", "frame"),
    [(TASK, make_examples(23)), (WORDS, make_words(23)), (QUESTIONS, make_questions(23))],
    ids=["sentences", "words", "questions"],
)
def test_examples_tokenised_in_pieces_are_those_tokenised_at_once(task, frame, tmp_path, monkeypatch):
    at_once = load_tokenised(frame, "dev.en", task, tiny_tokenizer(), 24, tmp_path / "at_once")
    expected = task.tokenise(frame, tiny_tokenizer(), 24)
    monkeypatch.setattr("xling.data.tokenised._PIECE", 4)
    pieces = load_tokenised(frame, "dev.en", task, tiny_tokenizer(), 24, tmp_path / "pieces")
    assert pieces.rows.features == at_once.rows.features
    assert pieces.fingerprint == at_once.fingerprint
    for name, column in expected.items():
        assert pieces.rows[:][name] == at_once.rows[:][name] == list(column), name


def test_columns_of_numbers_are_read_without_a_list(tmp_path, monkeypatch):
    monkeypatch.setattr("xling.data.tokenised._PIECE", 5)  # several chunks of memory
    examples = load_tokenised(make_examples(23), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)
    for name, column in (("length", "lengths"), ("example_id", "example_ids"), ("group_id", "group_ids")):
        found = getattr(examples, column)
        assert found.dtype == np.int64
        assert found.tolist() == examples.rows[:][name]


def test_tokenising_cuts_the_premise_first():
    tokenizer = tiny_tokenizer()
    frame = pd.DataFrame([(0, 0, "p" * 50, "hypo", "neutral")], columns=make_examples().columns)
    columns = TASK.tokenise(frame, tokenizer, max_length=20)
    assert columns["length"] == [20]
    assert tokenizer.decode(columns["input_ids"][0]).replace(" ", "").count("p") == 13 + 1  # 20 - 3 special - "hypo"
    assert tokenizer.decode(columns["input_ids"][0]).replace(" ", "").endswith("hypo[SEP]")


def test_tokenising_cuts_a_hypothesis_that_leaves_no_room():
    frame = pd.DataFrame([(0, 0, "p" * 50, "h" * 50, "neutral")], columns=make_examples().columns)
    assert TASK.tokenise(frame, tiny_tokenizer(), max_length=20)["length"] == [20]


@pytest.mark.parametrize(("pattern", "old", "new"), [
    ("facts.json", b'"pad_token_id": 0', b'"pad_token_id": 1'),
    ("rows/*.arrow", b"input_ids", b"input_idr"),
])  # fmt: skip
def test_tokenised_examples_that_have_changed_are_refused(tmp_path, pattern, old, new):
    load_tokenised(make_examples(), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)
    (path,) = (tmp_path / "tokenised").glob(f"*/{pattern}")
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(CorruptArtefactError, match=r"has changed since it was written\); delete .* and run again"):
        load_tokenised(make_examples(), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)


def test_tokenised_examples_are_made_once_and_read_again(tmp_path, monkeypatch):
    first = load_tokenised(make_examples(), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)
    monkeypatch.setattr(SentenceClassification, "tokenise", lambda *a: pytest.fail("tokenised twice"))
    second = load_tokenised(make_examples(), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)
    assert first.fingerprint == second.fingerprint
    assert second.example_ids.tolist() == make_examples()["example_id"].tolist()
    assert second[[0, 1]][1]["input_ids"] == first[1]["input_ids"]


def test_tokenised_examples_differ_by_text_and_length(tmp_path):
    keys = {
        load_tokenised(frame, "dev.en", TASK, tiny_tokenizer(), length, tmp_path).fingerprint
        for frame, length in ((make_examples(), 64), (make_examples(), 32), (make_examples(language="de"), 64))
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    "damage", [lambda text: text[:20], lambda text: text.replace("pad_token_id", "pad_tokeo_id"), lambda text: "{}"]
)
def test_a_damaged_token_cache_is_refused(tmp_path, damage):
    load_tokenised(make_examples(), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)
    facts = next(tmp_path.rglob("facts.json"))
    facts.write_text(damage(facts.read_text()))
    with pytest.raises(CorruptArtefactError, match=r"cannot be read .* delete .* and run again"):
        load_tokenised(make_examples(), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)
