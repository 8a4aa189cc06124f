"""Labels as people have them in files, hubs and settings: which are classes, which are missing, which stop the run."""

import json

import pandas as pd
import pytest
from written_files import PLAIN, write

from xling.data.examples import numbered, without_unlabelled
from xling.data.sources import hub_sets
from xling.data.sources.hub_sets import HubSource
from xling.data.sources.squad_files import SquadReader
from xling.errors import XlingValueError
from xling.tasks import QuestionAnswering, SentenceClassification, TokenClassification
from xling.tasks.labels import given_labels, label_text


@pytest.mark.parametrize("value", [None, float("nan"), "", "  ", "-1", -1, "NaN", "nan", pd.NA])
def test_a_missing_label_is_no_class(value):
    frame = numbered(pd.DataFrame({"text": list("abcd"), "label": pd.Series(["x", "y", value, "x"], dtype=object)}))
    with pytest.raises(XlingValueError, match=r"here: expected a label .* none for 1 of 4, the first of them example 3; .*"
                                              r"data\.drop_unlabelled=true"):  # fmt: skip
        SentenceClassification().check(frame, "here")
    kept = without_unlabelled(frame, SentenceClassification(), "here")
    assert SentenceClassification().check(kept, "here")["label"].tolist() == ["x", "y", "x"]


def test_minus_one_is_a_class_where_the_labels_name_it():
    frame = numbered(pd.DataFrame({"text": list("abc"), "label": [-1, 0, 1]}))
    assert SentenceClassification([-1, 0, 1]).check(frame, "here")["label"].tolist() == ["-1", "0", "1"]


def test_a_split_without_any_label_is_refused():
    frame = numbered(pd.DataFrame({"text": list("abc"), "label": [-1] * 3}))
    with pytest.raises(XlingValueError, match="none for 3 of 3, .*choose a split that has them"):
        SentenceClassification(["a", "b"]).check(frame, "test.en")


@pytest.mark.parametrize(
    ("value", "text"), [("0 ", "0"), (1.0, "1"), (0.5, "0.5"), (True, "True"), (7, "7"), (" x", "x")]
)
def test_labels_are_texts_without_space_around_them(value, text):
    assert label_text(value) == text


@pytest.mark.parametrize("labels", [[0, 1], [True, False], ["a", "b"], (1.0, 2.0)])
def test_labels_of_settings_may_be_numbers_or_booleans(labels):
    assert all(isinstance(label, str) for label in SentenceClassification(labels).labels)
    assert all(isinstance(label, str) for label in TokenClassification(labels).labels)


@pytest.mark.parametrize("labels", [[None, 1], ["a"], ["1", 1], "ab", 3])
def test_unusable_labels_of_settings_are_named(labels):
    with pytest.raises(XlingValueError, match=r"expected data\.task\.labels to be"):
        given_labels(labels)


@pytest.mark.parametrize("index", [-1, None])
def test_a_class_number_of_the_hub_that_is_none_is_no_class(monkeypatch, index):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["n", "y"])})
    data = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, index]}, features=features)
    monkeypatch.setattr(hub_sets, "_hub_answers", lambda name: True)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: data)
    frame = HubSource("some/set", PLAIN, splits={"test": "test"})("en", "test")
    assert frame["label"].tolist()[0] == "y"
    with pytest.raises(XlingValueError, match=r"none for 1 of 2, the first of them some/set \(en, test\), row 2"):
        SentenceClassification(["n", "y"]).check(frame, "test.en")


def test_a_folder_is_not_a_set_of_the_hub(tmp_path):
    with pytest.raises(XlingValueError, match=r"found a folder of this machine.*data=text_files"):
        HubSource(str(tmp_path), PLAIN, splits={"test": "test"})("en", "test")


def test_what_a_hub_does_not_have_is_not_called_unreachable(monkeypatch):
    import datasets

    def refuse(*_, **__):
        raise ValueError("BuilderConfig 'xx' not found")

    monkeypatch.setattr(hub_sets, "_hub_answers", lambda name: True)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(XlingValueError, match="cannot load some/set .* from the hub: BuilderConfig 'xx' not found"):
        HubSource("some/set", PLAIN, splits={"test": "test"})("xx", "test")


@pytest.mark.parametrize("start", [None, "3", True, 1.5])
def test_answers_stand_at_a_number(tmp_path, start):
    qa = {"id": "q", "question": "Who?", "answers": [{"text": "Ana", "answer_start": start}]}
    path = write(tmp_path / "a.json", json.dumps({"data": [{"paragraphs": [{"context": "Ana", "qas": [qa]}]}]}))
    with pytest.raises(XlingValueError, match=r"paragraph 1 \(id 'q'\): expected answer_start to be the number"):
        SquadReader()(path, "en")


def test_questions_without_an_answer_are_left_out_and_counted(tmp_path, caplog):
    qas = [
        {"id": str(i), "question": "Who?", "answers": [{"text": "Ana", "answer_start": 0}][: i % 2]} for i in range(4)
    ]
    path = write(tmp_path / "a.json", json.dumps({"data": [{"paragraphs": [{"context": "Ana", "qas": qas}]}]}))
    frame, task = numbered(SquadReader()(path, "en"), "", path), QuestionAnswering()
    with pytest.raises(XlingValueError, match=r"an answer for every example, found none for 2 of 4.*drop_unlabelled"):
        task.check(frame, "dev.en")
    assert len(task.check(without_unlabelled(frame, task, "dev.en"), "dev.en")) == 2
    assert "2 of 4 examples have no label; they are left out" in caplog.text
