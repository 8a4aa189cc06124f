"""Sets of examples: limits, checks and fingerprints."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from made_up_examples import LABELS, QUESTIONS, TASK, WORDS, make_examples, make_questions, make_words

from xling.data.examples import examples_fingerprint, limit_examples
from xling.errors import XlingValueError
from xling.storage.hashing import rows_fingerprint


def test_limit_keeps_whole_premises_of_every_label():
    limited = limit_examples(make_examples(30), 10, seed=0)
    assert len(limited) == 9
    assert limited["label"].value_counts().to_dict() == dict.fromkeys(LABELS, 3)
    assert limited.groupby("group_id").size().eq(3).all()


def test_limit_chooses_the_same_rows_in_every_language_and_grows():
    english, german = (limit_examples(make_examples(60, language), 21, seed=1) for language in ("en", "de"))
    assert set(english["example_id"]) == set(german["example_id"])
    assert set(english["example_id"]) < set(limit_examples(make_examples(60), 30, seed=1)["example_id"])
    assert set(english["example_id"]) != set(limit_examples(make_examples(60), 21, seed=2)["example_id"])


def test_limit_below_one_premise_is_refused():
    with pytest.raises(XlingValueError, match="not even one group"):
        limit_examples(make_examples(), 2, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="label"), "found no label"),
        (lambda f: f.iloc[:0], "at least one example"),
        (lambda f: f.assign(label="maybe"), "unknown label 'maybe'"),
        (lambda f: f.assign(example_id=7), "occurs twice"),
    ],
)
def test_unusable_examples_are_refused(change, message):
    with pytest.raises(XlingValueError, match=message):
        TASK.check(change(make_examples()), "somewhere")


def test_fingerprint_sees_order_and_text():
    def fingerprint(frame):
        return examples_fingerprint(frame, TASK.columns(frame))

    frame = make_examples()
    assert fingerprint(frame) == fingerprint(frame.copy())
    assert fingerprint(frame) != fingerprint(frame.iloc[::-1])
    assert fingerprint(frame) != fingerprint(frame.assign(text="other"))


def rows_one_by_one(*columns):
    """The fingerprint as it was first computed: caches and recorded runs have it."""
    digest = hashlib.sha256()
    for row in zip(*columns, strict=True):
        digest.update(json.dumps([str(value) for value in row], ensure_ascii=False).encode())
    return digest.hexdigest()


@pytest.mark.parametrize("n_at_once", [1, 3, 10_000])
def test_fingerprints_are_what_they_were(monkeypatch, n_at_once):
    monkeypatch.setattr("xling.storage.hashing._ROWS_AT_ONCE", n_at_once)
    odd = ['"', "\\", "a\nb\tc", "\x00\x7f", "день", "\u2028", "😀", "", "], [", " "]
    columns = [
        range(10),
        odd,
        [None, True, 1.5, np.int64(3), float("nan"), [1, "a"], ("b",), {"c": 1}, np.arange(3), pd.NA],
    ]
    assert rows_fingerprint(*columns) == rows_one_by_one(*columns)
    assert rows_fingerprint([], []) == rows_one_by_one([], [])
    assert rows_fingerprint([1, 2, 3, 4], "abcd") != rows_fingerprint([1, 2, 3, 4], "abdc")


@pytest.mark.parametrize("n", [(3, 2), (2, 3)])
def test_columns_of_unequal_length_have_no_fingerprint(n):
    with pytest.raises(ValueError, match="zip"):
        rows_fingerprint(*map(range, n))


@pytest.mark.parametrize(
    ("task", "frame"), [(TASK, make_examples(7)), (WORDS, make_words(7)), (QUESTIONS, make_questions(7))]
)
def test_fingerprints_of_examples_are_what_they_were(task, frame):
    columns = ["example_id", "group_id", *task.columns(frame)]
    assert examples_fingerprint(frame, task.columns(frame)) == rows_one_by_one(*(frame[name] for name in columns))
