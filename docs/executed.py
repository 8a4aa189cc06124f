"""Runs the code that a page shows: `python docs/executed.py` writes the outputs and pictures of the executed pages anew.

A page's Python blocks run one after another with the same names, in a folder that has `studies/` and nothing else. A ```text
block right after a Python block is what that prints. Pictures that the code saves in a folder named after the page come into docs/.
"""

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = ("tutorial.md", "gallery.md")
NOTEBOOK = ROOT / "examples" / "tour.ipynb"
_CODE = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.S)


def code_blocks(text: str) -> list[tuple[str, str | None]]:
    """The Python blocks of a page, each with what the page says it prints, None where it says nothing."""
    return [(match[1], match[2]) for match in _CODE.finditer(text)]


def run_blocks(codes: list[str], names: dict | None = None, where: str = "page") -> list[str]:
    """Run pieces of code in one namespace; what each prints."""
    names, printed = {"__name__": "__main__"} if names is None else names, []
    for number, code in enumerate(codes, 1):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(code, f"{where}, block {number}", "exec"), names)
        printed.append(output.getvalue())
    return printed


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A current folder for the code of a page, with the published studies; deleted afterwards."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "studies").symlink_to(ROOT / "studies")
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def with_outputs(text: str, printed: list[str]) -> str:
    """The page with every stated output replaced by what was printed."""
    outputs = iter(printed)

    def replaced(match: re.Match) -> str:
        output = next(outputs)
        return match[0] if match[2] is None else f"```python\n{match[1]}```\n\n```text\n{output}```\n"

    return _CODE.sub(replaced, text)


def rewrite_page(path: Path) -> None:
    """Run a page, and write it and its pictures anew."""
    text = path.read_text(encoding="utf-8")
    with scratch_folder() as folder:
        printed = run_blocks([code for code, _ in code_blocks(text)], where=path.name)
        pictures = folder / path.stem
        if pictures.is_dir():
            shutil.copytree(pictures, DOCS / path.stem, dirs_exist_ok=True)
    path.write_text(with_outputs(text, printed), encoding="utf-8")


def code_cells(path: Path) -> list[str]:
    """The code of a notebook."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def executed_notebook(path: Path):
    """Run a notebook from its start in a kernel of its own; it is returned with its new outputs."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with scratch_folder() as folder:
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":  # progress and warnings of other packages, with paths of this machine
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Rewrite all of them."""
    import nbformat

    for name in PAGES:
        rewrite_page(DOCS / name)
        print("wrote", DOCS / name)
    nbformat.write(executed_notebook(NOTEBOOK), NOTEBOOK)
    print("wrote", NOTEBOOK)


if __name__ == "__main__":
    main()
