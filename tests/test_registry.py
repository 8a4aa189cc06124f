"""One table per kind: by name, by path, by object, by an installed package's entry point; else one sentence."""

from importlib.metadata import EntryPoint

import pytest

from xling import registry
from xling.errors import XlingValueError
from xling.registry import Registry


@pytest.fixture
def numbers(monkeypatch):
    points = [
        EntryPoint("floor", "math:floor", "tests.numbers"),
        EntryPoint("gone", "no_such_module:x", "tests.numbers"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "tests.numbers" else [])
    return Registry("rounding", "tests.numbers", {"round": round})


def test_an_entry_is_found_by_its_name_by_path_and_as_itself(numbers):
    import math

    assert numbers.find("round") is round
    assert numbers.find("math:ceil") is math.ceil
    assert numbers.find(math.trunc) is math.trunc
    assert numbers["floor"] is math.floor


def test_names_of_other_packages_stand_beside_our_own(numbers):
    assert list(numbers) == ["round", "floor", "gone"]
    assert "floor" in numbers
    assert "ceil" not in numbers
    assert len(numbers) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rond", "unknown rounding 'rond'; did you mean 'round'.*choose from round, floor, gone.*package.module:name"),
        ("math:celi", "expected a rounding at math:celi, and it cannot be imported"),
        ("no_such_module:x", "cannot be imported"),
        (":x", "cannot be imported"),
        ("gone", "cannot be imported"),
        ("math:pi", "expected the rounding math:pi to be something that can be called, got float"),
        (3, "expected the rounding 3 to be something that can be called, got int"),
    ],
)
def test_what_is_not_there_is_one_sentence(numbers, name, message):
    with pytest.raises(XlingValueError, match=message):
        numbers.find(name)


def test_a_table_without_a_group_asks_no_installed_package():
    assert list(Registry("thing", None, {"a": print})) == ["a"]
