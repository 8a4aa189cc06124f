"""Data flows one way: config -> data -> module -> callbacks -> run directory -> analysis -> report."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

STAGES = (
    ("checks", "errors", "lazy", "moved", "registry"),
    ("storage", "machine", "conf"),
    ("data", "similarity", "metrics"),
    ("models", "tasks", "freezing", "interventions", "distances"),
    ("settings",),
    ("probing",),
    ("runs",),
    ("callbacks",),
    ("training", "sweeps"),
    ("exporting",),
    ("analysis",),
    ("report",),
    ("commands",),
)
"""Folders and loose modules of ``xling``; each may import from its own row and the rows above it."""

STAGE_OF = {name: stage for stage, names in enumerate(STAGES) for name in names}


def source_files():
    for folder, package in (("xling", "xling"), ("callbacks", "xling.callbacks"), ("conf", "xling.conf")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [*package.split("."), *path.relative_to(ROOT / folder).with_suffix("").parts]
            if folder == "xling" and parts[1] in ("callbacks", "conf"):
                continue  # links to the folders at the top
            if path.stem != "__main__":  # a command, wherever it lies
                yield path, [part for part in parts if part != "__init__"]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")


def test_every_module_has_a_stage():
    known = {module[1] for _, module in source_files() if len(module) > 1}
    assert known == set(STAGE_OF)


@pytest.mark.parametrize(("path", "module"), [pytest.param(*file, id=".".join(file[1])) for file in source_files()])
def test_nothing_downstream_is_imported_upstream(path, module):
    if len(module) == 1:
        return  # xling/__init__.py gives load_study on first use
    for name in imported_modules(path):
        if name[0] == "xling" and len(name) > 1:
            assert STAGE_OF[name[1]] <= STAGE_OF[module[1]], f"{'.'.join(module)} imports {'.'.join(name)}"


def test_folders_do_not_import_each_other_in_a_circle():
    arrows = {}
    for path, module in source_files():
        if len(module) > 1:
            arrows.setdefault(module[1], set()).update(
                name[1]
                for name in imported_modules(path)
                if name[0] == "xling" and len(name) > 1 and name[1] != module[1]
            )
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError with the circle


def test_the_package_has_at_most_eight_loose_modules():
    assert len(list((ROOT / "xling").glob("*.py"))) <= 8


def test_callbacks_know_no_task_and_no_language():
    for path, _ in source_files():
        if path.parent.name == "callbacks":
            for name in imported_modules(path):
                assert name[:2] not in (
                    ["xling", "data"],
                    ["xling", "module"],
                    ["xling", "tasks"],
                    ["xling", "languages"],
                    ["xling", "tables"],
                ), path


def test_only_one_spelling_of_lightning_is_imported():
    for path, _ in source_files():
        assert all(name[0] != "lightning" for name in imported_modules(path)), path


def test_importing_the_package_is_quick_and_light():
    code = "import sys, xling, xling.errors; print(sorted({'torch', 'pandas', 'transformers'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
