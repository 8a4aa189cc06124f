"""Every training and analysis command of README and docs names settings that exist."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "conf" / "experiment").glob("*.yaml")),
]
PROGRAMS = {
    "train": r"(?:\.venv/bin/)?(?:xling-train|python train\.py)",
    "analyze": r"(?:xling-analyze|python analyze\.py|analyze\.py)",
}
PLUGINS = {
    "launcher=slurm": "submitit",
    "launcher=ray": "ray",
    "launcher=joblib": "joblib",
}


def commands() -> list:
    """(page, program, arguments) of every command in a code block, or in an experiment's comments."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```(?:bash|sh)?\n(.*?)```", text, re.S) if page.suffix == ".md" else [text]
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            for program, name in PROGRAMS.items():
                for arguments in re.findall(rf"(?:^|&& |# *(?:Command: +)?){name} ([^&|`\n]*)", line):
                    words = shlex.split(arguments, comments=True)
                    if any("=" in word for word in words):
                        found.append(pytest.param(program, words, id=f"{page.stem}: {' '.join(words)}"[:120]))
    return found


def one_of(override: str) -> str:
    """Of a sweep's values the first."""
    key, _, value = override.partition("=")
    if value.startswith(("[", "{", "'", '"')):
        return override.split("],[")[0] + "]" if "],[" in value else override
    return f"{key}={value.split(',')[0]}"


def test_there_are_commands_to_test():
    assert len(commands()) > 50


@pytest.mark.parametrize(("program", "words"), commands())
def test_a_documented_command_composes(program, words):
    for word, plugin in PLUGINS.items():
        if word in words and find_spec(plugin) is None:
            pytest.skip(f"{word} needs an extra that is not installed")
    overrides = [one_of(word) for word in words if "=" in word]
    GlobalHydra.instance().clear()
    with initialize_config_module("xling.conf", version_base="1.3"):
        compose(program, overrides=overrides, return_hydra_config=True)
