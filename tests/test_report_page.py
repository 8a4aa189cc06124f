"""The written report: complete, self-contained, honest about what is missing, and sound in a real browser."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_factory import analyse_made_up

from xling.report import write, write_report
from xling.report.page import render_page
from xling.report.section import MOST_ROWS, Section, Sheet
from xling.report.sections import associations
from xling.report.sections.study import methods_section, run_section
from xling.report.sections.transfer_and_impact import transfer_section
from xling.report.words import phrases
from xling.report.words.cells import table_rows
from xling.report.write import build_sections

PICTURES = {
    "measures",
    *("transfer_matrix", "impact_per_layer", "impact_vs_distance_heatmap", "impact_vs_distance", "impact_vs_transfer"),
    *("transfer_vs_distance", "mediation", "freezing", "paper_heatmap", "distance_coverage"),
    *("specifications_impact", "specifications_transfer"),
}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian: apt install chromium)"
)
WIDTHS = {"phone": 360, "desk": 1200}
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--hide-scrollbars"),
    *("--window-size=1300,1000", "--virtual-time-budget=60000", "--dump-dom"),
]
HARNESS = """<!doctype html><meta charset="utf-8"><pre id="found"></pre><script>
const found = {};
addEventListener("message", (event) => {
  found[event.data.width] = event.data;
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>"""


@pytest.fixture(scope="module")
def analysis():
    strategies = ("none", "bottom_2", "random_2_1", "random_2_2")
    languages = {"sources": ("en", "ru", "sw"), "targets": ("ar", "en", "hi", "ru", "sw", "ur")}
    return analyse_made_up(n_layers=3, strategies=strategies, **languages)


@pytest.fixture(scope="module")
def page(analysis, tmp_path_factory):
    return write_report(analysis, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def text(page):
    return page.read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Collects what a parser sees: ids, links, heading levels, images, addresses."""

    def __init__(self, source):
        super().__init__()
        self.ids, self.links, self.levels, self.images, self.addresses, self.rows = [], [], [], [], [], 0
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"][1:]] if tag == "a" and values["href"].startswith("#") else []
        self.rows += tag == "tr"
        self.levels += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.images += [values] if tag == "img" else []
        self.addresses += [values[key] for key in ("src", "href", "srcset", "data", "action") if key in values]


def test_every_figure_and_table_lies_beside_the_page(page, analysis):
    for ending in ("png", "pdf"):
        assert {file.stem for file in (page.parent / "figures").glob(f"*.{ending}")} == PICTURES
    assert {file.stem for file in (page.parent / "tables").glob("*.csv")} == set(analysis.tables)
    shown = {file.stem for file in (page.parent / "tables").glob("*.tex")}
    assert shown
    assert all(any(name == table or name.startswith(f"{table}_") for table in analysis.tables) for name in shown)
    assert not list(page.parent.rglob(".incomplete*"))


def test_page_is_one_small_file_that_names_nothing_outside_itself(page, text):
    assert page.stat().st_size < 5_000_000
    assert all(address.startswith(("#", "data:")) for address in Outline(text).addresses)
    assert not re.search(r"url\((?!%23)|@import", text)


def test_links_have_a_target_ids_are_unique_and_headings_step_by_one(text):
    outline = Outline(text)
    assert set(outline.links) <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.levels[0] == 1
    assert all(b - a <= 1 for a, b in zip(outline.levels, outline.levels[1:], strict=False))


def test_every_figure_has_an_alternative_text_with_numbers(text):
    images = Outline(text).images
    assert len(images) == len(PICTURES)
    assert all(len(image["alt"]) > 40 for image in images)


def test_warnings_and_versions_stand_on_the_page(text, analysis):
    for warning in analysis.warnings:
        assert html.escape(warning, quote=False) in html.unescape(text).replace("&", "&amp;")
    assert analysis.warnings
    assert analysis.facts["versions"]["scipy"] in text


def test_same_analysis_gives_the_same_bytes(analysis, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "choose_sections", lambda _=(): [run_section, transfer_section, methods_section])
    assert write_report(analysis, tmp_path / "a").read_bytes() == write_report(analysis, tmp_path / "b").read_bytes()


def test_study_without_impact_names_what_is_not_shown(analysis):
    tables = analysis.tables
    pairs = tables["pairs"][tables["pairs"]["layer_label"] == "mean"].assign(impact=np.nan, impact_biased=np.nan)
    tests = tables["correlations"][tables["correlations"]["analysis"] == "transfer_vs_distance"]
    sections, absent = build_sections(replace(analysis, tables={"pairs": pairs, "correlations": tests}))
    drawn = {picture.name for section in sections for picture in section.pictures}
    assert drawn == {"transfer_matrix", "transfer_vs_distance", "distance_coverage"}
    reasons = {part.title: part.reason for part in absent}
    assert reasons["Impact per layer"] == "no impact was measured"
    assert reasons["Freezing strategies"].startswith("it needs runs")


def test_study_in_paper_mode_claims_nothing_from_scatter_plots(analysis):
    tables = {name: analysis.tables[name] for name in ("pairs", "correlations_paper")}
    paper = replace(analysis, tables=tables)
    for build in (associations.impact_transfer_section, associations.transfer_distance_section):
        section = build(paper)
        assert "not computed" in section.paragraphs[0]
        assert "p\xa0" not in section.pictures[0].caption


def test_markup_in_names_is_escaped(analysis, tmp_path):
    hostile = replace(analysis, tables={}, warnings=["<script>alert(1)</script>"], facts={"title": "a <b> & c"})
    text = write_report(hostile, tmp_path).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "a &lt;b&gt; &amp; c" in text


def test_nothing_significant_is_said_in_words(analysis):
    tests = analysis.tables["correlations"].query("analysis == 'impact_vs_distance'").assign(p_max_t=0.4, p_bh=0.3)
    tests = tests.assign(detectable_family_wise=0.4, is_small=False)
    tested, strongest, power = phrases.describe_family(tests)
    assert tested.startswith(
        "None of the 24 coefficients tested is significant after correction (source and target effects removed)"
    )
    assert tested.endswith("nor at a false discovery rate of 5 % (Benjamini–Hochberg).")
    assert "family-wise p\xa0=\xa0.400" in strongest
    assert "finds |r| of at least .40 family-wise with a probability of 80 %" in power
    assert "|r| > .3 is excluded by the 95 % interval of no coefficient" in power


def test_the_raw_coefficient_is_named_for_what_it_mixes(analysis):
    tests = analysis.tables["correlations"].query("analysis == 'impact_vs_distance'")
    assert "which targets are easier" in phrases.describe_main(tests)
    assert "raw r" in phrases.describe_test(tests.iloc[0])
    raw = tests.assign(main="pearson")
    assert "raw: this design allows no other" in phrases.describe_family(raw)[0]
    assert "cannot tell a target that is near from one that is easy" in phrases.describe_main(raw)
    assert "raw r" not in phrases.describe_test(raw.iloc[0])


def test_a_design_that_finds_nothing_and_languages_that_carry_all_are_named(analysis):
    tests = analysis.tables["correlations"].query("analysis == 'transfer_vs_distance'").dropna(subset="p_max_t")
    blind = tests.assign(detectable_family_wise=np.nan, is_small=True)
    assert "No correlation, however strong" in phrases.describe_power(blind)
    assert f"the 95 % interval of {len(tests)} of {len(tests)} coefficients" in phrases.describe_power(blind)
    carried = tests.assign(p_max_t=0.01, carried_by="sw as source")
    assert f"sw as source ({len(tests)})" in phrases.describe_carriers(carried)
    assert phrases.describe_carriers(tests.assign(p_max_t=0.5, carried_by="sw as source")) == ""


def test_shares_of_variance_are_said():
    shares = pd.DataFrame(
        {"outcome": ["score"], "layer_label": [""], "source": [0.41], "target": [0.573], "rest": [0.017]}
    )
    text = phrases.describe_variance(shares, "score", "accuracy")
    assert "source languages explain 41\xa0%, target languages 57\xa0%; 1.7\xa0% is left" in text
    assert phrases.describe_variance(shares, "impact", "impact") == ""
    assert phrases.describe_variance(pd.DataFrame(), "score", "accuracy") == ""


def test_without_p_values_nothing_is_claimed(analysis):
    tests = analysis.tables["correlations"].assign(p_max_t=np.nan, p_bh=np.nan, reason="3 languages")
    assert phrases.describe_family(tests)[0] == "No p-value is available (3 languages), so nothing is claimed."


def test_table_cells_sort_by_value_and_print_small_p_values_as_such():
    cells = table_rows(pd.DataFrame({"p_bh": [0.0002, np.nan], "n": [1, 2]}))
    assert [(cell.text, cell.key) for cell in cells[0]] == [("< .001", "0.0002"), ("1", "1.0")]
    assert (cells[1][0].text, cells[1][0].key) == ("–", "")


@pytest.mark.parametrize(
    ("n_rows", "name", "is_link"),
    [(MOST_ROWS, "pairs", False), (MOST_ROWS + 1, "pairs", True), (MOST_ROWS + 1, "", False)],
)
def test_a_table_too_long_for_the_page_is_a_link_to_its_file(analysis, n_rows, name, is_link):
    sheet = Sheet(name, pd.DataFrame({"n": np.arange(n_rows)}), "All of them.", is_folded=True)
    outline = Outline(render_page(analysis, [Section("all", "All", sheets=[sheet])], [], {}))
    assert outline.rows > n_rows or is_link
    assert ("tables/pairs.csv" in outline.addresses) == is_link
    assert (outline.rows == 0) == is_link
    assert outline.ids.count("table-1") == 1


@pytest.fixture(scope="module")
def visit(page, text, tmp_path_factory):
    """Open the page at both widths in one browser; return what the probe saw and the browser's log."""
    folder = tmp_path_factory.mktemp("browser")
    probe = (Path(__file__).parent / "report_probe.js").read_text(encoding="utf-8")
    (folder / "probed.html").write_text(text.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    frames = [f'<iframe src="probed.html" width="{w}" height="800" style="border:0"></iframe>' for w in WIDTHS.values()]
    (folder / "harness.html").write_text(HARNESS + "".join(frames), encoding="utf-8")
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder / 'profile'}", (folder / "harness.html").as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="found">(.+?)</pre>', run.stdout, re.DOTALL)
    assert found, f"the probe did not report; the browser said: {run.stderr[-2000:]}"
    return json.loads(html.unescape(found[1])), run.stderr


@pytest.fixture(params=WIDTHS.values(), ids=WIDTHS.keys())
def seen(request, visit):
    return visit[0][str(request.param)]


@needs_browser
def test_console_stays_silent(visit):
    assert not [line for line in visit[1].splitlines() if "CONSOLE" in line]


@needs_browser
def test_every_figure_is_visible_and_inside_its_box(seen):
    assert len(seen["images"]) == len(PICTURES)
    for image in seen["images"]:
        assert min(image["natural"]) > 50
        assert min(image["shown"]) > 50
        assert image["inside"]
        assert image["frameInside"]


@needs_browser
def test_page_does_not_scroll_sideways_with_everything_unfolded(seen):
    assert seen["scrollWidth"] <= seen["width"]
    assert seen["wide"] == []


@needs_browser
def test_what_goes_on_sideways_says_so_and_fades_until_its_end(seen):
    assert any(frame["goesOn"] for frame in seen["frames"])
    assert all(frame["goesOn"] == frame["hinted"] == frame["fades"] for frame in seen["frames"])
    assert not seen["fadesAtItsEnd"]


@needs_browser
def test_nothing_is_fetched(seen):
    assert seen["external"] == []


@needs_browser
def test_column_head_sorts_its_table(seen):
    numbers = [float(key) for key in seen["after"] if key]
    assert numbers == sorted(numbers)
    assert sorted(seen["before"]) == sorted(seen["after"])
    assert seen["after"] != seen["before"]


@needs_browser
def test_first_stop_of_the_keyboard_is_the_visible_skip_link(seen):
    assert seen["skip"] == ["skip", "#main", True]
