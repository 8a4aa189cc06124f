"""Sentence sets from one's own files: layouts, parts, languages found, what is refused."""

import json
from pathlib import Path

import pandas as pd
import pytest

from xling.data.examples import cut_part, numbered, stable_id
from xling.data.sources.choose import hub_or_files
from xling.data.sources.files import FileSource
from xling.data.sources.hub_sets import HubSource
from xling.data.sources.table_files import TableReader
from xling.errors import MissingFileError, UnreachableError, XlingValueError
from xling.tasks import SentenceClassification

NAMED = {"text": "review", "text_pair": None, "label": "stars", "id": None, "group": None}


def write_reviews(folder: Path, *languages: str, split: str = "train", n: int = 4) -> None:
    for language in languages:
        rows = [f"{language} text {i}\t{'good' if i % 2 else 'bad'}" for i in range(n)]
        (folder / f"{split}.{language}.tsv").write_text("\n".join(["review\tstars", *rows]) + "\n", encoding="utf-8")


def reviews(folder: Path, **options) -> FileSource:
    return FileSource(folder, "{split}.{language}.tsv", TableReader(NAMED), **options)


def test_ids_are_numbers_that_stay_or_hashes_that_do_not_collide_with_them():
    assert stable_id("12") == 12
    assert 2**46 <= stable_id("n01001011") < 2**47
    assert len({stable_id(f"s{i}") for i in range(20_000)}) == 20_000


def test_a_part_is_the_same_groups_in_every_language_and_parts_are_disjoint():
    frame = numbered(pd.DataFrame({"text": range(1000), "group": [str(i // 2) for i in range(1000)]}))
    first, second = cut_part(frame, 0, 0.7), cut_part(frame, 0.7, 1)
    assert set(first["group_id"]) == set(cut_part(frame.iloc[::-1], 0, 0.7)["group_id"])
    assert not set(first["group_id"]) & set(second["group_id"])
    assert len(first) + len(second) == 1000
    assert 0.63 < len(first) / 1000 < 0.77


def test_tables_are_read_with_named_columns(tmp_path):
    write_reviews(tmp_path, "en")
    frame = reviews(tmp_path)("en", "train")
    assert frame[["text", "label"]].iloc[1].tolist() == ["en text 1", "good"]
    (tmp_path / "a.csv").write_text('review,stars\n"He said ""no"", twice",bad\n')
    (tmp_path / "a.jsonl").write_text(json.dumps({"review": "gut", "stars": 5}) + "\n")
    assert TableReader(NAMED)(tmp_path / "a.csv", "en")["text"].tolist() == ['He said "no", twice']
    assert TableReader(NAMED)(tmp_path / "a.jsonl", "de").to_numpy().tolist() == [["gut", 5, 1]]


def test_tables_without_a_header_have_numbered_columns(tmp_path):
    (tmp_path / "dev-en.tsv").write_text('He "said\tshe said\t1\nA\tB\t0\n')
    frame = TableReader({"text": 0, "text_pair": 1, "label": 2})(tmp_path / "dev-en.tsv", "en")
    assert frame.drop(columns="line").to_numpy().tolist() == [['He "said', "she said", "1"], ["A", "B", "0"]]


def test_positions_are_shared_between_languages_only_where_files_are_parallel(tmp_path):
    write_reviews(tmp_path, "en", "pl")
    for parallel in (True, False):
        source = reviews(tmp_path, parallel=parallel)
        english, polish = (source(language, "train")["example_id"].tolist() for language in ("en", "pl"))
        assert (english == polish) is parallel
        assert parallel or not set(english) & set(polish)


def test_ids_and_groups_of_the_file_are_kept(tmp_path):
    (tmp_path / "train.en.tsv").write_text("id\tdoc\ttext\tlabel\n7\td1\ta\tx\n9\td1\tb\ty\n")
    columns = {"text": "text", "label": "label", "id": "id", "group": "doc"}
    frame = FileSource(tmp_path, "{split}.{language}.tsv", TableReader(columns), parallel=True)("en", "train")
    assert frame["example_id"].tolist() == [7, 9]
    assert frame["group_id"].nunique() == 1


def test_languages_are_those_with_a_file(tmp_path):
    write_reviews(tmp_path, "en", "pl", "quz")
    (tmp_path / "readme.txt").write_text("")
    assert reviews(tmp_path).languages == ("en", "pl", "quz")


def test_one_file_is_cut_into_parts(tmp_path):
    write_reviews(tmp_path, "en", n=200)
    source = FileSource(tmp_path, "train.{language}.tsv", TableReader(NAMED), parts={"train": 0.6, "probe": 0.4})
    train, probe = source("en", "train"), source("en", "probe")
    assert len(train) + len(probe) == 200
    assert not set(train["text"]) & set(probe["text"])
    with pytest.raises(XlingValueError, match=r"data\.parts has no 'test'; it has train, probe"):
        source("en", "test")


def test_files_that_do_not_fit_are_named(tmp_path):
    write_reviews(tmp_path, "en")
    with pytest.raises(MissingFileError, match=r"expected a folder .* data\.root=None"):
        reviews(None)
    with pytest.raises(MissingFileError, match=r"train\.pl\.tsv for language 'pl'.*there are files for en"):
        reviews(tmp_path)("pl", "train")
    with pytest.raises(XlingValueError, match=r"expected \{language\} in data\.pattern"):
        FileSource(tmp_path, "train.tsv", TableReader(NAMED))
    with pytest.raises(XlingValueError, match=r"has a \{split\}"):
        reviews(tmp_path, parts={"train": 1.0})
    with pytest.raises(XlingValueError, match="must not exceed 1"):
        FileSource(tmp_path, "train.{language}.tsv", TableReader(NAMED), parts={"a": 0.7, "b": 0.7})
    write_reviews(tmp_path, "en", split="train2")
    with pytest.raises(XlingValueError, match="expected one file .*found train.en.tsv and train2.en.tsv"):
        FileSource(tmp_path, "{split}*.{language}.tsv", TableReader(NAMED))("en", "train")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "review\tlabel\nx\ty\n", "expected a column 'stars', found review, label"),
        ("a.tsv", "review\tstars\nx\n", "line 2: expected 2 columns as in the first line, found 1"),
        ("a.csv", "review,stars\nx,y\nx,y,z\n", "line 3: expected 2 columns as in the first line, found 3"),
        (
            "a.jsonl",
            '{"review": "x", "stars": null}\n',
            "expected a label for every example, found none for 1 of 1, the first of them line 1",
        ),
        ("a.tsv", "", "expected a column 'review', found none"),
        ("a.jsonl", '{"review": "x", "stars": 1}\n{"review": ', "line 2: expected a JSON object"),
        ("a.txt", "x", "expected a file named .csv, .tsv, .jsonl, found"),
    ],
)
def test_malformed_tables_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    task = SentenceClassification()
    with pytest.raises(XlingValueError, match=message):
        task.check(numbered(TableReader(NAMED)(tmp_path / name, "en")), "train.en")


def test_a_language_without_rows_is_named(tmp_path):
    (tmp_path / "train.en.tsv").write_text("review\tstars\n")
    with pytest.raises(XlingValueError, match=r"train\.en: expected at least one example, found none"):
        SentenceClassification().check(reviews(tmp_path)("en", "train"), "train.en")


def test_labels_are_those_of_the_training_examples_unless_given(tmp_path):
    write_reviews(tmp_path, "en")
    frame = reviews(tmp_path)("en", "train")
    assert SentenceClassification().fitted(frame).labels == ("bad", "good")
    assert SentenceClassification(["good", "bad"]).fitted(frame).labels == ("good", "bad")
    with pytest.raises(
        XlingValueError, match="unknown label 'good' in .*train.en.tsv, line 3; expected one of bad, so-so"
    ):
        SentenceClassification(["bad", "so-so"]).check(frame, "train.en")
    with pytest.raises(XlingValueError, match="at least two labels, found bad"):
        SentenceClassification().fitted(frame[frame["label"] == "bad"])
    with pytest.raises(XlingValueError, match="unknown metric 'macrof1'.*did you mean 'macro_f1'"):
        SentenceClassification(metric="macrof1")


PAWSX = {"name": "google-research-datasets/paws-x", "columns": {"text": "sentence1", "label": "label", "id": "id"},
         "splits": {"dev": "validation"}, "parallel": True}  # fmt: skip


def test_the_hub_is_read_where_there_are_no_files(monkeypatch):
    import datasets

    features = datasets.Features(
        {
            "id": datasets.Value("int32"),
            "sentence1": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["n", "y"]),
        }
    )
    rows = datasets.Dataset.from_dict({"id": [3, 5], "sentence1": ["a", "b"], "label": [1, 0]}, features=features)
    asked = []
    monkeypatch.setattr("xling.data.sources.hub_sets._hub_answers", lambda name: True)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((*a, k["split"])) or rows)
    source = hub_or_files(None, hub=PAWSX, local={})
    frame = source("de", "dev")
    assert asked == [("google-research-datasets/paws-x", "de", "validation")]
    assert frame[["example_id", "text", "label"]].to_numpy().tolist() == [[3, "a", "y"], [5, "b", "n"]]
    with pytest.raises(XlingValueError, match="has no split 'test'; it has dev"):
        source("de", "test")
    with pytest.raises(XlingValueError, match="expected a column 'sentence2', found id, sentence1, label"):
        HubSource(**PAWSX | {"columns": {"text": "sentence2"}})("de", "dev")


def test_a_hub_that_does_not_answer_is_one_sentence(monkeypatch):
    monkeypatch.setattr("xling.data.sources.hub_sets._hub_answers", lambda name: False)
    with pytest.raises(
        UnreachableError, match=r"cannot load google-research-datasets/paws-x \(de, validation\).*data\.root=FOLDER"
    ):
        HubSource(**PAWSX)("de", "dev")


def test_the_real_pawsx_is_read_and_cut():
    root = Path("../shared/pawsx")
    if not root.is_dir():
        pytest.skip("the real PAWS-X is not beside the project (../shared/pawsx)")
    reader = TableReader({"text": 0, "text_pair": 1, "label": 2})
    source = FileSource(root, "dev-{language}.tsv", reader, parallel=True, parts={"train": 0.75, "probe": 0.25})
    assert source.languages == ("de", "en", "es", "fr", "zh")
    english, chinese = source("en", "probe"), source("zh", "probe")
    assert english["example_id"].tolist() == chinese["example_id"].tolist()
    assert 400 < len(english) < 600
    task = SentenceClassification(["0", "1"])
    assert len(task.check(source("fr", "train"), "train.fr")) + len(source("fr", "probe")) == 2000
