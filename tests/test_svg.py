"""Drawings on a page are those of the figures, in fewer bytes."""

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from xling.report.figures import style
from xling.report.save import save_figure
from xling.report.svg import compact, data_uri


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    axes = style.new_axes(3, 2)
    rng = np.random.default_rng(0)
    axes.scatter(*rng.random((2, 300)), s=5, alpha=0.7)
    axes.plot(rng.random(200))
    axes.fill_between(range(20), rng.random(20), hatch="//")
    axes.set_title('it\'s 5 % < 10 & "more" # день')
    axes.imshow(rng.random((3, 3)), extent=(0, 1, 0, 1))
    return save_figure(axes.figure, tmp_path_factory.mktemp("figure"), "drawn")


def styled(root, text):
    """Put classes back to where they came from."""
    rules = dict(re.findall(r"\.(s\d+)\{([^}]*)\}", text))
    for element in root.iter():
        if (name := element.attrib.pop("class", None)) is not None:
            element.set("style", rules[name])
    return root


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def commands(path):
    """Commands of a path, each written out: pairs that follow those of M or L are ends of lines."""
    found, last, pairs = [], "", 0
    for token in re.findall(r"[A-Za-z]|-?[\d.]+ -?[\d.]+", path):
        if token.isalpha():
            last, pairs = token, 0
            found.append(token)
        elif pairs == {"M": 1, "L": 1, "Q": 2, "C": 3}.get(last):
            last, pairs = "L" if last == "M" else last, 1
            found.append(last)
        else:
            pairs += 1
    return found


def test_a_shortened_drawing_has_the_same_elements_at_the_same_places(drawing):
    short = compact(drawing)
    before, after = ElementTree.fromstring(drawing), styled(ElementTree.fromstring(short), short)
    pairs = list(zip(before.iter(), after.iter(), strict=True))
    assert len(pairs) > 300
    for one, other in pairs:
        assert one.tag == other.tag
        kept = {name: value for name, value in one.attrib.items() if (name, one.tag.rpartition("}")[2]) != ("id", "g")}
        assert set(kept) == set(other.attrib)
        for name, value in kept.items():
            if name in ("d", "x", "y"):
                assert numbers(other.get(name)) == pytest.approx(numbers(value), abs=0.01, rel=0)
                assert commands(other.get(name)) == commands(value)
            else:
                assert " ".join(other.get(name).split()) == " ".join(value.split())


def test_a_shortened_drawing_is_much_shorter(drawing):
    assert len(compact(drawing)) < 0.75 * len(drawing)


def test_the_address_holds_the_drawing_and_ends_no_attribute(drawing):
    address = data_uri(drawing)
    assert unquote(address).partition(",")[2] == compact(drawing).replace('"', "'")
    assert not set('"<>#\n') & set(address)
    ElementTree.fromstring(unquote(address).partition(",")[2])
