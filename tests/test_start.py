"""What a command prints without computing anything needs none of the libraries that compute."""

import os
import subprocess
import sys

import pytest

HEAVY = ("datasets", "pandas", "pytorch_lightning", "scipy", "torch", "torchmetrics", "transformers")
CODE = f"""
import sys
from xling.commands.{{module}} import {{function}}
sys.argv = ["a-command", *sys.argv[1:]]
try:
    {{function}}()
except SystemExit:
    pass
print("HEAVY", sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)
"""


def run_in_a_process(module, function, *arguments, **environment):
    code = CODE.format(module=module, function=function)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.parametrize(
    ("command", "arguments", "printed"),
    [
        (("start", "train"), ["--help"], "Fine-tune an encoder on one source language"),
        (("start", "train"), ["--version"], "xling-train "),
        (("start", "train"), ["--cfg", "job"], "source_language: en"),
        (("start", "train"), ["--hydra-help"], "Hydra"),
        (("start", "analyze"), ["--help"], "Correlate impact, transfer and linguistic distance"),
        (("start", "analyze"), ["--version"], "xling-analyze "),
        (("status", "main"), ["--help"], "How far a study is"),
        (("fetch", "main"), ["--help"], "Download model, tokenizer and data of a study"),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple | list) else "",
)
def test_text_is_printed_without_torch(command, arguments, printed):
    done = run_in_a_process(*command, *arguments)
    assert printed in done.stdout, done.stderr
    assert done.stderr.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize(
    ("module", "function"), [("start", "train"), ("start", "analyze"), ("fetch", "main"), ("restore", "main")]
)
def test_help_that_nobody_reads_ends_without_a_traceback(module, function):
    reading, writing = os.pipe()
    os.close(reading)
    code = f"import sys\nfrom xling.commands.{module} import {function}\n{function}()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert "Traceback" not in done.stderr


def test_a_broken_pipe_of_the_work_itself_is_not_silent():
    code = (
        "import sys\nfrom xling.sweeps.job import run_command\nsys.argv = ['xling-train']\n"
        "def task():\n    raise BrokenPipeError('of a data loader')\n"
        "run_command(task, 'train')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "of a data loader" in done.stderr


@pytest.mark.parametrize("module", ["cache", "design", "distances", "export", "restore"])
def test_help_of_the_other_commands_needs_no_model(module):
    done = run_in_a_process(module, "main", "--help")
    assert done.stdout.startswith("usage: xling-")
    heavy = done.stderr.splitlines()[-1]
    assert "torch" not in heavy
    assert "transformers" not in heavy


@pytest.mark.parametrize(
    ("function", "typed", "completed"),
    [("train", "xling-train source_lang", "source_language="), ("analyze", "xling-analyze permu", "permutations=")],
)
def test_a_key_is_completed_without_torch(function, typed, completed):
    query = {"COMP_LINE": typed, "COMP_POINT": str(len(typed))}
    done = run_in_a_process("start", function, "-sc", "query=bash", **query)
    assert completed in done.stdout.split(), done.stderr
    assert done.stderr.splitlines()[-1] == "HEAVY []"


def after_imports(before: str, imported: str) -> subprocess.CompletedProcess:
    """Import a module as a command does, in a process that ends then."""
    code = (
        f"{before}\nfrom xling.commands.start import without_garbage_collection\n"
        f"with without_garbage_collection():\n    import {imported}"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_what_a_command_has_imported_is_not_collected_at_its_end():
    # handlers of the exit run last in, first out
    done = after_imports("import atexit, gc\natexit.register(lambda: print(gc.get_freeze_count()))", "pandas")
    assert int(done.stdout) > 50_000


def test_a_command_ends_without_a_word_about_leaks():
    done = after_imports("", "xling.commands.train")
    assert (done.returncode, done.stderr) == (0, "")
