"""Settings of many runs are read from each design once, and are those of each text by itself."""

import pytest
import yaml

import xling
from xling.errors import XlingValueError
from xling.runs.recorded_settings import settings_of
from xling.settings import RunSettings
from xling.storage.yaml_text import parse_yaml


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    settings = xling.compose(["model=tiny_bert", "source_language=en", "seed=3", "study=s", "freeze=bottom_k"])
    return yaml.safe_dump(settings.to_plain(), sort_keys=False, allow_unicode=True)


def by_itself(text):
    return RunSettings.from_plain(parse_yaml(text))


ALTERED = {
    "as it is": ("seed: 3", "seed: 3"),
    "another run": ("source_language: en\nseed: 3", "source_language: sw\nseed: 41"),
    "a code that YAML reads as false": ("source_language: en", "source_language: no"),
    "a code in quotes": ("source_language: en", "source_language: 'no'"),
    "a code with a script": ("source_language: en", "source_language: zh-Hant"),
    "a comment": ("seed: 3", "seed: 3  # the third"),
    "two seeds": ("seed: 3", "seed: 3\nseed: 4"),
    "a seed in octal": ("seed: 3", "seed: 017"),
    "a line inside a text": ("study: s", 'study: "a\nseed: 7\n"'),
    "another learning rate": ("learning_rate: 2.0e-05", "learning_rate: 1.0e-05"),
    "the values that stand for others": (
        "source_language: en\nseed: 3",
        "source_language: placeholder\nseed: 1234567890",
    ),
}


@pytest.mark.parametrize("what", ALTERED)
def test_settings_are_those_of_the_text_by_itself(text, what):
    altered = text.replace(*ALTERED[what])
    assert (altered == text) == (what == "as it is")
    settings_of(text, "bottom_3")  # its design is known from here on
    assert settings_of(altered, "bottom_3") == by_itself(altered) == settings_of(altered, "bottom_3")


@pytest.mark.parametrize("what", ["seed: 3", "source_language: en"])
def test_a_line_that_is_missing_is_missed(text, what):
    settings_of(text, "bottom_3")
    with pytest.raises(XlingValueError, match=f"expected the setting {what.partition(':')[0]}, found none"):
        settings_of(text.replace(f"{what}\n", ""), "bottom_3")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: 4294967296", "expected seed to be a number from 0 to 4294967295, got 4294967296"),
        ("seed: true", "expected seed to be a whole number, got True"),
        ("source_language: 7", "expected source_language to be a language's code as text, got 7"),
    ],
)
def test_a_value_that_is_wrong_is_refused_in_a_design_that_is_known(text, line, message):
    settings_of(text, "bottom_3")
    name = line.partition(":")[0]
    before = next(old for old in text.splitlines() if old.startswith(f"{name}:"))
    with pytest.raises(XlingValueError, match=message):
        settings_of(text.replace(f"\n{before}\n", f"\n{line}\n"), "bottom_3")


def test_runs_of_other_strategies_with_the_same_text_keep_their_folders_name(text):
    foreign = text.replace("strategy: bottom_k", "strategy: some.where:Strategy")
    assert [settings_of(foreign, name).freeze.name for name in ("mine_1", "mine_2")] == ["mine_1", "mine_2"]
