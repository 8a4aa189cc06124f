"""XNLI and PAWS-X as they are released, and what files of other names say."""

from pathlib import Path

import pytest
from written_files import PLAIN, rows, write

from xling.data.sources.files import FileSource
from xling.data.sources.table_files import TableReader
from xling.data.sources.xnli import XnliSource
from xling.errors import XlingValueError
from xling.tasks import SentenceClassification


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
