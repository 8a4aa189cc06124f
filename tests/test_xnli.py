"""XNLI's layouts, read from local files, and what is said where they are wrong."""

from pathlib import Path

import pytest
from made_up_examples import LABELS, make_examples

from xling.data.examples import limit_examples
from xling.data.sources.xnli import XnliSource
from xling.errors import MissingFileError, UnreachableError, XlingValueError


def write_xnli(root: Path, split: str, language: str, n: int = 12) -> None:
    frame = make_examples(n, language).sort_values("example_id")
    frame["pair_id"] = frame["example_id"] + 1
    frame = frame.rename(columns={"text": "premise", "text_pair": "hypothesis"})
    frame[["pair_id", "premise", "hypothesis", "label"]].to_csv(root / f"{split}.{language}.tsv", sep="\t", index=False)


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
