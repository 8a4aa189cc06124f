"""Tagged words: what files are read as, how words become pieces and windows, what is scored, one vector per word."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from xling.data.collate import PadToLongest
from xling.data.examples import numbered
from xling.data.sources.files import FileSource
from xling.data.sources.word_files import ConlluReader, TagReader
from xling.errors import XlingValueError
from xling.models.pooling import first_piece, get_probe_pooling, mean_of_pieces, words_of
from xling.models.tiny import tiny_tokenizer
from xling.tasks import TokenClassification
from xling.tasks.entities import entities, entity_f1
from xling.tasks.windows import WORD_BITS, windows
from xling.tasks.word_module import WordScores

SHARED_UD, SHARED_PANX = Path("../shared/ud"), Path("../shared/panx")


def conllu_line(*fields: str) -> str:
    return "\t".join([*fields, *["_"] * (10 - len(fields))])


SENTENCE = [
    "# sent_id = s1",
    "# text = del mar",
    conllu_line("1-2", "del"),
    conllu_line("1", "de", "de", "ADP"),
    conllu_line("2", "el", "el", "DET"),
    conllu_line("3", "mar", "mar", "NOUN"),
    conllu_line("3.1", "viene", "venir", "VERB"),
    "",
]


def read(path: Path, lines: list[str], reader=None) -> pd.DataFrame:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return (reader or ConlluReader())(path, "es")


def test_conllu_gives_syntactic_words_and_their_sentence_ids(tmp_path):
    frame = read(tmp_path / "a.conllu", [*SENTENCE, "# sent_id = s2", conllu_line("1", "sí", "sí", "INTJ")])
    assert frame["words"].tolist() == [["de", "el", "mar"], ["sí"]]
    assert frame["tags"].tolist() == [["ADP", "DET", "NOUN"], ["INTJ"]]
    assert frame["id"].tolist() == ["s1", "s2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3\tmar\tmar", r"a\.conllu, line 6: expected 10 columns separated by tabs, found 3"),
        (conllu_line("x", "mar"), r"a\.conllu, line 6: expected word 3 of its sentence, found 'x"),
        (conllu_line("4", "mar"), r"line 6: expected word 3 of its sentence"),
        (conllu_line("3", ""), r"line 6: expected word 3 of its sentence"),
    ],
)
def test_a_malformed_conllu_line_is_named(tmp_path, line, message):
    with pytest.raises(XlingValueError, match=message):
        read(tmp_path / "a.conllu", [*SENTENCE[:5], line, *SENTENCE[6:]])


def test_another_column_than_a_tag_is_refused():
    with pytest.raises(XlingValueError, match="upos or xpos"):
        ConlluReader("lemma")


def test_tag_files_are_read_with_and_without_the_language_before_each_word(tmp_path):
    lines = ["Ana\tB-PER", "es\tO", "", "", "x\tO"]
    plain = read(tmp_path / "a.tsv", lines, TagReader())
    prefixed = read(tmp_path / "b.tsv", [f"es:{line}" if line else "" for line in lines], TagReader())
    assert plain["words"].tolist() == prefixed["words"].tolist() == [["Ana", "es"], ["x"]]
    assert plain["tags"].tolist() == [["B-PER", "O"], ["O"]]
    conll = read(tmp_path / "c.txt", ["-DOCSTART- -X- O O", "", "EU NNP B-NP B-ORG", "says VBZ O O"], TagReader())
    assert conll["tags"].tolist() == [["B-ORG", "O"]]


@pytest.mark.parametrize("line", ["Ana", "Ana\t", "\tO"])
def test_a_malformed_tag_line_is_named(tmp_path, line):
    with pytest.raises(XlingValueError, match=r"a\.tsv, line 2: expected a word and its tag"):
        read(tmp_path / "a.tsv", ["x\tO", line], TagReader())


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"\xff\xfe\t\xff\n")
    with pytest.raises(XlingValueError, match="expected a text file in UTF-8"):
        TagReader()(tmp_path / "a.tsv", "en")


def make_sentences(*sentences: str) -> pd.DataFrame:
    """Sentences of words with tags: 'Ana/B-PER es/O'."""
    pairs = [[word.rsplit("/", 1) for word in sentence.split()] for sentence in sentences]
    rows = [([word for word, _ in sentence], [tag for _, tag in sentence]) for sentence in pairs]
    return numbered(pd.DataFrame(rows, columns=["words", "tags"]))


NER = TokenClassification(["O", "B-PER", "I-PER"], metric="entity_f1")


@pytest.mark.parametrize(
    ("task", "frame", "message"),
    [
        (
            NER,
            make_sentences("a/B-LOC b/O"),
            "somewhere: unknown tag 'B-LOC' in example 1; expected one of O, B-PER, I-PER",
        ),
        (
            TokenClassification(metric="entity_f1"),
            make_sentences("a/Z-LOC"),
            "needs tags O, B-TYPE and I-TYPE .*, found 'Z-LOC'",
        ),
        (NER, make_sentences("a/O").assign(tags=[["O", "O"]]), "found 2 tags and 1 words in example 1"),
        (NER, make_sentences("a/O").drop(columns="tags"), "found no tags"),
    ],
)
def test_unusable_words_are_refused(task, frame, message):
    with pytest.raises(XlingValueError, match=message):
        task.check(frame, "somewhere")


def test_words_may_come_as_arrays():
    frame = make_sentences("Ana/B-PER es/O")
    arrays = frame.assign(words=pd.Series([np.array(["Ana", "es"])]), tags=pd.Series([np.array(["B-PER", "O"])]))
    assert NER.check(arrays, "x").to_dict() == NER.check(frame, "x").to_dict()


def test_a_metric_that_words_do_not_have_is_refused():
    with pytest.raises(XlingValueError, match="unknown metric 'f1'; .*choose from accuracy, entity_f1"):
        TokenClassification(metric="f1")
    with pytest.raises(XlingValueError, match=r"set model\.pooler=false"):
        NER.module(torch.nn.Identity(), pooling="cls", pooler=torch.nn.Identity())


def test_a_words_label_stands_at_its_first_piece():
    columns = NER.tokenise(make_sentences("Ana/B-PER si/O"), tiny_tokenizer(), 32)
    assert columns["labels"] == [[-100, 1, -100, -100, 0, -100, -100]]
    assert columns["word"] == [[-1, 0, 0, 0, 1, 1, -1]]
    assert tiny_tokenizer().decode(columns["input_ids"][0]).replace(" ", "") == "[CLS]Anasi[SEP]"


def test_a_word_that_the_tokenizer_drops_is_unknown_rather_than_lost(monkeypatch):
    tokenizer = tiny_tokenizer()
    frame = make_sentences("a/O b/O").assign(words=[["a", ""]])
    columns = NER.tokenise(frame, tokenizer, 32)
    assert columns["input_ids"][0][2] == tokenizer.unk_token_id
    assert sum(label >= 0 for label in columns["labels"][0]) == 2


def test_every_word_of_a_long_sentence_is_in_exactly_one_window():
    rng = np.random.default_rng(0)
    words = ["w" * int(n) for n in rng.integers(1, 40, 200)]
    frame = make_sentences(" ".join(f"{word}/O" for word in words), "x/O y/O")
    columns = NER.tokenise(frame, tiny_tokenizer(), 24)
    assert max(columns["length"]) <= 24
    seen = [
        (sentence, position)
        for sentence, labels, word in zip(columns["sentence_id"], columns["labels"], columns["word"], strict=True)
        for label, position in zip(labels, word, strict=True)
        if label >= 0
    ]
    assert sorted(seen) == [(1, i) for i in range(200)] + [(2, i) for i in range(2)]
    assert len(set(columns["example_id"])) == len(columns["example_id"])
    assert columns["example_id"][0] == 1


@pytest.mark.parametrize("room", [1, 3, 10, 100])
def test_windows_tile_a_sentence(room):
    sizes = np.random.default_rng(room).integers(1, 9, 50).tolist()
    spans = list(windows(sizes, room))
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == 50
    assert all(sum(sizes[start:end]) <= room or end == start + 1 for start, end in spans)


def entities_by_definition(tags):
    """An entity of type T spans i..j if it can begin at i, goes on with I-T to j, and I-T does not stand at j."""
    n, found = len(tags), set()
    for i, j in itertools.combinations(range(n + 1), 2):
        kind = tags[i][2:]
        begins = tags[i][:2] == "B-" or (tags[i][:2] == "I-" and (i == 0 or tags[i - 1][2:] != kind))
        inside = all(tag == f"I-{kind}" for tag in tags[i + 1 : j])
        if begins and inside and (j == n or tags[j] != f"I-{kind}"):
            found.add((kind, i, j))
    return found


def test_entities_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    for _ in range(300):
        tags = rng.choice(names, rng.integers(1, 9)).tolist()
        assert entities(tags) == entities_by_definition(tags), tags


def test_entity_f1_counts_whole_entities():
    true = [["B-PER", "I-PER", "O"], ["B-LOC"]]
    assert entity_f1(true, true) == 1.0
    assert entity_f1(true, [["B-PER", "O", "O"], ["B-LOC"]]) == 0.5  # one of two right, two found
    assert entity_f1([["O"]], [["O"]]) == 0.0


def test_scores_put_windows_and_batches_together():
    labels = ["O", "B-PER", "I-PER"]
    words = (torch.tensor([5, 5, 5, 9]) << WORD_BITS) + torch.tensor([0, 1, 2, 0])
    true, predicted = torch.tensor([1, 2, 0, 1]), torch.tensor([1, 2, 0, 0])
    whole, split = WordScores(labels), WordScores(labels)
    whole.update(words, predicted, true)
    for part in ([3, 1], [0, 2]):  # an entity over two batches, in any order
        split.update(words[part], predicted[part], true[part])
    assert {k: float(v) for k, v in whole.compute().items()} == {k: float(v) for k, v in split.compute().items()}
    assert float(whole.compute()["accuracy"]) == 0.75
    assert float(whole.compute()["entity_f1"]) == pytest.approx(2 / 3)
    assert int(whole.compute()["n_examples"]) == 4


def test_word_poolings_equal_a_loop_over_words():
    generator = torch.Generator().manual_seed(0)
    hidden_states = torch.randn(3, 9, 5, generator=generator)
    word_ids = torch.tensor(
        [[-1, 4, 4, 5, 6, 6, 6, -1, -1], [-1, 7, -1, -1, -1, -1, -1, -1, -1], [8, 8, 9, -1, -1, 9, 9, 9, 9]]
    )
    word_ids[2, 5:] = -1
    rows = {}
    for i, j in itertools.product(range(3), range(9)):
        if word_ids[i, j] >= 0:
            rows.setdefault(int(word_ids[i, j]), []).append(hidden_states[i, j])
    assert words_of(word_ids).tolist() == list(rows)
    assert torch.equal(first_piece(hidden_states, word_ids), torch.stack([pieces[0] for pieces in rows.values()]))
    expected = torch.stack([torch.stack(pieces).mean(0) for pieces in rows.values()])
    torch.testing.assert_close(mean_of_pieces(hidden_states, word_ids), expected)
    with pytest.raises(
        XlingValueError,
        match="unknown pooling 'words'; did you mean 'word'.*choose from mean, cls, flatten, word, word_mean",
    ):
        get_probe_pooling("words")


def test_batches_carry_what_words_need():
    columns = NER.tokenise(make_sentences("Ana/B-PER si/O", "x/O"), tiny_tokenizer(), 32)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    batch = PadToLongest(0, NER.fills)(rows)
    assert batch["labels"][1].tolist() == [-100, 0, -100, -100, -100, -100, -100]
    assert batch["word"][1].tolist() == [-1, 0, -1, -1, -1, -1, -1]
    assert batch["sentence_id"].tolist() == [1, 2]


def test_the_real_pud_is_parallel_and_every_word_gets_its_tag():
    if not SHARED_UD.is_dir():
        pytest.skip("Universal Dependencies are not beside the project (../shared/ud)")
    source = FileSource(
        SHARED_UD, "{language}_pud-ud-test.conllu", ConlluReader(), parallel=True, parts={"a": 0.6, "b": 0.4}
    )
    assert source.languages == ("ar", "de", "en", "es", "fr", "hi", "ru", "th", "tr", "zh")
    english, thai = source("en", "b"), source("th", "b")
    assert set(english["example_id"]) == set(thai["example_id"])
    task = TokenClassification().fitted(english)
    columns = task.tokenise(english, tiny_tokenizer(), 128)
    assert sum(label >= 0 for labels in columns["labels"] for label in labels) == english["words"].map(len).sum()


def test_the_real_panx_is_read():
    if not SHARED_PANX.is_dir():
        pytest.skip("PAN-X is not beside the project (../shared/panx)")
    source = FileSource(SHARED_PANX, "{split}-{language}.tsv", TagReader())
    frame = source("sw", "train")
    assert {tag for tags in frame["tags"] for tag in tags} == {
        "O",
        *(f"{m}-{k}" for m in "BI" for k in ("PER", "LOC", "ORG")),
    }
    with pytest.raises(XlingValueError, match=r"test-en\.tsv, line 1: expected a word and its tag"):
        source("en", "test")  # the sample's test files hold words alone
