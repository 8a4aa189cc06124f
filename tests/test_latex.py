"""The page's tables as LaTeX: names, captions and labels, and that they compile."""

import re
import shutil
import subprocess

import pandas as pd
import pytest
from report_factory import make_analysis

from xling.report.latex import latex, latex_table, name_sheets, save_latex
from xling.report.section import Section, Sheet
from xling.report.write import write_report

FRAME = pd.DataFrame({"source_language": ["en", "a_b & 50 %"], "pearson_r": [-0.4141, None], "p_max_t": [0.0002, 0.04]})


def test_a_table_has_human_names_a_caption_a_label_and_rounded_numbers():
    text = latex_table(Sheet("correlations", FRAME, "All of “it”: 50 %."), "correlations_impact")
    assert r"\caption{All of ``it'': 50 \%.}" in text
    assert r"\label{tab:correlations_impact}" in text
    assert r"source & r raw & p family-wise \\" in text
    assert r"en & $-$0.414 & $<$ .001 \\" in text
    assert r"a\_b \& 50 \% & -- & 0.040 \\" in text
    assert r"\begin{tabular}{lrr}" in text


def test_long_tables_break_over_pages_and_wide_ones_are_set_smaller():
    long = latex_table(Sheet("t", pd.DataFrame({"a": range(41)}), "Long."), "t")
    assert r"\begin{longtable}{r}" in long
    assert long.count(r"a \\") == 2  # the head, on every page
    wide = latex_table(Sheet("t", pd.DataFrame({"said": ["word " * 20] * 90}), "Wide."), "t")
    assert wide.count(r"\resizebox{\linewidth}{!}") == wide.count(r"\begin{table}") == 3
    assert wide.count(r"\label") == 1
    assert r"\resizebox" not in latex_table(Sheet("t", FRAME, "Narrow."), "t")


@pytest.mark.parametrize("letter", list("\\&%$#_{}~^<>|−–“”’\xa0ρ²×≠≤≥→±"))
def test_letters_that_latex_reads_otherwise_are_written_out(letter):
    assert latex(letter) != letter
    assert latex(letter).isascii()


def test_tables_of_one_name_have_files_of_their_own():
    sheets = [Sheet("correlations", FRAME, "x"), Sheet("agreement", FRAME, "a"), Sheet("agreement", FRAME, "b")]
    sections = [Section("impact-distance", "A", sheets=sheets[:1]), Section("transfer", "B", sheets=sheets[:1])]
    sections += [Section("agreement", "C", sheets=sheets[1:]), Section("d", "D", sheets=[Sheet("", FRAME, "no file")])]
    assert list(name_sheets(sections)) == [
        "correlations_impact_distance",
        "correlations_transfer",
        "agreement_agreement",
        "agreement_agreement_part_2",
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The tables of a made-up study's report."""
    folder = tmp_path_factory.mktemp("report")
    write_report(make_analysis(), folder)
    return folder / "tables"


def test_every_table_of_the_page_is_a_file_with_its_own_label(written):
    labels = {}
    for path in written.glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        (label,) = re.findall(r"\\label\{(tab:[^}]*)\}", text)
        assert label == f"tab:{path.stem}"
        labels[path.stem] = text
    assert {"correlations_impact_distance", "correlations_impact_transfer", "correlations_transfer_distance"} <= set(
        labels
    )
    assert "p family-wise" in labels["correlations_impact_distance"]


def test_a_new_analysis_leaves_no_tables_of_the_old_one(tmp_path):
    (tmp_path / "tables").mkdir()
    for name in ("correlations_old.tex", "mine.tex"):
        (tmp_path / "tables" / name).write_text("old")
    write_report(make_analysis(), tmp_path)
    assert not (tmp_path / "tables" / "correlations_old.tex").exists()
    assert (tmp_path / "tables" / "mine.tex").read_text() == "old"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_tables_compile(written, tmp_path):
    save_latex(
        [Section("odd", "O", sheets=[Sheet("odd", FRAME, "Odd letters: \\&%$#_{}~^<>|−–“”’ρ²×≠≤≥→±…")])], tmp_path
    )
    files = sorted([*written.glob("*.tex"), tmp_path / "odd.tex"])
    assert len(files) > 5
    for path in files:
        shutil.copy(path, tmp_path / f"table_{path.name}")
    inputs = "\n".join(rf"\input{{table_{path.name}}}\clearpage" for path in files)
    document = rf"\documentclass{{article}}\usepackage{{booktabs,longtable,graphicx}}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    for _ in range(2):  # references to labels need a second pass
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    log = (tmp_path / "all.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-2000:]
    assert not re.findall(r"multiply defined|undefined references", log)
    too_wide = [float(points) for points in re.findall(r"Overfull \\hbox \((.*?)pt too wide", log)]
    assert max(too_wide, default=0) < 10, too_wide
