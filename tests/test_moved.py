"""What version 0.1.0 called by other names is still found, with a message."""

import importlib
import subprocess
import sys
import warnings

import pytest

import xling
from xling.moved import MOVED, current_paths, first_paths


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_import_gives_the_module_of_today_and_says_so(old, new):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(new)
    vars(xling).pop(old.removeprefix("xling."), None)  # xling.train and xling.analyze are functions otherwise


def test_names_of_old_modules_are_imported_as_before():
    sys.modules.pop("xling.data.hub_sets", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from xling.data.hub_sets import HubSource
    assert HubSource.__module__ == "xling.data.sources.hub_sets"


def test_python_m_xling_restore_still_runs_the_command():
    done = subprocess.run([sys.executable, "-m", "xling.restore", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "expected a run directory" in done.stderr


def test_paths_come_back_after_there_and_back():
    config = {
        "source": {
            "_target_": "xling.data.files.FileSource",
            "reader": [{"_target_": "xling.data.word_files.TagReader"}],
        }
    }
    assert first_paths(current_paths(config)) == config
    assert current_paths(current_paths(config)) == current_paths(config)


def test_other_modules_do_not_exist():
    with pytest.raises(ModuleNotFoundError, match=r"xling\.nothing"):
        importlib.import_module("xling.nothing")
