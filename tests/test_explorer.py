"""The page's explorer: what it is given, and that a choice changes what is drawn."""

import json
import re
import subprocess
from itertools import pairwise

import pytest
from report_factory import analyse_made_up
from test_report_page import CHROMIUM, OPTIONS, needs_browser

from xling.report import write_report
from xling.report.explorer import as_json, explorer_data

CHOOSE = """<script>
const said = () => document.querySelector("[data-said]").textContent;
const at = (one) => one.getAttribute("cx") + "," + one.getAttribute("cy");
const circles = () => [...document.querySelectorAll("#explorer circle")].map(at);
const choose = (key, value) => {
  const element = document.querySelector(`[data-choice="${key}"]`);
  if (element.type === "checkbox") element.checked = value; else element.value = value;
  element.dispatchEvent(new Event("change", {bubbles: true}));
  return {said: said(), circles: circles()};
};
const found = {
  start: {said: said(), circles: circles()}, layer: choose("layer", "02"), distance: choose("x", "geographic"),
  freed: choose("freed", true), source: choose("source", "en"), outcome: choose("y", "score"),
};
document.querySelector("#explorer circle").dispatchEvent(new Event("mouseenter"));
found.told = document.querySelector("[data-told]").textContent;
const plot = document.querySelector("#explorer svg");
found.scale = plot.getBoundingClientRect().width / plot.getAttribute("viewBox").split(" ")[2];
const holder = document.createElement("pre");
holder.id = "found";
holder.textContent = JSON.stringify(found);
document.body.replaceChildren(holder);
</script>"""


@pytest.fixture(scope="module")
def analysis():
    return analyse_made_up(n_layers=3, sources=("en", "ru", "sw"), targets=("ar", "en", "hi", "ru", "sw", "ur"))


@pytest.fixture(scope="module")
def page(analysis, tmp_path_factory):
    """The report, in which a script makes every choice when it is opened."""
    page = write_report(analysis, tmp_path_factory.mktemp("report"))
    page.write_text(page.read_text().replace("</body>", f"{CHOOSE}</body>"))
    return page


@needs_browser
@pytest.mark.xdist_group("explorer")  # the report is written once
@pytest.mark.parametrize("width", [1300, 400])
def test_every_choice_changes_what_is_drawn(page, width):
    shown = subprocess.run(
        [CHROMIUM, *OPTIONS, f"--window-size={width},1000", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    found = json.loads(
        re.search(r'<pre id="found">(.*?)</pre>', shown, re.S)
        .group(1)
        .replace("&gt;", ">")
        .replace("&lt;", "<")
        .replace("&amp;", "&")
    )
    assert len(found["start"]["circles"]) == 15  # 3 sources x 6 targets without S = T
    steps = ["start", "layer", "distance", "freed", "source", "outcome"]
    drawn = [found[step]["circles"] for step in steps]
    assert all(one != other for one, other in pairwise(drawn))
    assert found["scale"] == pytest.approx(1, abs=0.1)  # letters are shown in their size
    assert not any(re.search(r"p = \.000", found[step]["said"]) for step in steps)
    assert "source and target effects removed" in found["freed"]["said"]
    assert "over 5 pairs from English (en)" in found["source"]["said"]
    assert re.match(r"English \(en\) → Arabic \(ar\): geographic distance .*accuracy \.\d{3}", found["told"])


def test_the_coefficient_without_effects_is_the_analysis_own(analysis):
    data = explorer_data(analysis)
    tests = analysis.tables["correlations"].set_index(["analysis", "predictor", "layer_label"])
    own = tests.loc[("impact_vs_distance", "syntactic", "02")]
    assert data["tests"]["syntactic|impact|02"] == [
        round(own[name], 5) for name in ("r", "ci_low", "ci_high", "p_max_t")
    ]
    assert "impact|score|mean" in data["tests"]
    assert "syntactic|score|" in data["tests"]


def test_values_stand_in_the_order_of_pairs(analysis):
    data = explorer_data(analysis)
    pairs = analysis.tables["pairs"]
    own = pairs[(pairs["layer_label"] == "01") & ~pairs["is_in_language"]].set_index(
        ["source_language", "target_language"]
    )
    for i, pair in enumerate(data["pairs"]):
        assert data["impact"]["01"]["value"][i] == round(own.loc[tuple(pair), "impact"], 5)
        assert data["values"]["syntactic"][i] == round(own.loc[tuple(pair), "syntactic"], 5)


def test_a_missing_number_is_null_and_no_text_ends_the_script(analysis):
    text = as_json({"labels": {"a": "</script><b>"}, "value": [None]})
    assert "</script>" not in text
    assert json.loads(text)["labels"]["a"] == "</script><b>"
    assert as_json(None) == ""
