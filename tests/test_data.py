"""Examples, limits, XNLI's layouts, tokenised cache, batches."""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from xling.data.batching import FILLER, FIRST_EVALUATION_BATCH, LengthBucketBatches
from xling.data.collate import PadToLongest
from xling.data.datamodule import TransferDataModule
from xling.data.examples import examples_fingerprint, limit_examples
from xling.data.lazy_tokenizer import LazyTokenizer
from xling.data.sources.xnli import XnliSource
from xling.data.tokenised import load_tokenised
from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError, XlingValueError
from xling.models.tiny import tiny_tokenizer
from xling.storage.hashing import rows_fingerprint
from xling.tasks import QuestionAnswering, SentenceClassification, TokenClassification

LABELS = ("entailment", "neutral", "contradiction")
TASK = SentenceClassification(LABELS)


def make_examples(n: int = 12, language: str = "en") -> pd.DataFrame:
    """Three rows a premise, sorted by label: the order that a limit must survive."""
    rows = [
        (i, i // 3, f"{language} premise {i // 3} " + "word " * (i % 5), f"{language} claim {i}", LABELS[i % 3])
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["example_id", "group_id", "text", "text_pair", "label"]).sort_values("label")


def write_xnli(root: Path, split: str, language: str, n: int = 12) -> None:
    frame = make_examples(n, language).sort_values("example_id")
    frame["pair_id"] = frame["example_id"] + 1
    frame = frame.rename(columns={"text": "premise", "text_pair": "hypothesis"})
    frame[["pair_id", "premise", "hypothesis", "label"]].to_csv(root / f"{split}.{language}.tsv", sep="\t", index=False)


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


def test_xnli_reads_files_per_split_and_language(tmp_path):
    write_xnli(tmp_path, "dev", "de")
    frame = XnliSource(tmp_path)("de", "dev")
    assert frame["text"].iloc[0] == "de premise 0 "
    assert frame["group_id"].tolist() == [i // 3 for i in range(12)]


def test_xnli_reads_bare_quotes(tmp_path):
    (tmp_path / "dev.en.tsv").write_text('pair_id\tpremise\thypothesis\tlabel\n1\t"He said\tshe "went\tneutral\n')
    assert XnliSource(tmp_path)("en", "dev")["text_pair"].tolist() == ['she "went']


def test_xnli_reads_the_official_release(tmp_path):
    release = tmp_path / "XNLI-1.0"
    release.mkdir()
    (release / "xnli.dev.tsv").write_text(
        "language\tgold_label\tsentence1_binary_parse\tsentence1\tsentence2\tpromptID\tpairID\n"
        "de\tneutral\t\tHallo\tWelt\t1\t1\nfr\tneutral\t\tBonjour\tmonde\t1\t1\nde\tentailment\t\tHallo\tDu\t1\t2\n"
    )
    (release / "multinli.train.de.tsv").write_text(
        "premise\thypo\tlabel\nEins\tZwei\tcontradictory\nDrei\tVier\tneutral\n"
    )
    source = XnliSource(tmp_path)
    assert source("de", "dev")[["example_id", "group_id", "text_pair"]].to_numpy().tolist() == [
        [1, 0, "Welt"],
        [2, 0, "Du"],
    ]
    assert source("de", "train")["label"].tolist() == ["contradiction", "neutral"]
    assert source("de", "train")["group_id"].tolist() == [1, 2]


def test_xnli_names_what_is_wrong(tmp_path):
    with pytest.raises(MissingFileError, match=r"data\.root=.*expected a folder"):
        XnliSource(tmp_path / "nowhere")
    source = XnliSource(tmp_path)
    with pytest.raises(MissingFileError, match=r"expected dev\.en\.tsv or xnli\.dev\.tsv"):
        source("en", "dev")
    with pytest.raises(XlingValueError, match="unknown XNLI split 'validation'"):
        source("en", "validation")
    (tmp_path / "dev.fr.tsv").write_text("pair_id\tpremise\tlabel\n1\ta\tneutral\n")
    with pytest.raises(XlingValueError, match="expected a column 'hypothesis'"):
        source("fr", "dev")
    (tmp_path / "dev.de.tsv").write_text("pair_id\tpremise\thypothesis\tlabel\nx\ta\tb\tneutral\n")
    with pytest.raises(XlingValueError, match="whole numbers from 0 as pair ids"):
        source("de", "dev")
    (tmp_path / "dev.es.tsv").write_text("")
    with pytest.raises(XlingValueError, match="UTF-8 TSV file with a header"):
        source("es", "dev")


def test_xnli_without_a_hub_names_the_alternatives(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnreachableError, match=r"data\.root=FOLDER.*data=mini_nli"):
        XnliSource()("en", "dev")


def test_the_real_xnli_is_parallel_and_balanced():
    root = Path("../shared/xnli")
    if not root.is_dir():
        pytest.skip("the real XNLI is not beside the project (../shared/xnli)")
    source = XnliSource(root)
    english, swahili = source("en", "test"), source("sw", "test")
    assert len(english) == 5010
    assert english[["example_id", "label"]].equals(swahili[["example_id", "label"]])
    assert english["label"].value_counts().to_dict() == dict.fromkeys(LABELS, 1670)
    assert limit_examples(source("th", "dev"), 300, 0)["label"].value_counts().to_dict() == dict.fromkeys(LABELS, 100)


WORDS = TokenClassification(("O", "B-PER"))
QUESTIONS = QuestionAnswering()


def make_words(n: int) -> pd.DataFrame:
    words = [["Ana", "goes", *["far"] * (i % 40)] for i in range(n)]
    tags = [["B-PER", "O", *["O"] * (i % 40)] for i in range(n)]
    return pd.DataFrame({"example_id": range(n), "group_id": range(n), "words": words, "tags": tags})


def make_questions(n: int) -> pd.DataFrame:
    contexts = ["Ana lives " + "far away " * (i % 30) + "in Rome." for i in range(n)]
    answers = [[{"text": "Rome", "start": context.index("Rome")}] for context in contexts]
    ids = {"example_id": range(n), "group_id": range(n)}
    return pd.DataFrame({**ids, "question": "Where does Ana live?", "context": contexts, "answers": answers})


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


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_example_comes_once_over_all_processes(shuffle, world_size):
    lengths = np.random.default_rng(0).integers(5, 90, 101)
    seen = [
        index
        for rank in range(world_size)
        for batch in LengthBucketBatches(lengths, 8, shuffle=shuffle, rank=rank, world_size=world_size)
        for index in batch
        if index != FILLER
    ]
    assert sorted(seen) == list(range(101))


def test_every_process_gets_equally_many_shares_and_a_filler_where_one_would_be_empty():
    shares = [
        list(LengthBucketBatches([5] * 9, 4, shuffle=False, rank=rank, world_size=2, n_parts=2)) for rank in (0, 1)
    ]
    assert shares[0] == [[0], [2], [4], [6], [8], [FILLER]]
    assert shares[1] == [[1], [3], [5], [7], [FILLER], [FILLER]]


def test_the_filler_is_a_row_without_an_id(tmp_path):
    examples = load_tokenised(make_examples(), "dev.en", TASK, tiny_tokenizer(), 64, tmp_path)
    (filler,) = examples[[FILLER]]
    assert filler == examples[len(examples) - 1] | {"example_id": FILLER}


def test_training_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        batches = LengthBucketBatches(list(range(100)), 8, shuffle=True, seed=seed)
        batches.set_epoch(epoch)
        return list(batches)

    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)
    assert torch.equal(before, torch.get_rng_state())


def test_batches_hold_neighbours_in_length():
    lengths = np.random.default_rng(0).integers(5, 128, 2000)

    def padded(batches):
        return sum(lengths[batch].max() * len(batch) for batch in batches)

    bucketed = padded(LengthBucketBatches(lengths, 32, shuffle=True))
    random_order = padded(np.array_split(np.random.default_rng(1).permutation(2000), 63))
    assert bucketed < 1.1 * lengths.sum() < 0.7 * random_order


def test_collate_pads_to_the_longest():
    rows = [
        {"input_ids": [5, 6, 7], "label": 1, "example_id": 3, "group_id": 1, "length": 3},
        {"input_ids": [8], "label": 0, "example_id": 4, "group_id": 1, "length": 1},
    ]
    batch = PadToLongest(pad_token_id=9)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["example_id"].tolist() == [3, 4]
    assert "token_type_ids" not in batch


@pytest.mark.parametrize("max_tokens", [12, 30, 10_000])
def test_a_token_budget_holds_and_every_example_comes_once(max_tokens):
    lengths = np.random.default_rng(0).integers(2, 15, size=40)
    batches = list(sampler := LengthBucketBatches(lengths, 4, shuffle=False, max_tokens=max_tokens))
    assert len(sampler) == len(batches)
    assert sorted(index for batch in batches for index in batch) == list(range(40))
    sizes = [len(batch) * lengths[batch].max() for batch in batches]
    assert all(size <= max_tokens or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    ends = itertools.accumulate(map(len, batches))
    follows = [
        pair for pair, end in zip(itertools.pairwise(batches), ends, strict=False) if end != FIRST_EVALUATION_BATCH
    ]
    assert all((len(batch) + 1) * lengths[after[0]] > max_tokens for batch, after in follows)


@pytest.mark.parametrize("n", [5, 8, 40])
def test_an_evaluation_begins_with_few_short_examples(n):
    lengths = np.random.default_rng(0).integers(2, 90, size=n)
    first, *others = LengthBucketBatches(lengths, 20, shuffle=False)
    assert len(first) == min(n, FIRST_EVALUATION_BATCH)
    assert all(lengths[first].max() <= lengths[batch].min() for batch in others)
    assert sorted(index for batch in (first, *others) for index in batch) == list(range(n))


def make_datamodule(tmp_path, tokenizer=None, **changes):
    arguments = {
        "source_language": "en",
        "target_languages": ["en", "de"],
        "train_split": "train",
        "probe_split": "dev",
        "cache_dir": tmp_path / "cache",
    }
    return TransferDataModule(
        lambda language, split: make_examples(30, f"{language} {split}"),
        TASK,
        tiny_tokenizer() if tokenizer is None else tokenizer,
        **(arguments | changes),
    )


def test_datamodule_gives_a_loader_per_target(tmp_path):
    data = make_datamodule(tmp_path, train_limit=15, probe_limit=9, batch_size=4)
    data.setup("fit")
    assert len(data.train) == 15
    assert list(data.val_dataloader()) == ["en", "de"]
    assert sum(len(batch["label"]) for batch in data.val_dataloader()["de"]) == 9
    assert len({*data.probe_fingerprints.values()}) == 2


def test_groups_of_a_probe_set_are_memory_of_their_own(tmp_path):
    """torch warns of tensors over Arrow's memory, which nobody may write to."""
    for data in (make_datamodule(tmp_path), make_datamodule(tmp_path)):  # tokenised, and opened from the cache
        data.setup("fit")
        ids, groups = data.probe_groups("de")
        expected = ids.clone()
        ids += 1
        groups += 1
        assert torch.equal(data.probe_groups("de")[0], expected)


def test_datamodule_refuses_to_probe_what_it_trains_on(tmp_path):
    with pytest.raises(XlingValueError, match="both 'dev'"):
        make_datamodule(tmp_path, train_split="dev")
    with pytest.raises(XlingValueError, match="names a language twice"):
        make_datamodule(tmp_path, target_languages=["en", "en"])


def test_a_tokenizer_is_not_loaded_for_examples_that_are_tokenised(tmp_path):
    def read(load, key="key"):
        data = make_datamodule(tmp_path, tokenizer=LazyTokenizer(load, key))
        data.setup("fit")
        return next(iter(data.val_dataloader()["de"]))["input_ids"]

    def refuse():
        raise AssertionError("loaded")

    first = read(tiny_tokenizer)
    assert torch.equal(read(refuse), first)
    with pytest.raises(AssertionError, match="loaded"):
        read(refuse, key="other files")


def test_a_probe_set_that_lacks_some_rows_is_still_parallel_to_one_that_has_them(tmp_path):
    data = make_datamodule(tmp_path)
    data.source = lambda language, split: make_examples(30, f"{language} {split}").iloc[3 if language == "de" else 0 :]
    data.setup("fit")
    assert data.is_parallel("en", "de")
    assert not data.is_parallel("de", "en")
