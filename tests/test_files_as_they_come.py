"""Files as people have them on their disks: the right rows, or one sentence; made-up inputs only."""

import json

import pandas as pd
import pytest
from written_files import PLAIN, conllu, rows, write

from xling.data.datamodule import TransferDataModule
from xling.data.examples import check_examples
from xling.data.sources.files import FileSource
from xling.data.sources.squad_files import SquadReader
from xling.data.sources.table_files import TableReader
from xling.data.sources.word_files import ConlluReader, TagReader
from xling.data.sources.xnli import XnliSource
from xling.errors import XlingValueError
from xling.models.tiny import tiny_tokenizer
from xling.tasks import SentenceClassification


@pytest.mark.parametrize(
    ("pattern", "reader"),
    [
        ("{language}.jsonl", TableReader(PLAIN)),
        ("{language}_pud-ud-test.conllu", ConlluReader()),
        ("train-{language}.tsv", TagReader()),
        ("xquad.{language}.json", SquadReader()),
        (["{split}.{language}.tsv", "all.{language}.tsv"], TableReader(PLAIN)),
    ],
)
def test_one_file_for_all_splits_is_refused(tmp_path, pattern, reader):
    with pytest.raises(XlingValueError, match=r"would be the same rows: data\.pattern=.*has no \{split\}.*data\.parts"):
        FileSource(tmp_path, pattern, reader)


def make_data(tmp_path, **options):
    source = FileSource(tmp_path, "{split}.{language}.tsv", TableReader(PLAIN))
    settings = {
        "source_language": "en",
        "target_languages": ["en", "de"],
        "train_split": "train",
        "probe_split": "test",
    }
    task = SentenceClassification()
    return TransferDataModule(source, task, tiny_tokenizer(), **settings | options, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("limits", [{}, {"probe_limit": 5}, {"train_limit": 9, "probe_limit": 9}])
def test_a_copy_of_the_training_file_is_not_probed(tmp_path, limits):
    for name in ("train.en", "test.en", "test.de"):
        write(tmp_path / f"{name}.tsv", rows(12))
    with pytest.raises(XlingValueError, match=r"test\.en: .*not trained on, found that all \d+ are in train\.en"):
        make_data(tmp_path, **limits).setup()


def test_rows_that_are_trained_on_and_probed_are_counted(tmp_path, caplog):
    write(tmp_path / "train.en.tsv", rows(12))
    write(tmp_path / "test.en.tsv", rows(4, "other") + "word 3\tb\nword 5\tb\nword 6\tb\n")
    write(tmp_path / "test.de.tsv", rows(4, "noch"))
    make_data(tmp_path).setup()
    assert "test.en: 2 of 7 examples have text and label of an example in train.en" in caplog.text
    assert "test.de: " not in caplog.text.replace("tokenising test.de: ", "")


def test_a_column_says_the_split(tmp_path):
    lines = [{"id": str(i), "part": "dev" if i % 3 else "train", "utt": f"u {i}", "intent": i % 2} for i in range(9)]
    write(tmp_path / "en-US.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    reader = TableReader({"text": "utt", "label": "intent", "id": "id", "split": "part"})
    source = FileSource(tmp_path, "{language}.jsonl", reader, parallel=True)
    assert source("en-US", "train")["example_id"].tolist() == [0, 3, 6]
    assert len(source("en-US", "dev")) == 6
    with pytest.raises(XlingValueError, match=r"rows of split 'test' \(data\.columns\.split\), found dev, train"):
        source("en-US", "test")
    with pytest.raises(XlingValueError, match=r"data\.parts and data\.columns\.split both say"):
        FileSource(tmp_path, "{language}.jsonl", reader, parts={"train": 0.5, "dev": 0.5})


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        ({"text": 0, "label": 1}, "text\tlabel"),
        ({"text": 1, "text_pair": 2, "label": 0}, "gold_label\tsentence1\tsentence2"),
    ],
)
def test_a_header_is_no_example(tmp_path, columns, header):
    width = header.count("\t") + 1
    path = write(tmp_path / "a.tsv", header + "\n" + "\t".join("xyz"[:width]) + "\n")
    with pytest.raises(XlingValueError, match=r"line 1: expected an example.*found a header"):
        TableReader(columns)(path, "en")


def test_quoted_tsv_is_read_as_pandas_wrote_it(tmp_path, caplog):
    frame = pd.DataFrame({"text": ['He said "no"', "plain", '"all"', "tab\there"], "label": list("abab")})
    frame.iloc[:3].to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    assert TableReader(PLAIN, quoting="csv")(tmp_path / "a.tsv", "en")["text"].tolist() == frame["text"].tolist()[:3]
    assert not caplog.text
    TableReader(PLAIN)(tmp_path / "a.tsv", "en")
    assert "2 of 4 lines have fields that look quoted as CSV (the first is line 2)" in caplog.text
    frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    assert TableReader(PLAIN, quoting="csv")(tmp_path / "a.tsv", "en")["text"].tolist() == frame["text"].tolist()
    with pytest.raises(XlingValueError, match=r"found 3; if fields with tabs are quoted, set data\.quoting=csv"):
        TableReader(PLAIN)(tmp_path / "a.tsv", "en")


def test_bare_quotes_are_text_without_a_warning(tmp_path, caplog):
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"Hello"\ta\nsay "x" y\tb\n"open\ta\n')
    assert TableReader(PLAIN)(path, "en")["text"].tolist() == ['"Hello"', 'say "x" y', '"open']
    assert not caplog.text
    write(tmp_path / "b.csv", 'text,label\n"a" b,x\n')
    with pytest.raises(XlingValueError, match=r"line 2: expected fields quoted as in CSV.*data\.quoting=none"):
        TableReader(PLAIN)(tmp_path / "b.csv", "en")
    assert TableReader(PLAIN, quoting="none")(tmp_path / "b.csv", "en")["text"].tolist() == ['"a" b']
    with pytest.raises(
        XlingValueError, match=r"unknown data\.quoting 'cvs'; did you mean 'csv'.*choose from csv, none, null"
    ):
        TableReader(PLAIN, quoting="cvs")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_are_no_text(tmp_path, mark, end):
    def put(name, text):
        return write(tmp_path / name, mark + text.replace("\n", end))

    for name, text in (("a.tsv", rows(2)), ("a.csv", rows(2).replace("\t", ","))):
        assert TableReader(PLAIN)(put(name, text), "en")["text"].tolist() == ["word 0", "word 1"]
    lines = '{"text": "word 0", "label": 1}\n\n{"text": "word 1", "label": 2}\n\n'
    assert TableReader(PLAIN)(put("a.jsonl", lines), "en")["text"].tolist() == ["word 0", "word 1"]
    assert TagReader()(put("t.tsv", "Karl\tB-PER\n\n"), "en")["words"].tolist() == [["Karl"]]
    assert ConlluReader()(put("u.conllu", conllu("Karl")), "en")["words"].tolist() == [["Karl"]]
    qa = {"id": "q", "question": "Who?", "answers": [{"text": "Ana", "answer_start": 0}]}
    data = {"data": [{"paragraphs": [{"context": "Ana", "qas": [qa]}]}]}
    assert SquadReader()(put("s.json", json.dumps(data)), "en")["context"].tolist() == ["Ana"]
    put("dev.hr.tsv", "pair_id\tpremise\thypothesis\tlabel\n1\ta\tb\tneutral\n")
    assert XnliSource(tmp_path)("hr", "dev")[["text", "label"]].to_numpy().tolist() == [["a", "neutral"]]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_another_encoding_is_named(tmp_path, name):
    path = write(tmp_path / name, "text\tlabel\né\ta\n", "latin-1")
    with pytest.raises(XlingValueError, match="expected a text file in UTF-8; .*iconv"):
        TableReader(PLAIN)(path, "en")


def test_a_carriage_return_inside_a_text_stays_there(tmp_path):
    write(tmp_path / "dev.hr.tsv", "pair_id\tpremise\thypothesis\tlabel\n1\ta\rc\tb\tneutral\n2\td\te\tneutral\n")
    assert XnliSource(tmp_path)("hr", "dev")["text"].tolist() == ["a\rc", "d"]


@pytest.mark.parametrize(
    "parts", [{"train": "much", "probe": 0.2}, {"train": True}, {"train": 0}, {"train": -1, "p": 1}]
)
def test_parts_that_are_no_shares_are_refused(tmp_path, parts):
    with pytest.raises(XlingValueError, match=r"expected data\.parts to be shares above 0"):
        FileSource(tmp_path, "a.{language}.tsv", TableReader(PLAIN), parts=parts)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('["a", "b"]', "line 1: expected a JSON object with named values"),
        ('"text"', "line 1: expected a JSON object with named values"),
        ('{"text": ["a", "b"], "label": 1}', "line 1: expected a single value for 'text'"),
        ('{"text": "a", "label": [1]}', "line 1: expected a single value for 'label'"),
        ('{"text": "a \\ud83d b", "label": 1}', "line 1: expected Unicode text, found half of a surrogate pair"),
        ('{"text": null, "label": 1}', "line 1: expected a value for 'text'"),
        ('{"text": NaN, "label": 1}', "line 1: expected a value for 'text'"),
    ],
)  # fmt: skip
def test_jsonl_that_holds_no_texts_is_named(tmp_path, line, message):
    with pytest.raises(XlingValueError, match=message):
        TableReader(PLAIN)(write(tmp_path / "a.jsonl", line + "\n"), "en")


def test_a_header_that_names_a_column_twice_is_refused(tmp_path):
    path = write(tmp_path / "a.tsv", "text\ttext\tlabel\na\tb\tc\n")
    with pytest.raises(XlingValueError, match="expected one column 'text', found several among text, text, label"):
        TableReader(PLAIN)(path, "en")
    assert len(TableReader({"text": "label", "label": "label"})(path, "en")) == 1


def test_an_id_that_occurs_twice_is_named_by_file_line_and_id(tmp_path):
    write(tmp_path / "train.en.tsv", "id\ttext\tlabel\nn1\ta\tx\nn2\tb\ty\nn1\tc\ty\n")
    frame = FileSource(tmp_path, "{split}.{language}.tsv", TableReader(PLAIN | {"id": "id"}))("en", "train")
    with pytest.raises(XlingValueError, match=r"train\.en\.tsv, line 2 \(id 'n1'\) occurs twice.*line 4 \(id 'n1'\)"):
        check_examples(frame, ["text"], "train.en")
