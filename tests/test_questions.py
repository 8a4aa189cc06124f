"""Extractive question answering: files, windows, spans, the rules of exact match and F1."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from task_files import write_squad
from torchmetrics.functional.text import squad

from xling.data.examples import numbered
from xling.data.sources.squad_files import SquadReader
from xling.errors import XlingValueError
from xling.models.tiny import tiny_tokenizer
from xling.tasks import QuestionAnswering
from xling.tasks.answers import answer_f1, exact_match, normalised
from xling.tasks.question_module import AnswerScores, best_spans

TASK = QuestionAnswering()


def read(tmp_path, data):
    (tmp_path / "a.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return numbered(SquadReader()(tmp_path / "a.json", "en"))


def one_question(context="Ana has a red ball.", question="Who?", answers=({"text": "Ana", "answer_start": 0},)):
    qas = [{"id": "q1", "question": question, "answers": list(answers)}]
    return {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}


def test_squad_files_give_questions_grouped_by_paragraph(tmp_path):
    write_squad(tmp_path, ["en", "pl"])
    english, polish = (
        numbered(SquadReader()(tmp_path / f"xquad.{language}.json", language)) for language in ("en", "pl")
    )
    assert english["example_id"].tolist() == polish["example_id"].tolist()
    assert english.groupby("group_id").size().tolist() == [2] * 12
    TASK.check(polish, "probe.pl")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", r"a\.json: expected a JSON file in SQuAD's layout"),
        ({"data": [{"paragraphs": [{"context": "x"}]}]}, "found no 'qas'"),
        (
            one_question(answers=[{"text": "Ben", "answer_start": 0}]),
            "'Ben' to 'Who.' in article 1, paragraph 1 .id 'q1'. is not in its context at character 0, where 'Ana'",
        ),
        (one_question(answers=[{"text": "Ana", "answer_start": 99}]), "is not in its context at character 99"),
        (one_question(answers=[]), "expected an answer for every example, found none for 1 of 1"),
        ({"data": []}, "at least one example"),
    ],
)
def test_unusable_questions_are_named(tmp_path, data, message):
    with pytest.raises(XlingValueError, match=message):
        TASK.check(read(tmp_path, data), "dev.en")


def test_answers_may_come_as_the_hub_or_a_parquet_file_has_them(tmp_path):
    frame = read(tmp_path, one_question())
    plain = TASK.check(frame, "x")["answers"].tolist()
    assert plain == [[{"text": "Ana", "start": 0}]]
    for answers in (
        {"text": np.array(["Ana"]), "answer_start": np.array([0])},
        np.array([{"text": "Ana", "start": 0}]),
    ):
        other = frame.assign(answers=pd.Series([answers]))
        assert TASK.check(other, "x")["answers"].tolist() == plain


def test_a_pooler_is_refused():
    with pytest.raises(XlingValueError, match=r"set model\.pooler=false"):
        TASK.module(torch.nn.Identity(), pooling="cls", pooler=torch.nn.Identity())


@pytest.mark.parametrize("max_length", [32, 48, 400])
def test_the_answer_stands_where_the_tokens_say_and_windows_cover_the_context(tmp_path, max_length):
    context = "Große Bälle, " * 8 + "Ana hat den roten Ball. " + "Kleine Bälle, " * 8
    start = context.index("roten")
    frame = read(tmp_path, one_question(context, "Was?", [{"text": "roten Ball", "answer_start": start}]))
    columns = TASK.tokenise(TASK.check(frame, "x"), tiny_tokenizer(), max_length)
    assert max(columns["length"]) <= max_length
    assert len(set(columns["example_id"])) == len(columns["length"])
    found, covered = [], set()
    for starts, ends, first, last in zip(
        *(columns[n] for n in ("context_start", "context_end", "start", "end")), strict=True
    ):
        covered |= {i for s, e in zip(starts, ends, strict=True) if s >= 0 for i in range(s, e)}
        if first:
            found.append(context[starts[first] : ends[last]])
    assert covered == set(range(len(context)))
    assert found
    assert set(found) == {"roten Ball"}


def test_a_long_question_is_cut(tmp_path):
    frame = read(tmp_path, one_question(question="why " * 100))
    assert TASK.tokenise(frame, tiny_tokenizer(), 64)["length"][0] <= 64


def test_scores_follow_squad_in_english():
    texts = ["the red house", "a Red, house!", "house", "blue", "The", "in the U.S. army", "army of 1912"]
    for answer in texts:
        for true in ([texts[0]], ["red barn", "a house"], ["U.S. Army"]):
            expected = squad(
                {"prediction_text": answer, "id": "1"},
                {"answers": {"text": true, "answer_start": [0] * len(true)}, "id": "1"},
            )
            assert 100 * answer_f1(answer, true, "en") == pytest.approx(float(expected["f1"]), abs=1e-4), (answer, true)
            assert 100 * exact_match(answer, true, "en") == float(expected["exact_match"])


@pytest.mark.parametrize(
    ("answer", "true", "language", "expected"),
    [
        ("der rote Ball", "ein roter Ball", "de", 0.5),
        ("北京大学", "北京", "zh", 2 / 3),
        ("the ball", "ball", "pl", 2 / 3),  # no article is known of Polish, and "the" is a word like any other
        ("«Ana»", "Ana", "es", 1.0),
    ],
)
def test_normalisation_is_that_of_the_language(answer, true, language, expected):
    assert answer_f1(answer, [true], language) == pytest.approx(expected)


def test_arabic_articles_are_taken_off():
    assert normalised("البيت الكبير", "ar") == ["بيت", "كبير"]


def test_best_spans_are_those_of_a_search():
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.standard_normal((6, 9, 2)))
    is_context = torch.tensor(rng.random((6, 9)) < 0.7)
    is_context[:, 4] = True
    first, last, certainty = best_spans(logits, is_context, max_length=3)
    for row in range(6):
        spans = {
            (i, j): float(logits[row, i, 0] + logits[row, j, 1])
            for i in range(9)
            for j in range(i, min(i + 3, 9))
            if is_context[row, i] and is_context[row, j]
        }
        assert (int(first[row]), int(last[row])) == max(spans, key=spans.get)
        assert float(certainty[row]) == pytest.approx(max(spans.values()))


def test_a_question_is_answered_by_its_surest_window_in_whatever_batch():
    questions, certainty = torch.tensor([7, 3, 7, 3, 5]), torch.tensor([0.1, 9.0, 2.0, 1.0, 0.0])
    values = torch.tensor([[1.0, 1.0], [0.5, 0.0], [0.2, 0.0], [1.0, 1.0], [0.8, 1.0]])
    for batches in ([[0, 1, 2, 3, 4]], [[3, 0], [4], [2, 1]]):
        scores = AnswerScores()
        for rows in batches:
            scores.update(questions[rows], certainty[rows], values[rows])
        result = scores.compute()
        assert float(result["f1"]) == pytest.approx((0.5 + 0.2 + 0.8) / 3)
        assert float(result["exact_match"]) == pytest.approx(1 / 3)
        assert int(result["n_examples"]) == 3
