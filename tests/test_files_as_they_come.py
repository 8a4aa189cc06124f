"""Files as people have them on their disks: the right rows, or one sentence; made-up inputs only."""

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from xling.data.datamodule import TransferDataModule
from xling.data.examples import check_examples, numbered, without_unlabelled
from xling.data.sources import hub_sets
from xling.data.sources.files import FileSource
from xling.data.sources.hub_sets import HubSource
from xling.data.sources.squad_files import SquadReader
from xling.data.sources.table_files import TableReader
from xling.data.sources.word_files import ConlluReader, TagReader
from xling.data.sources.xnli import XnliSource
from xling.errors import XlingValueError
from xling.models.tiny import tiny_tokenizer
from xling.tasks import QuestionAnswering, SentenceClassification, TokenClassification
from xling.tasks.entities import entities
from xling.tasks.labels import given_labels, label_text

PLAIN = {"text": "text", "label": "label"}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def rows(n: int, word: str = "word") -> str:
    return "text\tlabel\n" + "".join(f"{word} {i}\t{'ab'[i % 2]}\n" for i in range(n))


def conllu(*words: str, tag: str = "NOUN") -> str:
    return "".join(f"{i}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n" for i, word in enumerate(words, 1)) + "\n"


# training and probe examples


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


# labels


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


# quotes, marks, line ends


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


# words


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


# XNLI and PAWS-X


def test_pair_ids_from_0_make_groups_of_three(tmp_path):
    for first in (0, 1):
        lines = "".join(f"{i}\tp{(i - first) // 3}\th\tneutral\n" for i in range(first, first + 9))
        write(tmp_path / "dev.hr.tsv", "pair_id\tpremise\thypothesis\tlabel\n" + lines)
        assert XnliSource(tmp_path)("hr", "dev")["group_id"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_xnli_is_read_as_it_lies_on_disks(tmp_path):
    header = "language\tgold_label\tsentence1\tsentence2\tpairID\n"
    write(tmp_path / "XNLI-1.0/xnli.dev.tsv", header + "de\tneutral\ta\tb\t1\nen\tneutral\tc\td\t1\n")
    write(tmp_path / "XNLI-MT-1.0/multinli/multinli.train.de.tsv", "premise\thypo\tlabel\nE\tZ\tcontradictory\n")
    write(tmp_path / "dev.hr.tsv", "pair_id\tpremise\thypothesis\tlabel\n1\tx\ty\tneutral\n")
    write(tmp_path / "train.hr.tsv", header.replace("language\t", "") + "entailment\tx\ty\t1\n")
    source = XnliSource(tmp_path)
    assert source("de", "dev")["text"].tolist() == ["a"]
    assert source("de", "train")["label"].tolist() == ["contradiction"]
    assert source("hr", "dev")["text"].tolist() == ["x"]
    assert source("hr", "train")["label"].tolist() == ["entailment"]
    assert {"hr", "de", "zh"} <= set(source.languages)
    with pytest.raises(XlingValueError, match="expected rows of language 'eu', found none; add a file dev.eu.tsv"):
        source("eu", "dev")


def test_a_label_of_xnli_is_named_by_file_line_and_id(tmp_path):
    write(tmp_path / "dev.hr.tsv", "pair_id\tpremise\thypothesis\tlabel\n1\ta\tb\tneutral\n2\ta\tb\tmaybe\n")
    frame = XnliSource(tmp_path)("hr", "dev")
    with pytest.raises(XlingValueError, match=r"unknown label 'maybe' in .*dev\.hr\.tsv, line 3 \(id '2'\)"):
        SentenceClassification(["neutral", "entailment"]).check(frame, "dev.hr")


def pawsx(root):
    import yaml
    from hydra.utils import instantiate

    source = yaml.safe_load((Path(__file__).parents[1] / "conf/data/pawsx.yaml").read_text(encoding="utf-8"))
    local = source["source"]["local"] | {"pattern": source["pattern"], "parts": None}
    return FileSource(root, **instantiate(local))


def test_pawsx_is_read_as_released_and_what_is_not_translated_is_left_out(tmp_path, caplog):
    header = "id\tsentence1\tsentence2\tlabel\n"
    write(tmp_path / "x-final/de/translated_train.tsv", header + "1\ta\tb\t0\n2\tc\td\t1\n")
    write(tmp_path / "x-final/en/train.tsv", header + "1\ta\tb\t0\n")
    write(tmp_path / "x-final/de/dev_2k.tsv", header + "1\ta\tb\t0\n2\tNS\tNS\t0\n3\tc\tNS and\t1\n")
    for source in (pawsx(tmp_path), pawsx(tmp_path / "x-final")):
        assert source("de", "train")["example_id"].tolist() == [1, 2]
        assert source("en", "train")["text"].tolist() == ["a"]
        assert source("de", "dev")["example_id"].tolist() == [1, 3]
    assert "1 of 3 examples are not translated ('NS'); they are left out" in caplog.text
    write(tmp_path / "flat/dev-de.tsv", "a\tb\t0\nNS\tNS\t1\nc\td\t1\n")
    assert pawsx(tmp_path / "flat")("de", "dev")["example_id"].tolist() == [1, 3]


# languages and patterns


def test_languages_with_script_and_region_are_found_and_other_names_are_told(tmp_path, caplog):
    for language in ("en", "zho_Hans", "pt_BR", "be-x-old", "simple", "en_old"):
        write(tmp_path / f"train.{language}.tsv", rows(2))
    source = FileSource(tmp_path, "{split}.{language}.tsv", TableReader(PLAIN))
    assert source.languages == ("be-x-old", "en", "pt_BR", "zho_Hans")
    assert "train.en_old.tsv, train.simple.tsv" in caplog.text
    assert len(source("simple", "train")) == 2


def test_no_file_says_where_it_was_looked_for(tmp_path):
    write(tmp_path / "train.en.tsv", rows(2))
    with pytest.raises(FileNotFoundError, match=r"dev\.en\.tsv .*data\.root=.*files for en \(data\.pattern=\{split\}"):
        FileSource(tmp_path, "{split}.{language}.tsv", TableReader(PLAIN))("en", "dev")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{kind}.{language}.tsv", r"no placeholders .* found \{kind\}"),
        ("{}.{language}.tsv", r"no placeholders .* found \{\}"),
        ("{language", "expected data.pattern with"),
        ("/data/{split}.{language}.tsv", "a path below data.root"),
        ("~/{split}.{language}.tsv", "a path below data.root"),
        ("{split}*{language}.tsv", "something between"),
        (3, "to be text"),
    ],
)
def test_patterns_that_name_no_file_are_refused(tmp_path, pattern, message):
    with pytest.raises(XlingValueError, match=message):
        FileSource(tmp_path, [pattern], TableReader(PLAIN))


def test_only_the_star_is_special_in_a_pattern(tmp_path):
    write(tmp_path / "deep/er/a[1]?.train.en.tsv", rows(2))
    source = FileSource(tmp_path, "**/a[1]?.{split}.{language}.tsv", TableReader(PLAIN))
    assert source.languages == ("en",)
    assert len(source("en", "train")) == 2


@pytest.mark.parametrize(
    "parts", [{"train": "much", "probe": 0.2}, {"train": True}, {"train": 0}, {"train": -1, "p": 1}]
)
def test_parts_are_shares(tmp_path, parts):
    with pytest.raises(XlingValueError, match=r"expected data\.parts to be shares above 0"):
        FileSource(tmp_path, "a.{language}.tsv", TableReader(PLAIN), parts=parts)


# rows that are not what they should be


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


# entities


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
