"""The Python that pages show runs, and prints what the page says."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


executed, hooks = load_script("executed"), load_script("site_hooks")

STORIES = {f"docs/{name}" for name in executed.PAGES}
ELSEWHERE = {
    "README.md": "test_snippets.py, test_public_names.py",
    "docs/own_task.md": "test_snippets.py",
    "docs/exporting.md": "test_export.py",
}
"""Pages whose code another file of tests runs, with modules and data of its own."""


def representations(n_layers=3, n=24, width=6):
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(n_layers, n, width, generator=generator, dtype=torch.float64)
    return before, before + 0.1 * torch.randn(before.shape, generator=generator, dtype=torch.float64)


def names_of_similarity(tmp_path):
    from xling.similarity import Marginal

    before, after = representations()
    return {
        "before": before, "after": after, "student": before, "teacher": after, "layer": 1,
        "premise": torch.arange(24) // 3,
        "batches": torch.arange(24).split(8), "encode": lambda rows: after[:, rows],
        "first_x": before[:, :1], "first_y": after[:, :1], "x": before, "y": after,
        "base": Marginal.of(before),
    }  # fmt: skip


def names_of_report(tmp_path):
    from report_factory import make_analysis

    from xling.report.save import save_table

    for name, table in make_analysis().tables.items():
        save_table(table, tmp_path / "results" / "tables", name)
    return {}


def names_of_predictions(tmp_path):
    import xling

    (tmp_path / "runs").mkdir()
    small = ["model=tiny_bert", "study=my_study", "data.languages=[en,de,sw]", "trainer.accelerator=cpu"]
    small += ["data.source.n_premises={train: 20, probe: 8}", "trainer.max_epochs=1", f"cache_dir={tmp_path}/cache"]
    for language in ("en", "de"):
        xling.train([*small, f"source_language={language}"])
    return {}


def names_of_speed(tmp_path):
    import pytorch_lightning as pl

    return {"pl": pl, "train_set": {"input_ids": [[1, 2], [2, 3]]}}


NAMES = {
    "docs/similarity.md": names_of_similarity,
    "docs/report.md": names_of_report,
    "docs/predictions.md": names_of_predictions,
    "docs/speed.md": names_of_speed,
}
"""What a page's code takes for granted."""

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    if "```python\n" in path.read_text(encoding="utf-8")
)


def test_pages_with_code_are_found():
    assert {"README.md", "docs/distances.md", "docs/similarity.md", *STORIES, *ELSEWHERE} <= set(PAGES)


@pytest.mark.filterwarnings("ignore:.*tensorboardX.*")  # Lightning's default logger is what is installed; it says so
@pytest.mark.parametrize("page", [page for page in PAGES if page not in {*STORIES, *ELSEWHERE}])
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__", **NAMES.get(page, lambda _: {})(tmp_path)}
    blocks = executed.code_blocks((ROOT / page).read_text(encoding="utf-8"))
    printed = executed.run_blocks([code for code, _ in blocks], names, page)
    for (_, said), output in zip(blocks, printed, strict=True):
        assert said is None or said == output


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(STORIES))
def test_a_story_prints_what_it_says(page):
    blocks = executed.code_blocks((ROOT / page).read_text(encoding="utf-8"))
    assert len(blocks) >= 10
    with executed.scratch_folder() as folder:
        printed = executed.run_blocks([code for code, _ in blocks], where=page)
        drawn = {path.name for path in (folder / Path(page).stem).glob("*.png")}
    for (code, said), output in zip(blocks, printed, strict=True):
        assert said is None or said == output, f"{code}\nprints another output; run `make pages`"
    shown = set(re.findall(rf"\]\({Path(page).stem}/(\w+\.png)\)", (ROOT / page).read_text(encoding="utf-8")))
    assert shown == drawn
    assert all((ROOT / "docs" / Path(page).stem / name).is_file() for name in shown)


def test_a_page_is_rewritten_with_what_its_code_prints():
    page = "A\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n\n```python\nx = 2\n```\n\nB\n"
    blocks = executed.code_blocks(page)
    assert blocks == [("print(1 + 1)\n", "3\n"), ("x = 2\n", None)]
    assert executed.with_outputs(page, executed.run_blocks([code for code, _ in blocks])) == page.replace("3", "2")


def shown_tables(notebook):
    """What its cells show as text, without the addresses of objects."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    texts = ["".join(output.get("data", {}).get("text/plain", "")) for cell in cells for output in cell["outputs"]]
    return [re.sub(r" at 0x\w+", "", text) for text in texts]


def test_the_notebook_was_executed_and_names_no_machine():
    text = executed.NOTEBOOK.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells)
    assert "site-packages" not in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_gives_the_same_when_it_is_executed_anew():
    pytest.importorskip("nbclient", reason="nbclient is not installed: pip install 'xling[notebook]'")
    anew = executed.executed_notebook(executed.NOTEBOOK)
    assert shown_tables(anew) == shown_tables(json.loads(executed.NOTEBOOK.read_text(encoding="utf-8")))


def test_the_notebook_becomes_a_page_with_its_pictures_and_tables():
    page = hooks.notebook_page(executed.NOTEBOOK)
    assert page.startswith("# A tour of a study")
    assert page.count("data:image/png;base64,") == 2
    assert page.count("<table") == page.count('<div style="overflow-x: auto">\n') >= 4  # wide ones scroll by themselves
    assert page.count("```python") == len(executed.code_cells(executed.NOTEBOOK))
