"""Settings keep what they were given, know what they do not, and read what older versions recorded."""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from xling.errors import XlingValueError
from xling.freezing import plan_freezing
from xling.settings import ObjectSettings, RunSettings

CONF = Path(__file__).parents[1] / "conf"
GROUPS = ("data", "model", "freeze", "intervention", "optimizer", "trainer", "probe", "logger", "experiment")
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


def composed(*overrides):
    with initialize_config_module("xling.conf", version_base="1.3"):
        return OmegaConf.to_container(compose("train", [*overrides, "study=test"]), resolve=True)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_composed_configuration_comes_back_as_it_was(group, option):
    plain = composed(f"{group}={option}")
    plain["model"]["name_or_path"] = plain["model"]["name_or_path"] or "somebody/encoder"
    settings = RunSettings.from_plain(plain)
    again = settings.to_plain()
    assert RunSettings.from_plain(again) == settings
    plain["freeze"].setdefault("dropout", "active")  # what a strategy without that setting does
    if plain["freeze"].get("word_embeddings") is False:  # a record says it where it is set
        del plain["freeze"]["word_embeddings"]
    assert again == plain


def test_what_is_written_to_yaml_is_read_back():
    settings = RunSettings.from_plain(composed("data=xnli", "freeze=bottom_k"))
    assert RunSettings.from_plain(yaml.safe_load(yaml.safe_dump(settings.to_plain()))) == settings


@pytest.mark.parametrize(
    ("group", "name", "value", "message"),
    [
        ("optimizer", "learning_rat", 1.0, "unknown setting optimizer.learning_rat; did you mean 'learning_rate'"),
        ("optimizer", "learning_rate", "fast", "expected optimizer.learning_rate to be a number, got 'fast'"),
        ("data", "batch_size", 2.5, "expected data.batch_size to be a whole number, got 2.5"),
        ("data", "train_limit", True, "expected data.train_limit to be a whole number or null, got True"),
        ("probe", "similarity", "svcca", r"expected probe.similarity to be a list, e.g. \[svcca\], got 'svcca'"),
        ("trainer", "enable_progress_bar", "yes", "expected trainer.enable_progress_bar to be true or false"),
        ("checkpoint", "stop_on", None, "expected checkpoint.stop_on to be a list"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(group, name, value, message):
    plain = composed()
    plain[group][name] = value
    with pytest.raises(XlingValueError, match=message):
        RunSettings.from_plain(plain)


@pytest.mark.parametrize("seed", [None, "abc", 1.5, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(XlingValueError, match="expected seed to be a whole number"):
        RunSettings.from_plain(composed() | {"seed": seed})


def test_a_missing_setting_is_named():
    plain = composed()
    del plain["source_language"]
    with pytest.raises(XlingValueError, match="expected the setting source_language, found none"):
        RunSettings.from_plain(plain)


def test_a_record_older_than_a_setting_means_what_was_done_then():
    plain = composed()
    del plain["packed"], plain["data"]["eval_tokens"]
    assert RunSettings.from_plain(plain) == RunSettings.from_plain(composed())


def test_no_target_language_named_means_those_of_the_data():
    assert RunSettings.from_plain(composed("target_languages=null")).target_languages == ()


def test_settings_are_changed_in_parts():
    settings = RunSettings.from_plain(composed("data=mini_nli"))
    changed = settings.changed(seed=7, trainer={"max_epochs": 1}, freeze=plan_freezing("top_k", k=1))
    assert (changed.seed, changed.trainer.max_epochs, changed.freeze.name) == (7, 1, "top_1")
    assert changed.to_plain()["trainer"] == settings.to_plain()["trainer"] | {"max_epochs": 1}
    assert settings.seed == 42


def test_an_object_is_made_and_a_users_error_in_it_comes_through():
    source = ObjectSettings("xling.data.mini_nli.source.MiniNliSource", {"n_premises": {"train": 2}})
    assert len(source.make()("en", "train")) == 6
    assert ObjectSettings.from_plain(source.to_plain()) == source
    missing = ObjectSettings("xling.data.sources.xnli.XnliSource", {"root": "nowhere"})
    with pytest.raises(XlingValueError.__base__, match="expected a folder with XNLI's TSV files"):
        missing.make()


def test_a_record_says_that_the_word_piece_table_is_frozen_besides_where_it_is() -> None:
    """Records of before know no such setting, and are the same where it is not used."""
    plain = RunSettings.from_plain(composed("freeze=layers")).to_plain()
    besides = RunSettings.from_plain(composed("freeze=layers", "freeze.word_embeddings=true")).to_plain()

    assert "word_embeddings" not in plain["freeze"]
    assert besides["freeze"]["word_embeddings"] is True
    assert RunSettings.from_plain(besides).freeze.name == "layers_1_2_6_word_embeddings"
