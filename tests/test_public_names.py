"""What a user meets first: the public names, versions, and how a study shows itself."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import xling

RECORDED = Path(__file__).parent / "recorded_0_1_0" / "complete" / "recorded"
COMMANDS = sorted(point.name for point in entry_points(group="console_scripts") if point.value.startswith("xling."))


def test_the_public_names_are_listed():
    assert dir(xling) == ["Study", "__version__", "analyze", "compose", "export", "load_study", "train"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_version(command):
    program = Path(sys.executable).parent / command
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout == f"{command} {xling.__version__}\n"
    assert told.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example(command):
    program = Path(sys.executable).parent / command
    told = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, timeout=120)
    lines = [line.split() for line in told.stdout.splitlines() if line.startswith(f"  {command} ")]
    assert lines
    assert all(len(words) > 1 for words in lines)


def test_a_study_shows_itself_in_a_line_and_as_a_table():
    study = xling.load_study(RECORDED)
    assert repr(study) == "Study of recorded: 1 runs (1 sources, 3 targets, strategies: 1, seeds: 1)"
    page = study._repr_html_()
    assert re.search("accuracy by source", page)
    assert page.count("<td>") == 3
