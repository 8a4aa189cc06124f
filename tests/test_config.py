"""Every file in conf/ composes, and what it describes can be made; packaging ships all of it."""

import tomllib
from pathlib import Path

import pytest
import pytorch_lightning as pl
from hydra import compose, initialize_config_module
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning.strategies import FSDPStrategy

from xling.errors import XlingValueError
from xling.freezing import plan_freezing
from xling.machine.run_precision import resolve_precision
from xling.models import EncoderSpec
from xling.similarity import get_measure

ROOT = Path(__file__).parents[1]
FROM_FILES = ("text_files", "ud", "panx", "conll", "squad_files")


def options(group):
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def composed(name, *overrides):
    with initialize_config_module("xling.conf", version_base="1.3"):
        return OmegaConf.to_container(
            compose(name, ["study=x", *overrides] if name == "train" else list(overrides)), resolve=True
        )


@pytest.mark.parametrize(
    "group", ["data", "model", "freeze", "intervention", "optimizer", "trainer", "probe", "experiment"]
)
def test_every_option_of_training_composes(group):
    assert options(group)
    for option in options(group):
        assert composed("train", f"{group}={option}")


def test_every_data_source_and_its_task_can_be_made(tmp_path):
    for option in options("data"):
        data = composed("train", f"data={option}", *(["data.root=" + str(tmp_path)] if option in FROM_FILES else []))[
            "data"
        ]
        source = instantiate(data["source"], _convert_="all")
        assert option in FROM_FILES or set(data["languages"]) <= set(getattr(source, "languages", data["languages"]))
        assert instantiate(data["task"], _convert_="all").fills is not None


def test_files_without_a_folder_say_so():
    for option in FROM_FILES:
        with pytest.raises(InstantiationException, match="set data.root=FOLDER"):
            instantiate(composed("train", f"data={option}")["data"]["source"], _convert_="all")


def test_every_model_is_a_spec():
    for option in options("model"):
        settings = composed("train", f"model={option}")["model"]
        if settings["name_or_path"] is None:
            with pytest.raises(XlingValueError, match="got nothing"):
                EncoderSpec(**settings)
        else:
            assert EncoderSpec(**settings).name == option


def test_every_freezing_strategy_is_a_plan():
    for option in options("freeze"):
        assert plan_freezing(**composed("train", f"freeze={option}")["freeze"]).name


def test_every_trainer_can_be_made(tmp_path):
    for option in options("trainer"):
        settings = composed("train", f"trainer={option}")["trainer"]
        settings |= {"precision": resolve_precision(settings["precision"], "cpu"), "accelerator": "cpu"}
        if option == "fsdp":  # Lightning makes a trainer of it only where there is a GPU
            assert isinstance(instantiate(settings["strategy"]), FSDPStrategy)
            continue
        assert isinstance(instantiate(settings, logger=False, default_root_dir=tmp_path), pl.Trainer)


def test_every_distance_source_can_be_made():
    for option in options("distances"):
        named = ["distances.source=repaired"] if option == "own" else []
        config = composed("analyze", f"distances={option}", *named)["distances"]
        assert callable(instantiate(config, _convert_="all"))


def test_default_measures_exist():
    assert [get_measure(name).name for name in composed("train")["probe"]["similarity"]] == [
        "cka_debiased",
        "cka_biased",
    ]


def test_the_paper_is_composed_as_published():
    config = composed("train", "experiment=paper")
    assert config["model"]["name_or_path"].endswith("bert-base-multilingual-cased")
    assert (config["model"]["pooling"], config["model"]["pooler"]) == ("cls", True)
    assert (config["data"]["train_split"], config["data"]["probe_split"], config["data"]["max_length"]) == (
        "train",
        "test",
        128,
    )
    recipe = {"learning_rate": 2e-5, "weight_decay": 0.0, "warmup_fraction": 0.0, "schedule": "linear"}
    assert config["optimizer"] == recipe
    trainer = {"max_epochs": 3, "gradient_clip_val": 1.0, "precision": "32-true"}
    assert {name: config["trainer"][name] for name in trainer} == trainer
    assert config["data"]["batch_size"] == 32
    assert config["freeze"]["strategy"] == "none"


def test_packaging_ships_every_data_file():
    shipped_by = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folders = {"xling.callbacks": ROOT / "callbacks", "xling.conf": ROOT / "conf"}
    for path in (ROOT / "xling").rglob("__init__.py"):
        folders[".".join(path.parent.relative_to(ROOT).parts)] = path.parent
    for package, folder in folders.items():
        shipped = {path for pattern in shipped_by.get(package, ()) for path in folder.glob(pattern)}
        inner = [other for other in folders.values() if other != folder and folder in other.parents]
        for path in folder.rglob("*"):
            is_ours = (
                path.is_file() and path.suffix not in (".py", ".pyc") and not any(p in path.parents for p in inner)
            )
            assert not is_ours or path in shipped, f"{path} is not package data of {package}"


def test_every_folder_with_modules_is_a_package():
    for path in (ROOT / "xling").rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), path
