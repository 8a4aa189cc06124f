"""Every file of conf/distances composes and instantiates to a function of the study's languages."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from xling.distances import SOURCES

NAMES = sorted(path.stem for path in (Path(__file__).parents[1] / "conf" / "distances").glob("*.yaml"))
ARGUMENTS = {
    "csv": {"languages": ["de", "en"]},
    "vocabulary_overlap": {"token_counts": {"de": np.array([1, 2]), "en": np.array([0, 1])}},
    "representation": {
        "representations": {"de": np.eye(3)[None].repeat(2, axis=0), "en": np.ones((2, 3, 3))},
        "ids": {"de": "abc", "en": "abc"},
    },
}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "urielplus"])
def test_every_distance_source_instantiates_and_computes(name, tmp_path):
    (tmp_path / "mine.csv").write_text(",de,en\nde,0,1\nen,1,0\n")
    with initialize_config_module("xling.conf", version_base="1.3"):
        further = {"csv": [f"distances.path={tmp_path / 'mine.csv'}"], "own": ["distances.source=repaired"]}
        compute = instantiate(compose(overrides=[f"+distances={name}", *further.get(name, [])]).distances)
    distances = compute(**ARGUMENTS.get(name, {"languages": ["de", "en"]}))
    assert distances.source == ("repaired" if name == "own" else name)
    assert all(frame.shape == (2, 2) and frame.loc["de", "en"] > 0 for frame in distances.values.values())


def test_every_source_of_uriel_has_a_file():
    assert {*SOURCES, *ARGUMENTS, "own"} == set(NAMES)
    with initialize_config_module("xling.conf", version_base="1.3"):
        assert compose(overrides=["+distances=urielplus"]).distances.source == "urielplus"
